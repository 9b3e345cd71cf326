//! Unix: owner and mode.

use std::{
    env,
    fs::{self, File, Metadata, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::OFlags;

/// A pipe that has a file's name is refused, where nobody reads from it, and not waited for.
const NEVER_WAIT: i32 = OFlags::NONBLOCK.bits().cast_signed();

/// A file to write to; what was in it is gone. A new one only the user can read.
///
/// # Errors
///
/// What the file system says.
pub fn create_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// A file to add to. A new one only the user can read.
///
/// # Errors
///
/// What the file system says.
pub fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).custom_flags(NEVER_WAIT).open(path)
}

/// A file that stands for a lock, made where it is missing.
///
/// # Errors
///
/// What the file system says.
pub fn open_lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).custom_flags(NEVER_WAIT).open(path)
}

/// A folder, and what is missing above it; one that is there is left as it is.
///
/// # Errors
///
/// What the file system says.
pub fn create_folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Closes a folder of the user's own to others.
pub(super) fn close_folder(path: &Path) -> io::Result<()> {
    let metadata = fs::metadata(path)?;
    let is_own = metadata.uid() == rustix::process::geteuid().as_raw();
    if is_own && metadata.mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))
    } else {
        Ok(())
    }
}

/// Is it a folder of the user's own, in which nobody else can put anything? Not through a link: in a directory that others
/// may write to, one could be planted.
///
/// # Errors
///
/// If it cannot be looked at.
pub fn is_private(path: &Path) -> io::Result<bool> {
    let metadata = fs::symlink_metadata(path)?;
    let is_own = metadata.uid() == rustix::process::geteuid().as_raw();
    Ok(metadata.is_dir() && is_own && metadata.mode() & 0o022 == 0)
}

/// Does it belong to neither this user nor root?
pub fn is_strangers(metadata: &Metadata) -> bool {
    metadata.uid() != 0 && metadata.uid() != rustix::process::geteuid().as_raw()
}

/// Where the runtime directory is, where nothing says so.
pub fn runtime_dir(_local_data: &Path) -> PathBuf {
    env::temp_dir().join(format!("framehost-{}", rustix::process::geteuid().as_raw()))
}
