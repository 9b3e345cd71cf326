//! Windows: the times of the last writing and of making, in 100 ns. The file is made anew with each change.

use std::{fs::Metadata, os::windows::fs::MetadataExt};

/// What changes when the file does.
pub(super) type Version = (u64, u64, u64);

/// Of the file that has been looked at.
pub(super) fn of(file: &Metadata) -> Version {
    (file.last_write_time(), file.creation_time(), file.file_size())
}
