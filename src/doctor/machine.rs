//! What framehost needs of the machine: directories, a port, programs, devices.

use std::{
    fs, io,
    net::{Ipv4Addr, TcpListener},
    path::Path,
};

use super::{
    Access, Finding, aside, closed, hub::port_taken, is_in_the_way, manifest::executable, quoted, system, unlocked,
};
use crate::{
    config::Paths,
    ffmpeg::Tools,
    hub::{RUNTIME_FILE, lock::LOCK_FILE},
    install::{self, HostBinary, InstallError},
    link::SOCKET_FILE,
    local, models,
    source::devices::Devices,
    telemetry::log_file,
};

/// Less than this many bytes (64 KiB) are no room for what a hub writes into its runtime directory.
const RUNTIME_BYTES: u64 = 64 << 10;

/// The relay that lies beside the program.
pub fn check_relay(program: &Path) -> Finding {
    let relay = HostBinary::relay_of(program);
    match HostBinary::check(&relay).and_then(|found| tried(&found)) {
        Ok(()) => Finding::ok("relay", relay.display(), "it lies beside this program"),
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

/// Starts a program of framehost's, if nobody else could have put something else into its place.
pub(super) fn tried(program: &HostBinary) -> Result<(), InstallError> {
    if system::is_trusted(program.path()) { program.try_it() } else { Ok(()) }
}

/// The directory of logs and reports of crashes, where it cannot be used.
pub fn check_state_dir(state_dir: &Path) -> Option<Finding> {
    let log = log_file::newest(state_dir);
    let (what, error) = if let Some(closed) = closed(state_dir) {
        closed
    } else if let Err(error) = system::may(state_dir, Access::List)
        && error.kind() != io::ErrorKind::NotFound
    {
        (state_dir, error)
    } else if log.is_dir() {
        (log.as_path(), io::Error::from(io::ErrorKind::IsADirectory))
    } else if let Err(error) = system::may(&log, Access::Write)
        && error.kind() != io::ErrorKind::NotFound
    {
        (log.as_path(), error)
    } else {
        return None;
    };
    let problem = format!("no log is written there, and no report of a crash: {error}");
    let advice = match error.kind() {
        io::ErrorKind::IsADirectory => aside(what),
        _ => unlocked(what, "u+rwX", &error, "name a folder of yours by XDG_STATE_HOME, or unset it"),
    };
    Some(Finding::warning("state_dir_unusable", what.display(), problem, advice))
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
            if system::may(above, Access::Above).is_ok() && above.is_dir() {
                return Finding::ok("runtime_dir", subject, "it is made with the first hub");
            }
            let problem = format!("no hub can make it: nothing may be made in {}", above.display());
            return Finding::error("runtime_dir_unwritable", subject, problem, elsewhere);
        }
        Err(error) => return Finding::error("runtime_dir_unreadable", subject, error, elsewhere),
    };
    let wrong = |problem: String, advice: String| Finding::error("runtime_dir_permissions", &subject, problem, advice);
    if !found.is_dir() {
        let advice = if is_in_the_way(path) { format!("{}; or {elsewhere}", aside(path)) } else { elsewhere };
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
    if let Some(free) = models::free_bytes_in(path).filter(|free| *free < RUNTIME_BYTES) {
        let problem = format!("no hub can start: its file system has {} KB left", free / 1000);
        return Finding::error("runtime_dir_full", subject, problem, "make room there; a hub writes a few KB");
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
        Some(_) | None => findings.push(match broken_ffmpeg(ffmpeg.map(|(program, _)| program)) {
            Some(problem) => Finding::warning("ffmpeg", "ffmpeg", problem, missing_ffmpeg(ffmpeg)),
            None => Finding::ok("ffmpeg", "ffmpeg", "it is there"),
        }),
    }
    findings
}

/// Which of the programs does not start, and why: a library may be missing.
fn broken_ffmpeg(configured: Option<&Path>) -> Option<String> {
    let Tools { ffmpeg, ffprobe } = Tools::find(configured).ok()?;
    let problem = |program: &Path| install::starts(program, "-version").err();
    [ffmpeg, ffprobe].iter().find_map(|program| Some(format!("{} {}", program.display(), problem(program)?)))
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
