//! Unix: device and inode.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt,
    path::Path,
};

/// What a file is, whatever its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// Of the file that has this name now.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        fs::symlink_metadata(path).map(|metadata| Self { device: metadata.dev(), inode: metadata.ino() })
    }
}

/// Is it this file that has the name?
pub(super) fn is_named(file: &File, path: &Path) -> bool {
    let (Ok(own), Ok(named)) = (file.metadata(), fs::metadata(path)) else {
        return false;
    };
    (own.dev(), own.ino()) == (named.dev(), named.ino())
}
