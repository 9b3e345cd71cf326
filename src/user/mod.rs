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

pub use self::system::{append_to, close_folder, create_file, create_folder, is_private, open_lock_file, runtime_dir};
