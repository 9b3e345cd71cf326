//! What is looked at on Windows, and what helps there.

use std::{
    fs::{self, Metadata, OpenOptions},
    io,
    os::windows::fs::OpenOptionsExt as _,
    path::Path,
};

use windows_sys::Win32::Storage::FileSystem::{FILE_ADD_FILE, FILE_ADD_SUBDIRECTORY, FILE_FLAG_BACKUP_SEMANTICS};

/// How to get ffmpeg.
pub(super) const GET_FFMPEG: &str = "winget install Gyan.FFmpeg, or name it in config.json";

/// What helps where the host's program cannot be started.
pub(super) const REPAIR_PROGRAM: &str = "install framehost again";

/// There are none.
pub(super) const fn mode(_metadata: &Metadata) -> Option<u32> {
    None
}

/// What keeps a folder from being the user's alone, and what to do.
pub(super) fn not_private(path: &Path, _metadata: &Metadata) -> (String, String) {
    let advice = format!(
        "remove {}, so that it is made anew, or set FRAMEHOST_RUNTIME_DIR to a folder of yours",
        path.display()
    );
    ("it is another user's, or others may write to it".to_owned(), advice)
}

/// How to find who listens on a port.
pub(super) fn name_listener(port: u16) -> String {
    format!("netstat -ano | findstr :{port} shows its process")
}

/// May the user look into a folder?
pub(super) fn may_read(folder: &Path) -> io::Result<()> {
    fs::read_dir(folder).map(drop)
}

/// May the user put something into it? Nothing is put there: it is only opened for that.
pub(super) fn may_write(folder: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.access_mode(FILE_ADD_FILE | FILE_ADD_SUBDIRECTORY).custom_flags(FILE_FLAG_BACKUP_SEMANTICS);
    options.open(folder).map(drop)
}
