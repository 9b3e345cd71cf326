//! Unix: time and inode.

use std::{fs::Metadata, os::unix::fs::MetadataExt};

/// What changes when the file does.
pub(super) type Version = (i64, i64, u64, u64);

/// Of the file that has been looked at.
pub(super) fn of(file: &Metadata) -> Version {
    (file.mtime(), file.mtime_nsec(), file.ino(), file.len())
}
