//! An end of stream for pipes that have none in one direction alone.
//!
//! A named pipe is closed for both directions or for none, and a relay has to say that its input has ended while it still
//! reads. So what it sends goes in chunks:
//!
//! ```text
//! u32 length (the machine's byte order)   as many bytes      again and again
//! 0                                                          the end of what is sent
//! ```

/// Bytes of a chunk's length.
const LENGTH_BYTES: usize = size_of::<u32>();

/// What stands for the end.
#[cfg_attr(not(windows), allow(dead_code, reason = "a named pipe's"))]
pub(super) const END: [u8; LENGTH_BYTES] = [0; LENGTH_BYTES];

/// Most bytes of a chunk (1 MiB): more takes several.
pub(super) const MAX_CHUNK_BYTES: usize = 1 << 20;

/// Puts as many of `bytes` as fit into one chunk, which takes the place of what was in `chunk`; returns how many.
pub(super) fn encode(bytes: &[u8], chunk: &mut Vec<u8>) -> usize {
    let bytes = bytes.get(..MAX_CHUNK_BYTES).unwrap_or(bytes);
    chunk.clear();
    // It is no more than `MAX_CHUNK_BYTES`.
    chunk.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or_default().to_ne_bytes());
    chunk.extend_from_slice(bytes);
    bytes.len()
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// So many bytes of a length are missing.
    Length(usize),
    /// So many bytes of a chunk are.
    Bytes(usize),
    /// Nothing.
    End,
}

/// Where the hub is in what a relay sends.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    length: [u8; LENGTH_BYTES],
    /// Bytes of `length` that are there.
    known: usize,
    /// Bytes of the present chunk that are still to come.
    left: usize,
    ended: bool,
}

impl Chunks {
    pub(super) const fn next(&self) -> Next {
        match (self.ended, self.left) {
            (true, _) => Next::End,
            (false, 0) => Next::Length(LENGTH_BYTES - self.known),
            (false, left) => Next::Bytes(left),
        }
    }

    /// Takes bytes of a length, no more than are missing.
    pub(super) fn take_length(&mut self, bytes: &[u8]) {
        for (to, from) in self.length.iter_mut().skip(self.known).zip(bytes) {
            *to = *from;
        }
        self.known += bytes.len();
        if self.known >= LENGTH_BYTES {
            self.known = 0;
            self.left = usize::try_from(u32::from_ne_bytes(self.length)).unwrap_or(usize::MAX);
            self.ended = self.left == 0;
        }
    }

    /// So many bytes of the chunk have come.
    pub(super) const fn take_bytes(&mut self, count: usize) {
        self.left = self.left.saturating_sub(count);
    }

    /// Nothing more comes, as nobody is there to send it.
    #[cfg_attr(not(windows), allow(dead_code, reason = "a named pipe's"))]
    pub(super) const fn end(&mut self) {
        self.ended = true;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is read of `sent`, in pieces of `piece` bytes at most, and whether its end was.
    fn read(mut sent: &[u8], piece: usize) -> (Vec<u8>, bool) {
        let (mut chunks, mut read) = (Chunks::default(), Vec::new());
        loop {
            let wanted = match chunks.next() {
                Next::End => return (read, true),
                Next::Length(missing) | Next::Bytes(missing) => missing.min(piece).min(sent.len()),
            };
            if wanted == 0 {
                return (read, false);
            }
            let (now, later) = sent.split_at(wanted);
            sent = later;
            match chunks.next() {
                Next::Bytes(_) => {
                    read.extend_from_slice(now);
                    chunks.take_bytes(now.len());
                }
                Next::Length(_) | Next::End => chunks.take_length(now),
            }
        }
    }

    #[test]
    fn a_long_write_takes_several_chunks() {
        let bytes = vec![7; MAX_CHUNK_BYTES + 1];
        let (mut chunk, mut sent, mut at) = (Vec::new(), Vec::new(), 0);
        while at < bytes.len() {
            at += encode(&bytes[at..], &mut chunk);
            sent.extend_from_slice(&chunk);
        }
        assert_eq!(sent.len(), bytes.len() + 2 * LENGTH_BYTES);
        assert!(read(&sent, usize::MAX) == (bytes, false));
    }

    proptest! {
        #[test]
        fn what_is_sent_is_read_and_then_its_end(
            writes in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 0..8), piece in 1_usize..70
        ) {
            let (mut chunk, mut sent) = (Vec::new(), Vec::new());
            for bytes in &writes {
                prop_assert_eq!(encode(bytes, &mut chunk), bytes.len());
                sent.extend_from_slice(&chunk);
            }
            prop_assert_eq!(read(&sent, piece), (writes.concat(), false));
            sent.extend_from_slice(&END);
            sent.extend_from_slice(b"behind the end");
            prop_assert_eq!(read(&sent, piece), (writes.concat(), true));
        }
    }
}
