//! The disk: doing what a plan says.
//!
//! Belongs here: every change to a file of this module. Does not belong here: decisions (`plan`), looking (`survey`).

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::{Action, InstallError, Step, permissions, registry};

/// Permissions of a manifest: the browser reads it, nobody else's secrets are in it.
const MANIFEST_MODE: u32 = 0o644;

/// Does one action of a plan.
pub(super) fn execute(action: &Action) -> Result<(), InstallError> {
    let failed = |step: Step, path: &Path| {
        let path = path.to_owned();
        move |source| InstallError::Io { step, path, source }
    };
    match action {
        Action::CreateDir { path, mode } => create_dir(path, *mode).map_err(failed(Step::CreateDir, path)),
        Action::Backup { path, backup, reason: _ } => fs::rename(path, backup).map_err(failed(Step::Backup, path)),
        Action::Write { path, contents, browser: _, allowed: _, refused: _ } => {
            write_whole(path, contents).map_err(failed(Step::Write, path))
        }
        Action::SetKey { key, manifest, was: _ } => registry::set(key, manifest),
        Action::Keep { path: _, reason: _ } => Ok(()),
        Action::RemoveKey { key } => registry::remove(key),
        Action::Remove { path } => match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(Step::Remove, path)(error)),
            Ok(()) | Err(_) => Ok(()),
        },
        Action::RemoveEmptyDir { path } => match fs::remove_dir(path) {
            // A link to a folder is somebody's arrangement, and stays; so does what is a mount, or in a folder that is not
            // the user's: whether it is empty the system does not look then.
            Ok(()) => Ok(()),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound
                | io::ErrorKind::DirectoryNotEmpty
                | io::ErrorKind::NotADirectory
                | io::ErrorKind::ResourceBusy
                | io::ErrorKind::PermissionDenied
                | io::ErrorKind::ReadOnlyFilesystem => Ok(()),
                _ => Err(failed(Step::Remove, path)(error)),
            },
        },
    }
}

/// Makes `path` with exactly `mode`, and what is missing above it likewise.
fn create_dir(path: &Path, mode: u32) -> io::Result<()> {
    if let Some(parent) = path.parent().filter(|parent| !parent.is_dir()) {
        permissions::create_folders(parent, mode)?;
    }
    match fs::create_dir(path) {
        Ok(()) => permissions::set_mode(path, mode),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes beside `path`, then renames: a browser that looks meanwhile sees the old file or the new one.
fn write_whole(path: &Path, contents: &str) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(name);
    let written = write_new(&temporary, contents).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // What went wrong is in `written`; the leftover, if there is one, is only litter.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_new(path: &Path, contents: &str) -> io::Result<()> {
    // Left over from a process of the same id that was killed here.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = permissions::create_file(path, MANIFEST_MODE)?;
    file.write_all(contents.as_bytes())?;
    file.sync_all()
}
