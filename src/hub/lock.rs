//! One hub per user: whoever holds `hub.lock` is it.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

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
        let (Ok(own), Ok(named)) = (self.file.metadata(), fs::metadata(&self.path)) else {
            return false;
        };
        (own.dev(), own.ino()) == (named.dev(), named.ino())
    }
}

/// Takes the lock in `runtime_dir`; `None` if another process holds it.
///
/// # Errors
///
/// If the lock file cannot be made or locked.
pub fn try_lock(runtime_dir: &Path) -> io::Result<Option<HubLock>> {
    let path = runtime_dir.join(LOCK_FILE);
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(HubLock { file, path })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_is_held_once_and_a_stale_file_does_not_matter() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("hub.lock"), "left behind").unwrap();
        let held = try_lock(dir.path()).unwrap();
        assert!(held.as_ref().is_some_and(HubLock::is_in_force));
        assert!(try_lock(dir.path()).unwrap().is_none());
        fs::rename(dir.path().join("hub.lock"), dir.path().join("moved")).unwrap();
        assert!(held.is_some_and(|lock| !lock.is_in_force()));
        assert!(try_lock(dir.path()).unwrap().is_some());
    }
}
