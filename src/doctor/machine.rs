//! What framehost needs of the machine: directories, a port, programs, devices.

use std::{
    fs, io,
    net::{Ipv4Addr, TcpListener},
    path::Path,
};

use super::{Access, Finding, hub::port_taken, manifest::executable, quoted, system};
use crate::{
    config::Paths,
    hub::{RUNTIME_FILE, lock::LOCK_FILE},
    install::{HostBinary, InstallError},
    link::SOCKET_FILE,
    local, models,
    source::devices::Devices,
};

/// Less than this many bytes on the cache's disk (1 GiB) are not enough for the next model, as a rule.
const LITTLE_SPACE: u64 = 1 << 30;

/// The relay that lies beside the program.
pub fn check_relay(program: &Path) -> Finding {
    let relay = HostBinary::relay_of(program);
    match HostBinary::check(&relay) {
        Ok(_) => Finding::ok("relay", relay.display(), "it lies beside this program"),
        Err(problem) => {
            let advice = match &problem {
                InstallError::BinaryNotExecutable { .. } => executable(&relay),
                _ => "run installer/install.sh, or install the package, once more: its programs belong together; \
                      framehost install lets the whole program stand in meanwhile"
                    .to_owned(),
            };
            Finding::warning("relay_missing", relay.display(), problem, advice)
        }
    }
}

/// The runtime directory: whose it is, and whether a hub can keep its socket there.
pub fn check_runtime_dir(paths: &Paths) -> Finding {
    let path = &paths.runtime_dir;
    let subject = path.display();
    let socket = path.join(SOCKET_FILE);
    if let Some(limit) = local::MAX_PATH_BYTES.filter(|limit| socket.as_os_str().len() > *limit) {
        let problem = format!("a socket's path has at most {limit} bytes, and this is too long for one");
        let advice = "unset FRAMEHOST_RUNTIME_DIR; or name a shorter one where your shell sets it";
        return Finding::error("runtime_dir_too_long", subject, problem, advice);
    }
    let elsewhere = system::another_runtime_dir();
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let above = path.ancestors().skip(1).find(|path| fs::metadata(path).is_ok());
            let above = above.unwrap_or(Path::new("/"));
            if system::may(above, Access::Into).is_ok() && above.is_dir() {
                return Finding::ok("runtime_dir", subject, "it is made with the first hub");
            }
            let problem = format!("no hub can make it: nothing may be made in {}", above.display());
            return Finding::error("runtime_dir_unwritable", subject, problem, elsewhere);
        }
        Err(error) => return Finding::error("runtime_dir_unreadable", subject, error, elsewhere),
    };
    let wrong = |problem: String, advice: String| Finding::error("runtime_dir_permissions", &subject, problem, advice);
    if !found.is_dir() {
        let advice = format!("rm {}; or set FRAMEHOST_RUNTIME_DIR", quoted(path));
        return wrong("it is not a directory".to_owned(), advice);
    }
    if let Some((problem, advice)) = system::not_private(path, &found) {
        return wrong(problem, advice);
    }
    for name in [SOCKET_FILE, LOCK_FILE, RUNTIME_FILE] {
        let file = path.join(name);
        if file.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
            let problem = "no hub can start: it is a directory, and stands where a file of the hub's has to be";
            return Finding::error(
                "runtime_dir_in_the_way",
                file.display(),
                problem,
                format!("rm -r {}", quoted(&file)),
            );
        }
    }
    let lock = path.join(LOCK_FILE);
    if system::may(&lock, Access::Write).is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
        let owner = system::other_owner(&lock).unwrap_or_else(|| "its mode".to_owned());
        let problem = format!("no hub can take its lock: {owner}");
        return Finding::error("lock_unusable", lock.display(), problem, system::remove(&quoted(&lock)));
    }
    Finding::ok("runtime_dir", subject, "it is the user's alone")
}

/// The port, while no hub has it.
pub fn check_port(port: u16) -> Finding {
    let subject = format!("127.0.0.1:{port}");
    match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
        Ok(_) => Finding::ok("port", subject, "it is free for the hub"),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => port_taken(
            port,
            "somebody else has this port: the hub takes another one, and workers that expect this do not find it",
        ),
        Err(error) => {
            Finding::warning("port_refused", subject, error, "set FRAMEHOST_PORT to one that you may listen on")
        }
    }
}

/// The model cache.
pub fn check_cache(cache_dir: &Path) -> Vec<Finding> {
    let subject = cache_dir.display();
    // What is not there yet is made in the first folder above it that is there.
    let Some(there) = cache_dir.ancestors().find(|path| fs::symlink_metadata(path).is_ok()) else {
        return vec![Finding::error("cache_dir", subject, "it is no path", "set HF_HUB_CACHE to an absolute path")];
    };
    let wrong = |check, problem: String, advice: String| {
        let advice = format!("{advice}; or name another directory by HF_HUB_CACHE");
        vec![Finding::error(check, &subject, problem, advice)]
    };
    let word = quoted(there);
    if !there.is_dir() {
        let problem = format!("{} is not a directory", there.display());
        return wrong(
            "cache_dir_not_a_directory",
            problem,
            format!("mv {word} {}", quoted(&there.with_extension("bad"))),
        );
    }
    let open = || match system::other_owner(there) {
        Some(_) => system::take_over(there),
        None => system::chmod("u+rwx", there),
    };
    if let Err(error) = system::may(there, Access::List) {
        return wrong("cache_dir_unreadable", format!("{} cannot be read: {error}", there.display()), open());
    }
    if let Err(error) = system::may(there, Access::Into) {
        return wrong("cache_dir_unwritable", format!("{} cannot be written: {error}", there.display()), open());
    }
    let mut findings: Vec<Finding> = check_models(cache_dir).into_iter().collect();
    if let Some(free) = models::free_bytes_in(there) {
        findings.extend(check_space(cache_dir, free));
    }
    if findings.is_empty() {
        let message = if there == cache_dir { "it can be read and written" } else { "it is made with the first model" };
        findings.push(Finding::ok("cache_dir", subject, message));
    }
    findings
}

