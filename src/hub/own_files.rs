//! The files by which a hub is found are its own: it notices when they go, and removes no other hub's.

use std::{fs, io, path::Path};

use super::identity::FileId;

/// What a file is, whatever its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity(FileId);

impl Identity {
    /// Of the file that has this name now.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        FileId::of(path).map(Self)
    }

    /// Does the name still stand for this file? A file that cannot be looked at counts as gone.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        Self::of(path).is_ok_and(|present| present == *self)
    }

    /// Removes the file, unless another has its name by now.
    pub(super) fn remove(&self, path: &Path) {
        if self.is_at(path)
            && let Err(error) = fs::remove_file(path)
        {
            tracing::warn!(%error, path = %path.display(), "a file stays behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_file_itself_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("f"), dir.path().join("g"));
        fs::write(&path, "1").unwrap();
        fs::write(&other, "2").unwrap();
        let identity = Identity::of(&path).unwrap();
        assert!(identity.is_at(&path));
        fs::rename(&other, &path).unwrap();
        assert!(!identity.is_at(&path));
        identity.remove(&path);
        assert_eq!(fs::read_to_string(&path).unwrap(), "2");
        let identity = Identity::of(&path).unwrap();
        identity.remove(&path);
        assert!(!path.exists());
        identity.remove(&path);
    }
}
