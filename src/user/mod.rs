//! Files and folders that are this user's alone.
//!
//! Belongs here: making them so, and telling whether they are. Does not belong here: what is in them.
//!
//! Unix: modes. Windows: an access list that names the user and nobody else, on the folder and on each file.

#[cfg(windows)]
pub(crate) mod security;
#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(windows, path = "windows.rs")]
mod system;

use std::{io, path::Path};

pub use self::system::{append_to, create_file, create_folder, is_private, is_strangers, open_lock_file, runtime_dir};

/// A folder for the user alone, and what is missing above it; one of the user's own that is there is closed to others: an
/// earlier version may have made it open.
///
/// # Errors
///
/// What the file system says.
pub fn create_closed_folder(path: &Path) -> io::Result<()> {
    create_folder(path)?;
    system::close_folder(path)
}
