//! Files and folders that are this user's alone.
//!
//! Belongs here: making them so, and telling whether they are, or why they are not there. Does not belong here: what is in
//! them.
//!
//! Unix: modes. Windows: an access list that names the user and nobody else, on the folder and on each file.

#[cfg(windows)]
pub(crate) mod security;
#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(windows, path = "windows.rs")]
mod system;

use std::{fs, io, path::Path};

pub use self::system::{append_to, create_file, create_folder, is_private, is_strangers, open_lock_file, runtime_dir};

/// A folder for the user alone, and what is missing above it; one of the user's own that is there is closed to others: an
/// earlier version may have made it open.
///
/// # Errors
///
/// What the file system says.
pub fn create_closed_folder(path: &Path) -> io::Result<()> {
    create_folder(path)?;
    // A file system without modes keeps it as it is, and what is in it is no less wanted.
    let _ = system::close_folder(path);
    Ok(())
}

/// What is in a file. Anything else that has its name, such as a pipe, might be read for ever.
///
/// # Errors
///
/// What the file system says.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() && !metadata.is_dir() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    fs::read(path)
}

/// The nearest that is there of `path` and the folders above it: what is missing is made in that. A relative path may have
/// none.
pub fn nearest(path: &Path) -> Option<&Path> {
    path.ancestors().find(|path| path.symlink_metadata().is_ok())
}

/// Why `path` is not there, if a link on the way to it leads nowhere. What it leads to may be a disk that is not mounted: that
/// is not the same as nothing.
pub fn leads_nowhere(path: &Path) -> Option<io::Error> {
    let link = nearest(path)?;
    let is_gone = fs::metadata(link).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    let target = fs::read_link(link).ok().filter(|_| is_gone)?;
    let link = if link == path { "it".to_owned() } else { link.display().to_string() };
    let problem = format!("{link} leads to {}, which is not there", target.display());
    Some(io::Error::new(io::ErrorKind::NotFound, problem))
}
