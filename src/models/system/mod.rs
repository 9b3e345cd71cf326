//! What the file systems of Unix and of Windows do differently, each in a file of the same functions.
//!
//! Belongs here: what a file is on disk, opening it without surprises, reading at an offset, locks, renaming.
//! Does not belong here: what is linked to what (`links`), the cache's layout.

#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(windows, path = "windows.rs")]
mod files;

use std::{fs::File, io, path::Path};

pub(crate) use self::files::free_bytes_in;
pub(super) use self::files::*;

/// A file or folder on disk, whatever its names are: its volume, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    pub(super) volume: u64,
    pub(super) number: u64,
}

/// Is this the file of that name?
pub(super) fn is_still_there(path: &Path, file: &File) -> bool {
    identity_of(file).is_ok_and(|own| identity(path).is_ok_and(|there| there == own))
}

/// Fills the buffer from `offset` on.
pub(super) fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !buffer.is_empty() {
        match read_at(file, buffer, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                buffer = buffer.get_mut(read..).unwrap_or_default();
                offset += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes all of it from `offset` on.
pub(super) fn write_all_at(file: &File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match write_at(file, bytes, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                bytes = bytes.get(written..).unwrap_or_default();
                offset += written as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
