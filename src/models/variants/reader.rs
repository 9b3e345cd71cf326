//! Reading headers: forward, in small steps, and never more of a file than is allowed.

use std::{fs::File, io};

use crate::models::system::read_at;

/// Bytes read at once (4 KiB): some tensors' descriptions, and little to read in vain where data is skipped.
const WINDOW_BYTES: usize = 4 << 10;

/// Bytes of one file that are read for its headers (64 MiB).
const MAX_READ_BYTES: u64 = 64 << 20;

/// Why a file's headers cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),

    #[error("it ends at {size} bytes, in the middle of its headers")]
    Ends { size: u64 },

    #[error("its headers are longer than {MAX_READ_BYTES} bytes")]
    TooLong,

    #[error("{what} of {found}: at most {limit} is read")]
    Limit { what: &'static str, found: u64, limit: u64 },

    #[error("it is malformed: {0}")]
    Malformed(&'static str),
}

/// A file, read from its start on.
pub(super) struct Reader {
    file: File,
    size: u64,
    offset: u64,
    window: Vec<u8>,
    window_start: u64,
    /// Bytes that may still be read.
    left: u64,
}

impl Reader {
    pub(super) fn new(file: File) -> Result<Self, HeaderError> {
        let size = file.metadata()?.len();
        Ok(Self { file, size, offset: 0, window: Vec::new(), window_start: 0, left: MAX_READ_BYTES })
    }

    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// Goes on behind so many bytes, which have to be there.
    pub(super) const fn skip(&mut self, bytes: u64) -> Result<(), HeaderError> {
        match self.offset.checked_add(bytes) {
            Some(offset) if offset <= self.size => {
                self.offset = offset;
                Ok(())
            }
            Some(_) | None => Err(HeaderError::Ends { size: self.size }),
        }
    }

    pub(super) fn byte(&mut self) -> Result<u8, HeaderError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(super) fn u32(&mut self) -> Result<u32, HeaderError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, HeaderError> {
        self.array().map(u64::from_le_bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], HeaderError> {
        let bytes = self.some(N)?;
        bytes.try_into().map_err(|_| HeaderError::Malformed("a number is cut"))
    }

    /// So many bytes, at most `limit` of `what`.
    pub(super) fn bytes(&mut self, length: u64, what: &'static str, limit: u64) -> Result<Vec<u8>, HeaderError> {
        if length > limit {
            return Err(HeaderError::Limit { what, found: length, limit });
        }
        // Before memory is taken for it.
        if length > self.size.saturating_sub(self.offset) {
            return Err(HeaderError::Ends { size: self.size });
        }
        let mut left = usize::try_from(length).unwrap_or(usize::MAX);
        let mut bytes = Vec::with_capacity(left);
        while left > 0 {
            let part = self.some(left.min(WINDOW_BYTES))?;
            bytes.extend_from_slice(part);
            left = left.saturating_sub(part.len());
        }
        Ok(bytes)
    }

    /// So many bytes, at most [`WINDOW_BYTES`].
    fn some(&mut self, length: usize) -> Result<&[u8], HeaderError> {
        let end = self.offset.checked_add(length as u64).filter(|end| *end <= self.size);
        let Some(end) = end else { return Err(HeaderError::Ends { size: self.size }) };
        let is_here = self.offset >= self.window_start && end <= self.window_start + self.window.len() as u64;
        if !is_here {
            self.fill()?;
        }
        let start = usize::try_from(self.offset - self.window_start).unwrap_or(usize::MAX);
        self.offset = end;
        // Shorter only if somebody has shortened the file.
        self.window.get(start..start + length).ok_or(HeaderError::Ends { size: self.size })
    }

    fn fill(&mut self) -> Result<(), HeaderError> {
        let there = usize::try_from(self.size - self.offset).unwrap_or(usize::MAX).min(WINDOW_BYTES);
        self.left = self.left.checked_sub(there as u64).ok_or(HeaderError::TooLong)?;
        self.window.resize(there, 0);
        self.window_start = self.offset;
        let mut filled = 0;
        while let Some(rest) = self.window.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match read_at(&self.file, rest, self.offset + filled as u64)? {
                0 => return Err(HeaderError::Ends { size: self.size }),
                read => filled += read,
            }
        }
        Ok(())
    }
}
