//! One hub per user: whoever holds `hub.lock` is it.

use std::{
    fs::{File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use super::identity;
use crate::user;

/// The lock's file, in the runtime directory.
pub const LOCK_FILE: &str = "hub.lock";

/// The held lock. The operating system lets it go with the process, however that ends.
#[derive(Debug)]
pub struct HubLock {
    file: File,
    path: PathBuf,
}

impl HubLock {
    /// Is it still the lock that others look at? Somebody may have removed its file, and then they take another.
    pub fn is_in_force(&self) -> bool {
        identity::is_named(&self.file, &self.path)
    }
}

/// Takes the lock in `runtime_dir`; `None` if another process holds it.
///
/// # Errors
///
/// If the lock file cannot be made or locked.
pub fn try_lock(runtime_dir: &Path) -> io::Result<Option<HubLock>> {
    let path = runtime_dir.join(LOCK_FILE);
    let file = user::open_lock_file(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(HubLock { file, path })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_lock_is_held_once_and_a_stale_file_does_not_matter() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("hub.lock"), "left behind").unwrap();
        let held = try_lock(dir.path()).unwrap();
        assert!(held.as_ref().is_some_and(HubLock::is_in_force));
        assert!(try_lock(dir.path()).unwrap().is_none());
    }

    /// On Windows it cannot be moved at all.
    #[test]
    fn a_lock_whose_file_is_gone_is_not_in_force() {
        let dir = tempfile::tempdir().unwrap();
        let held = try_lock(dir.path()).unwrap();
        if cfg!(windows) {
            assert!(fs::rename(dir.path().join("hub.lock"), dir.path().join("moved")).is_err());
            assert!(held.is_some_and(|lock| lock.is_in_force()));
            return;
        }
        fs::rename(dir.path().join("hub.lock"), dir.path().join("moved")).unwrap();
        assert!(held.is_some_and(|lock| !lock.is_in_force()));
        assert!(try_lock(dir.path()).unwrap().is_some());
    }
}
