//! Permissions of files and folders, where the system has them.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(super) use self::unix::{create_file, create_folders, is_executable, mode, set_mode};
#[cfg(windows)]
pub(super) use self::windows::{create_file, create_folders, is_executable, mode, set_mode};