/// Models that somebody else fetched, as with sudo: they can be read, and nothing can be added to them.
fn check_models(cache_dir: &Path) -> Option<Finding> {
    let is_model = |name: &str| name.starts_with("models--");
    let mut closed: Vec<String> = Vec::new();
    for entry in fs::read_dir(cache_dir).ok()?.filter_map(Result::ok) {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let is_closed = |path: &Path| {
            path.is_dir() && (system::may(path, Access::List).is_err() || system::may(path, Access::Into).is_err())
        };
        let folders = ["", "blobs", "refs", "snapshots"].map(|folder| path.join(folder));
        if is_model(&name) && folders.iter().any(|folder| is_closed(folder)) {
            closed.push(name);
        }
    }
    closed.sort();
    let first = cache_dir.join(closed.first()?);
    let others = match closed.len() {
        1 => String::new(),
        count => format!(" and {} others", count - 1),
    };
    let problem = format!("nothing can be added to {}{others}", first.display());
    // A program that ran as root left them, as a rule; a mode that somebody has set is its owner's to change.
    let is_foreign =
        ["", "blobs", "refs", "snapshots"].iter().any(|folder| system::other_owner(&first.join(folder)).is_some());
    let advice = if is_foreign { system::take_over(cache_dir) } else { system::chmod("-R u+rwX", &first) };
    Some(Finding::warning("cache_models_unwritable", cache_dir.display(), problem, advice))
}

/// `free`: bytes that the user may still write.
fn check_space(cache_dir: &Path, free: u64) -> Option<Finding> {
    let problem = format!("its disk has {} MB left", free / 1_000_000);
    let advice = "framehost models gc; that clears away what nobody can ask for any more; or make room, or name a \
                  directory on another disk by HF_HUB_CACHE";
    (free < LITTLE_SPACE).then(|| Finding::warning("cache_disk_full", cache_dir.display(), problem, advice))
}

/// Cameras, screens and ffmpeg. `ffmpeg`: what the configuration says, and where.
pub fn check_devices(devices: &Devices, ffmpeg: Option<(&Path, &Path)>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for part in &devices.missing {
        let (check, advice) = match part.what {
            "ffmpeg" => ("ffmpeg", missing_ffmpeg(ffmpeg)),
            "camera" => ("camera", "see framehost devices; who uses no camera needs none".to_owned()),
            "portal" => {
                ("portal", "see framehost devices; on X11 and wlroots' compositors it is not needed".to_owned())
            }
            _ => (
                "screen",
                "start it where a desktop runs (DISPLAY, WAYLAND_DISPLAY); who captures no screen needs none"
                    .to_owned(),
            ),
        };
        findings.push(Finding::warning(check, part.what, &part.problem, advice));
    }
    let is_missing = |what| devices.missing.iter().any(|part| part.what == what);
    let paths = devices.cameras.iter().map(|camera| camera.path.as_str()).filter(|path| !path.is_empty());
    let closed: Vec<Finding> = paths.filter_map(|path| check_camera(Path::new(path))).collect();
    for (check, count) in [("camera", devices.cameras.len()), ("screen", devices.screens.len())] {
        if !is_missing(check) && (check != "camera" || closed.is_empty()) {
            findings.push(Finding::ok(check, check, format!("{count} found")));
        }
    }
    findings.extend(closed);
    match ffmpeg {
        _ if is_missing("ffmpeg") => {}
        Some((program, _)) if HostBinary::check(program).is_err() => {
            let problem = format!("{} is not a program that can be started from everywhere", program.display());
            findings.push(Finding::warning("ffmpeg", "ffmpeg", problem, missing_ffmpeg(ffmpeg)));
        }
        Some(_) | None => findings.push(Finding::ok("ffmpeg", "ffmpeg", "it is there")),
    }
    findings
}

fn missing_ffmpeg(configured: Option<(&Path, &Path)>) -> String {
    match configured {
        Some((_, file)) => format!(
            "let \"ffmpeg\" in {} name the program by its absolute path, or take it out where PATH has one; video files \
             and most codecs need it",
            quoted(file)
        ),
        None => format!("{}; or name it in config.json; video files and most codecs need it", system::GET_FFMPEG),
    }
}

/// A camera that is there and may not be opened.
fn check_camera(path: &Path) -> Option<Finding> {
    let error = system::may(path, Access::Device).err()?;
    // Where a login hands devices out it is its list that lacks the user; elsewhere the group that the device is of.
    let advice = "sudo usermod -aG video \"$(id -un)\"; then log out and in again";
    let problem = format!("you may not open it: {error}");
    Some(Finding::warning("camera_permission", path.display(), problem, advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_full_before_the_next_model_does_not_fit() {
        let check = |free| check_space(Path::new("/cache"), free).map(|finding| finding.message);
        assert_eq!(check(u64::MAX), None);
        assert_eq!(check(LITTLE_SPACE), None);
        assert_eq!(check(LITTLE_SPACE - 1).unwrap(), "its disk has 1073 MB left");
        assert_eq!(check(0).unwrap(), "its disk has 0 MB left");
    }
}
