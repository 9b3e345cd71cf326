//! Windows: what is in the local socket's file, which no other file has; and a lock's file keeps its name while it is open.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

/// More than there is in the file of a local socket, in bytes.
const MAX_BYTES: u64 = 200;

/// What a file is, whatever its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FileId(Vec<u8>);

impl FileId {
    /// Of the file that has this name now.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let mut contents = Vec::new();
        File::open(path)?.take(MAX_BYTES).read_to_end(&mut contents)?;
        Ok(Self(contents))
    }
}

/// Is it this file that has the name? It was opened so that nobody can rename or remove it.
pub(super) const fn is_named(_file: &File, _path: &Path) -> bool {
    true
}
