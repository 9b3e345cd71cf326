//! The native-messaging frame: a 32-bit length in the machine's byte order, then that many bytes.
//!
//! Belongs here: the prefix, the limits of both directions, [`Decoder`], [`encode_prefix`].
//! Does not belong here: what a body means (`message`), pipes (`stdio`, `link`).
//!
//! Invariants:
//! - A length is compared with the limit before any memory is taken for it.
//! - Memory grows with the bytes that arrived, not with the bytes that were announced.

use bytes::BytesMut;

use crate::error::ErrorKind;

/// Largest body that an extension may send, in bytes (64 MiB).
///
/// Source: Chromium, `extensions/renderer/api/messaging/messaging_util.cc`.
pub const MAX_INBOUND_BODY: usize = 64 << 20;

/// Largest body that a browser accepts from its host, in bytes (1 MiB); one byte more and it closes the port.
///
/// Source: Chromium, `native_message_process_host.cc`, `kMaximumNativeMessageSize`.
pub const MAX_OUTBOUND_BODY: usize = 1 << 20;

/// Bytes of the length prefix.
pub const PREFIX_BYTES: usize = 4;

/// Room offered to one read, in bytes: a Unix socket hands over a little more than 200 KiB at once.
const READ_BYTES: usize = 256 << 10;

/// A buffer that grew beyond this is given back once its message is done, in bytes.
const KEEP_BYTES: usize = 16 << 20;

/// Why a byte stream stopped being a sequence of messages.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each field is named in its variant's message")]
pub enum FramingError {
    /// The prefix announces more than this side accepts; the stream cannot be resynchronised.
    #[error("body of {announced} bytes exceeds the limit of {limit} bytes, at stream offset {offset}")]
    BodyTooLong { announced: usize, limit: usize, offset: u64 },

    /// The pipe closed inside a message.
    #[error("pipe closed after {got} of {expected} bytes, at stream offset {offset}")]
    Truncated { got: usize, expected: usize, offset: u64 },
}

impl FramingError {
    /// Class reported to peers.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::BodyTooLong { .. } => ErrorKind::ResourceExhausted,
            Self::Truncated { .. } => ErrorKind::DataLoss,
        }
    }
}

/// The prefix of a body of `len` bytes.
///
/// # Errors
///
/// [`FramingError::BodyTooLong`] if `len` is over `limit`.
pub fn encode_prefix(len: usize, limit: usize) -> Result<[u8; PREFIX_BYTES], FramingError> {
    let too_long = FramingError::BodyTooLong { announced: len, limit, offset: 0 };
    if len > limit {
        return Err(too_long);
    }
    u32::try_from(len).map(u32::to_ne_bytes).map_err(|_| too_long)
}

/// Cuts a byte stream into bodies.
///
/// Bytes are read into [`Decoder::space`], then [`Decoder::pop`] is called until it has no more.
#[derive(Debug)]
pub struct Decoder {
    limit: usize,
    buffered: BytesMut,
    /// Stream offset of the first buffered byte.
    offset: u64,
}

