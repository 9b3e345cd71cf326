//! What is looked at on Windows, and the commands that help there.

use std::{
    fmt::Display,
    fs::{self, Metadata, OpenOptions},
    io,
    os::windows::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use windows_sys::Win32::Storage::FileSystem::{FILE_ADD_FILE, FILE_ADD_SUBDIRECTORY, FILE_FLAG_BACKUP_SEMANTICS};

use super::{Access, HubProcess, Whose};
use crate::user;

/// How to get ffmpeg.
pub(super) const GET_FFMPEG: &str = "winget install Gyan.FFmpeg";

/// May the user do that? Nothing is changed: a file is only opened for it.
pub(super) fn may(path: &Path, access: Access) -> io::Result<()> {
    match access {
        Access::Enter => fs::metadata(path).map(drop),
        Access::List => fs::read_dir(path).map(drop),
        Access::Write if path.is_file() => OpenOptions::new().write(true).open(path).map(drop),
        Access::Write | Access::Into | Access::Above => {
            let files = if let Access::Above = access { 0 } else { FILE_ADD_FILE };
            let mut options = OpenOptions::new();
            options.access_mode(files | FILE_ADD_SUBDIRECTORY).custom_flags(FILE_FLAG_BACKUP_SEMANTICS);
            options.open(path).map(drop)
        }
        // Devices have no path here.
        Access::Device => Ok(()),
    }
}

/// The command that gives the user what the folder above gives. There are no modes.
pub(super) fn chmod(_mode: &str, path: &Path) -> String {
    format!("icacls \"{}\" /reset /T", path.display())
}

/// The same for what is not the user's.
pub(super) fn chmod_as_root(mode: &str, path: &Path) -> String {
    format!("{}; as administrator", chmod(mode, path))
}

/// The command that opens a folder and a file in it to their owner.
pub(super) fn open_up(folder: &Path, _file: &Path) -> String {
    chmod("", folder)
}

/// Who else owns what is at `path`. Access lists say who may what, and owners nothing.
pub(super) const fn other_owner(_path: &Path) -> Option<String> {
    None
}

/// The command that ends a process. One without a window cannot be asked to end itself.
pub(super) fn end(pid: impl Display) -> String {
    format!("taskkill /f /pid {pid}")
}

/// The same.
pub(super) fn end_at_once(pid: impl Display) -> String {
    end(pid)
}

/// The command that removes these files, whose names are quoted; PowerShell has another `del` of its own.
pub(super) fn remove(files: &str) -> String {
    format!("cmd /c del {files}")
}

/// Whose it is: owners say nothing, but where it is, and whether it may be looked at.
pub(super) fn whose(path: &Path) -> Whose {
    match home() {
        Some(home) if home.starts_with(path) => Whose::AboveHome,
        Some(home) if path.starts_with(&home) => {
            let is_denied = fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
            if is_denied { Whose::InOwnPlace } else { Whose::Own }
        }
        Some(_) | None => Whose::Others,
    }
}

/// Is the user's home there?
pub(super) fn has_own_home() -> bool {
    home().is_some_and(|home| home.is_dir())
}

fn home() -> Option<PathBuf> {
    directories::BaseDirs::new().map(|base| base.home_dir().to_owned())
}

/// The command that gives `path`, with all that is in it, back to who runs it.
pub(super) fn take_over(path: &Path) -> String {
    format!("takeown /R /F \"{}\"; as administrator", path.display())
}

/// What to do where the runtime directory cannot be had.
pub(super) fn another_runtime_dir() -> String {
    "name a folder of yours by FRAMEHOST_RUNTIME_DIR, or unset it".to_owned()
}

/// What keeps a folder from being the user's alone, and what to do.
pub(super) fn not_private(path: &Path, _metadata: &Metadata) -> Option<(String, String)> {
    let advice = || {
        format!("rmdir /S \"{}\"; it is made anew, or set FRAMEHOST_RUNTIME_DIR to a folder of yours", path.display())
    };
    let is_private = user::is_private(path).unwrap_or(false);
    (!is_private).then(|| ("it is another user's, or others may write to it".to_owned(), advice()))
}

/// What is wrong with a manifest's access. A user's folders are closed to others, and the machine's to all but
/// administrators.
pub(super) const fn wrong_manifest(
    _path: &Path,
    _metadata: &Metadata,
    _is_for_everybody: bool,
    _repair: &str,
) -> Vec<(String, String)> {
    Vec::new()
}

/// What is wrong with the configuration's access.
pub(super) const fn wrong_configuration(_path: &Path, _metadata: &Metadata) -> Option<(String, String)> {
    None
}

/// May everybody on the machine change it?
pub(super) const fn is_open_to_all(_path: &Path) -> bool {
    false
}

/// Do others not get to what is in a folder?
pub(super) const fn is_closed_to_others(_folder: &Path) -> bool {
    false
}

/// May it be started? A user's folders are closed to others.
pub(super) const fn is_trusted(_path: &Path) -> bool {
    true
}

/// How others may read a file that is for the user alone: it is made with an access list of its own.
pub(crate) const fn shown_to_others(_metadata: &Metadata) -> Option<String> {
    None
}

/// Who holds the lock: it is not asked for.
pub(crate) const fn process_of_lock(_lock: &Path) -> Option<HubProcess> {
    None
}

/// An administrator is a user like others here.
pub(super) const fn is_root() -> bool {
    false
}

/// How to find who listens on a port.
pub(super) fn name_listener(port: u16) -> String {
    format!("netstat -ano | findstr :{port} shows its process")
}
