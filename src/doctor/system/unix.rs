//! What is looked at on Unix, and what helps there.

use std::{fs::Metadata, io, os::unix::fs::PermissionsExt as _, path::Path};

use rustix::fs::Access;

/// How to get ffmpeg.
pub(super) const GET_FFMPEG: &str = "apt install ffmpeg, or name it in config.json";

/// What helps where the host's program cannot be started.
pub(super) const REPAIR_PROGRAM: &str = "chmod 755 the program";

/// The permission bits.
pub(super) fn mode(metadata: &Metadata) -> Option<u32> {
    Some(metadata.permissions().mode() & 0o777)
}

/// What keeps a folder from being the user's alone, and what to do.
pub(super) fn not_private(path: &Path, metadata: &Metadata) -> (String, String) {
    let problem =
        format!("others could put a socket of theirs there (mode {:03o})", metadata.permissions().mode() & 0o777);
    (problem, format!("chown it to yourself, and chmod 700 '{}'", path.display()))
}

/// How to find who listens on a port.
pub(super) fn name_listener(port: u16) -> String {
    format!("ss -ltnp 'sport = :{port}' names it")
}

/// May the user look into a folder?
pub(super) fn may_read(folder: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(folder, Access::READ_OK | Access::EXEC_OK)?)
}

/// May the user put something into it?
pub(super) fn may_write(folder: &Path) -> io::Result<()> {
    Ok(rustix::fs::access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
}
