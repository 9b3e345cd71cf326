//! Memory that the display's server writes and we read. The only place here with `unsafe`.

#![expect(unsafe_code, reason = "mapping memory that another process writes cannot be checked by the compiler")]

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd},
    ptr::{self, NonNull},
};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create},
    mm::{MapFlags, ProtFlags, mmap, munmap},
};

/// A mapped file without a name.
#[derive(Debug)]
pub(super) struct SharedMemory {
    file: File,
    begin: NonNull<u8>,
    len: usize,
}

impl SharedMemory {
    /// `len`: bytes, above 0. The file cannot be shrunk afterwards, by nobody: reading it never faults.
    pub(super) fn new(len: usize) -> io::Result<Self> {
        let file = File::from(memfd_create("framehost-screen", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?);
        file.set_len(u64::try_from(len).unwrap_or(u64::MAX))?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW)?;
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing of ours.
        let begin = unsafe { mmap(ptr::null_mut(), len, ProtFlags::READ, MapFlags::SHARED, &file, 0) }?;
        let begin = NonNull::new(begin.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { file, begin, len })
    }

    /// The file, for the server.
    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// What the server wrote. To be called when it has answered that it is done, and not while it writes again.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping has `len` bytes and lives as long as `self`; the seal keeps the file at its length. The
        // server writes only between our request and its answer, and whoever asks reads only after that.
        unsafe { std::slice::from_raw_parts(self.begin.as_ptr(), self.len) }
    }
}

impl Drop for SharedMemory {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and nothing borrows from it any more.
        let unmapped = unsafe { munmap(self.begin.as_ptr().cast(), self.len) };
        if let Err(error) = unmapped {
            tracing::error!(%error, "shared memory could not be unmapped");
        }
    }
}
