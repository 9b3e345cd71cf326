//! The registry, where the system has one.

#[cfg(not(windows))]
mod none;
#[cfg(windows)]
mod windows;

#[cfg(not(windows))]
pub(super) use self::none::{is_browser_there, read, remove, set};
#[cfg(windows)]
pub(super) use self::windows::{is_browser_there, read, remove, set};