impl Decoder {
    /// A decoder for bodies of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, buffered: BytesMut::new(), offset: 0 }
    }

    /// The buffer to append to, with room for the next read.
    pub fn space(&mut self) -> &mut BytesMut {
        let missing = self.expected().saturating_sub(self.buffered.len());
        // Doubling: a peer that announces 64 MiB and sends nothing costs one read's room.
        let room = missing.min(self.buffered.len()).max(READ_BYTES);
        self.buffered.reserve(room);
        &mut self.buffered
    }

    /// The next complete body, or `None` until more bytes came.
    ///
    /// # Errors
    ///
    /// [`FramingError::BodyTooLong`] as soon as the prefix is there; every later call fails alike.
    pub fn pop(&mut self) -> Result<Option<BytesMut>, FramingError> {
        let Some(announced) = self.announced() else {
            return Ok(None);
        };
        if announced > self.limit {
            return Err(FramingError::BodyTooLong { announced, limit: self.limit, offset: self.offset });
        }
        if self.buffered.len() < PREFIX_BYTES + announced {
            return Ok(None);
        }
        let mut body = self.buffered.split_to(PREFIX_BYTES + announced);
        self.offset += body.len() as u64;
        if body.len() > KEEP_BYTES {
            self.buffered = BytesMut::from(&self.buffered[..]);
        }
        Ok(Some(body.split_off(PREFIX_BYTES)))
    }

    /// To be called at the end of the stream.
    ///
    /// # Errors
    ///
    /// [`FramingError::Truncated`] if it ended inside a message.
    pub fn finish(&self) -> Result<(), FramingError> {
        if self.buffered.is_empty() {
            return Ok(());
        }
        Err(FramingError::Truncated { got: self.buffered.len(), expected: self.expected(), offset: self.offset })
    }

    /// Bytes of the body that the buffered prefix announces.
    fn announced(&self) -> Option<usize> {
        let prefix: [u8; PREFIX_BYTES] = self.buffered.get(..PREFIX_BYTES)?.try_into().ok()?;
        usize::try_from(u32::from_ne_bytes(prefix)).ok()
    }

    /// Bytes of the message at hand, prefix included.
    fn expected(&self) -> usize {
        PREFIX_BYTES + self.announced().map_or(0, |announced| announced.min(self.limit))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stream_of(bodies: &[Vec<u8>]) -> Vec<u8> {
        let mut stream = Vec::new();
        for body in bodies {
            stream.extend_from_slice(&encode_prefix(body.len(), MAX_INBOUND_BODY).unwrap());
            stream.extend_from_slice(body);
        }
        stream
    }

    fn check_prefix(announced: u32, limit: usize, accepted: bool) {
        let mut decoder = Decoder::new(limit);
        decoder.space().extend_from_slice(&announced.to_ne_bytes());
        assert_eq!(decoder.pop().is_ok(), accepted, "{announced} with limit {limit}");
        assert!(decoder.space().capacity() <= 3 * READ_BYTES, "memory was taken for an announcement");
    }

    #[test]
    fn pop_rejects_body_over_limit_before_it_arrives() {
        for limit in [1000, MAX_OUTBOUND_BODY, MAX_INBOUND_BODY] {
            let announced = u32::try_from(limit).unwrap();
            check_prefix(0, limit, true);
            check_prefix(announced - 1, limit, true);
            check_prefix(announced, limit, true);
            check_prefix(announced + 1, limit, false);
            check_prefix(u32::MAX, limit, false);
        }
    }

    #[test]
    fn encode_prefix_rejects_one_byte_over_the_limit() {
        assert_eq!(encode_prefix(MAX_OUTBOUND_BODY, MAX_OUTBOUND_BODY), Ok(0x10_0000_u32.to_ne_bytes()));
        assert!(encode_prefix(MAX_OUTBOUND_BODY + 1, MAX_OUTBOUND_BODY).is_err());
        assert!(encode_prefix(usize::MAX, usize::MAX).is_err());
    }

    #[test]
    fn pop_yields_an_empty_body_for_length_zero() {
        let mut decoder = Decoder::new(10);
        decoder.space().extend_from_slice(&[0; 4]);
        assert_eq!(decoder.pop(), Ok(Some(BytesMut::new())));
        assert_eq!(decoder.finish(), Ok(()));
    }

    #[test]
    fn finish_tells_where_the_pipe_closed() {
        let mut decoder = Decoder::new(100);
        decoder.space().extend_from_slice(&stream_of(&[b"abc".to_vec()]));
        decoder.space().extend_from_slice(&[9, 0]);
        assert!(decoder.pop().unwrap().is_some());
        assert_eq!(decoder.pop(), Ok(None));
        assert_eq!(decoder.finish(), Err(FramingError::Truncated { got: 2, expected: 4, offset: 7 }));
    }

    #[test]
    fn a_large_buffer_is_given_back_after_its_message() {
        let mut decoder = Decoder::new(MAX_INBOUND_BODY);
        decoder.space().extend_from_slice(&stream_of(&[vec![b'x'; KEEP_BYTES + 1], b"next".to_vec()]));
        assert_eq!(decoder.pop().unwrap().unwrap().len(), KEEP_BYTES + 1);
        assert!(decoder.space().capacity() < KEEP_BYTES);
        assert_eq!(decoder.pop().unwrap().unwrap(), b"next"[..]);
    }

    proptest! {
        #[test]
        fn bodies_survive_any_split(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..12),
                                    cuts in prop::collection::vec(1usize..700, 1..40)) {
            let stream = stream_of(&bodies);
            let mut decoder = Decoder::new(300);
            let (mut rest, mut got, mut cuts) = (&stream[..], Vec::new(), cuts.iter().cycle());
            while !rest.is_empty() {
                let (now, later) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                decoder.space().extend_from_slice(now);
                rest = later;
                while let Some(body) = decoder.pop().unwrap() {
                    got.push(body.to_vec());
                }
            }
            prop_assert_eq!(got, bodies);
            prop_assert_eq!(decoder.finish(), Ok(()));
        }

        #[test]
        fn junk_never_panics(junk in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = Decoder::new(64);
            decoder.space().extend_from_slice(&junk);
            while let Ok(Some(body)) = decoder.pop() {
                prop_assert!(body.len() <= 64);
            }
            let _ = decoder.finish();
        }
    }
}
