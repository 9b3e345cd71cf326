//! Memory for pictures that is used again: fresh memory of a 1080p picture costs more in page faults than its pixels do.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, PoisonError, Weak},
};

use bytes::Bytes;

/// Buffers that a pool keeps for later.
const MAX_KEPT: usize = 8;

/// Hands out buffers and takes them back when the last picture that shows them is gone. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Pool {
    kept: Arc<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    buffers: Mutex<Vec<Vec<u8>>>,
}

/// A buffer to be filled. It goes back to its pool when it, or the `Bytes` made from it, is dropped.
pub struct Buffer {
    bytes: Vec<u8>,
    pool: Weak<Kept>,
}

impl Pool {
    /// A buffer of `len` bytes, with whatever was in it before.
    pub fn take(&self, len: usize) -> Buffer {
        let mut kept = self.kept.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        // Sizes change with the source's mode: one that does not fit is not kept for later.
        let found = kept.iter().position(|buffer| buffer.capacity() >= len && buffer.capacity() / 2 <= len);
        let mut bytes = match found {
            Some(at) => kept.swap_remove(at),
            None => {
                kept.clear();
                Vec::new()
            }
        };
        drop(kept);
        bytes.resize(len, 0);
        Buffer { bytes, pool: Arc::downgrade(&self.kept) }
    }
}

impl Buffer {
    /// The filled buffer, to be shared.
    pub fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            let mut kept = pool.buffers.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() < MAX_KEPT {
                kept.push(std::mem::take(&mut self.bytes));
            }
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} bytes)", self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_its_last_picture_is_gone() {
        let pool = Pool::default();
        let mut buffer = pool.take(1000);
        buffer[0] = 7;
        let address = buffer.as_ptr();
        let shown = buffer.freeze();
        let part = shown.slice(1..);
        drop(shown);
        assert_ne!(pool.take(1000).as_ptr(), address);
        drop(part);
        let again = (0..2).map(|_| pool.take(1000)).collect::<Vec<_>>();
        assert!(again.iter().any(|buffer| buffer.as_ptr() == address));
    }

    #[test]
    fn what_is_kept_is_bounded_and_of_the_size_in_use() {
        let pool = Pool::default();
        drop((0..2 * MAX_KEPT).map(|_| pool.take(64)).collect::<Vec<_>>());
        assert_eq!(pool.kept.buffers.lock().unwrap().len(), MAX_KEPT);
        assert_eq!(pool.take(1 << 20).len(), 1 << 20);
        assert_eq!(pool.kept.buffers.lock().unwrap().len(), 1);
    }
}
