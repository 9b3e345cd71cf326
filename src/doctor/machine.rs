//! What framehost needs of the machine: directories, a port, programs, devices.

use std::{
    fs, io,
    net::{Ipv4Addr, TcpListener},
    path::Path,
};

use super::{Finding, hub::port_taken, system};
use crate::{
    config::{Config, Paths},
    install::HostBinary,
    models::Upstream,
    source::devices::Devices,
    user,
};

/// The relay that lies beside the program.
pub fn check_relay(program: &Path) -> Finding {
    let relay = HostBinary::relay_of(program);
    match HostBinary::check(&relay) {
        Ok(_) => Finding::ok("relay", relay.display(), "it lies beside this program"),
        Err(problem) => {
            let advice = "install framehost again: its programs belong together; the whole program stands in meanwhile";
            Finding::warning("relay_missing", relay.display(), problem, advice)
        }
    }
}

/// The configuration file.
pub fn check_config(paths: &Paths) -> Finding {
    let file = paths.config_dir.join("config.json");
    match Config::read(paths) {
        Ok(config) => match config.upstream.as_deref().map(Upstream::check) {
            Some(Err(problem)) => {
                let advice = "correct \"upstream\" there, or take it out; until then nothing is fetched";
                Finding::error("upstream_invalid", file.display(), problem, advice)
            }
            Some(Ok(())) | None => Finding::ok("config", file.display(), "it can be read, or there is none"),
        },
        Err(problem) => {
            let advice = "correct it, or move it aside; no hub starts with it";
            Finding::error("config_unreadable", file.display(), problem, advice)
        }
    }
}

/// Permissions of the runtime directory.
pub fn check_runtime_dir(paths: &Paths) -> Finding {
    let path = &paths.runtime_dir;
    let subject = path.display();
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Finding::ok("runtime_dir", subject, "it is made with the first hub")
        }
        Err(error) => {
            let advice = "see that you may look into the folders on the way to it, or set FRAMEHOST_RUNTIME_DIR";
            Finding::error("runtime_dir_unreadable", subject, error, advice)
        }
        Ok(found) if !found.is_dir() => {
            let advice = "remove what stands there, or set FRAMEHOST_RUNTIME_DIR";
            Finding::error("runtime_dir_permissions", subject, "it is not a directory", advice)
        }
        Ok(_) if user::is_private(path).unwrap_or(false) => {
            Finding::ok("runtime_dir", subject, "it is the user's alone")
        }
        Ok(found) => {
            let (problem, advice) = system::not_private(path, &found);
            Finding::error("runtime_dir_permissions", subject, problem, advice)
        }
    }
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
pub fn check_cache(cache_dir: &Path) -> Finding {
    let subject = cache_dir.display();
    // What is not there yet is made in the first folder above it that is there.
    let Some(there) = cache_dir.ancestors().find(|path| fs::symlink_metadata(path).is_ok()) else {
        return Finding::error("cache_dir", subject, "it is no path", "set HF_HUB_CACHE");
    };
    let wrong = |check, problem: String| {
        Finding::error(check, &subject, problem, "correct that, or name another directory by HF_HUB_CACHE")
    };
    if !there.is_dir() {
        return wrong("cache_dir_not_a_directory", format!("{} is not a directory", there.display()));
    }
    match (system::may_read(there), system::may_write(there)) {
        (Ok(()), Ok(())) if there == cache_dir => Finding::ok("cache_dir", subject, "it can be read and written"),
        (Ok(()), Ok(())) => Finding::ok("cache_dir", subject, "it is made with the first model"),
        (Err(error), _) => wrong("cache_dir_unreadable", format!("{} cannot be read: {error}", there.display())),
        (_, Err(error)) => wrong("cache_dir_unwritable", format!("{} cannot be written: {error}", there.display())),
    }
}

/// Cameras, screens and ffmpeg.
pub fn check_devices(devices: &Devices) -> Vec<Finding> {
    let mut findings = Vec::new();
    for part in &devices.missing {
        let (check, advice) = match part.what {
            "ffmpeg" => ("ffmpeg", format!("{}; video files and most codecs need it", system::GET_FFMPEG)),
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
    for (check, count) in [("camera", devices.cameras.len()), ("screen", devices.screens.len())] {
        if !is_missing(check) {
            findings.push(Finding::ok(check, check, format!("{count} found")));
        }
    }
    if !is_missing("ffmpeg") {
        findings.push(Finding::ok("ffmpeg", "ffmpeg", "it is there"));
    }
    findings
}
