//! One hub per user: whoever holds `hub.lock` is it.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// The held lock. The operating system lets it go with the process, however that ends.
#[derive(Debug)]
pub struct HubLock {
    _file: File,
}

/// Takes the lock in `runtime_dir`; `None` if another process holds it.
///
/// # Errors
///
/// If the lock file cannot be made or locked.
pub fn try_lock(runtime_dir: &Path) -> io::Result<Option<HubLock>> {
    let file =
        OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(runtime_dir.join("hub.lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(HubLock { _file: file })),
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
        assert!(held.is_some());
        assert!(try_lock(dir.path()).unwrap().is_none());
        drop(held);
        assert!(try_lock(dir.path()).unwrap().is_some());
    }
}
