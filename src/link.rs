//! The link between a relay and the hub: one connection on the hub's local socket for each browser port.
//!
//! ```text
//! relay -> hub:  "fhl" version  u32 length  preamble (JSON)   then native messages as the browser sent them
//! hub -> relay:  "fhl" version  u32 length  preamble (JSON)   then frames: kind u8, u32 length, bytes
//!                                                             kind 0: a message for the browser
//!                                                             kind 1: close, 1 byte: the relay's exit code
//! ```
//!
//! Lengths are in the machine's byte order: both ends are on one machine. What comes before the preamble is the same in
//! every version of the link, so that two that do not understand each other know which of them is the newer one: the
//! older hub leaves to it as soon as it is idle. The Python client reads a hub's preamble, too, to know which process it is.
//!
//! Belongs here: the preambles and the hub's frames, in blocking form for the relay and in memory for both.
//! Does not belong here: sockets (`relay`, `hub`), what messages mean (`session`).
//!
//! Invariants:
//! - A peer with another link version is refused before anything else is read.
//! - Only `close` is a farewell; an end of stream without it is the hub's death.

use std::io::{self, Read};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{error::ErrorKind, framing::MAX_OUTBOUND_BODY};

/// The hub's local socket, in the runtime directory.
pub const SOCKET_FILE: &str = "hub.sock";

/// Version of everything on this page.
pub const LINK_VERSION: u8 = 1;

/// Largest preamble, in bytes: an argument list is far shorter.
pub const MAX_PREAMBLE_BYTES: usize = 64 << 10;

const MAGIC: [u8; 4] = [b'f', b'h', b'l', LINK_VERSION];

/// Bytes of the magic and the length before a preamble.
pub const PREAMBLE_HEADER_BYTES: usize = 8;

/// Bytes of the kind and the length before a frame.
const FRAME_HEADER_BYTES: usize = 5;

const KIND_MESSAGE: u8 = 0;
const KIND_CLOSE: u8 = 1;

/// What a relay says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RelayPreamble {
    /// framehost's version.
    pub version: String,
    /// The arguments that it was launched with, without the program's name.
    pub argv: Vec<String>,
    /// Its process.
    pub pid: u32,
}

/// What a hub says of itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HubPreamble {
    /// framehost's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
}

/// What a hub sends.
#[derive(Debug, PartialEq, Eq)]
pub enum Frame {
    /// A whole body for the browser.
    Message(Vec<u8>),
    /// The session is over; the relay leaves with this code.
    Close(u8),
}

/// Why the other end is not understood.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each field is named in its variant's message")]
pub enum LinkError {
    /// The connection ended or failed.
    #[error(transparent)]
    Io(io::Error),

    /// Nothing came within the connection's time limit.
    #[error("nothing came from it in time: it is stopped, or very busy")]
    Silent,

    /// A framehost of another link version.
    #[error("the other end speaks link version {theirs}, this is version {LINK_VERSION}: update framehost")]
    Version { theirs: u8 },

    /// Not a framehost at all.
    #[error("the other end is no framehost")]
    Foreign,

    /// A length that no honest peer sends.
    #[error("{what} of {len} bytes exceeds the limit of {limit} bytes")]
    TooLong { what: &'static str, len: usize, limit: usize },

    /// A preamble that is not what it has to be.
    #[error("the preamble cannot be read: {0}")]
    Preamble(#[from] serde_json::Error),

    /// A frame of a kind that this version does not know.
    #[error("unknown frame kind {kind}")]
    Kind { kind: u8 },
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> Self {
        // A socket's time limit; the system's words for it are "resource temporarily unavailable".
        if error.kind() == io::ErrorKind::WouldBlock { Self::Silent } else { Self::Io(error) }
    }
}

impl LinkError {
    /// Class reported to peers.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Io(_) | Self::Silent => ErrorKind::Unavailable,
            Self::Version { .. } => ErrorKind::FailedPrecondition,
            Self::Foreign | Self::TooLong { .. } | Self::Preamble(_) | Self::Kind { .. } => ErrorKind::Internal,
        }
    }
}

/// A preamble with its header.
///
/// # Errors
///
/// [`LinkError::TooLong`].
pub fn encode_preamble(preamble: &impl Serialize) -> Result<Vec<u8>, LinkError> {
    let json = serde_json::to_vec(preamble)?;
    let mut bytes = MAGIC.to_vec();
    bytes.extend_from_slice(&length(json.len(), MAX_PREAMBLE_BYTES, "a preamble")?.to_ne_bytes());
    bytes.extend_from_slice(&json);
    Ok(bytes)
}

/// The length of the preamble that follows its header.
///
/// # Errors
///
/// [`LinkError::Foreign`], [`LinkError::Version`], [`LinkError::TooLong`].
pub fn preamble_len(header: [u8; PREAMBLE_HEADER_BYTES]) -> Result<usize, LinkError> {
    let [m0, m1, m2, version, l0, l1, l2, l3] = header;
    if MAGIC != [m0, m1, m2, LINK_VERSION] {
        return Err(LinkError::Foreign);
    }
    if version != LINK_VERSION {
        return Err(LinkError::Version { theirs: version });
    }
    let len = u32::from_ne_bytes([l0, l1, l2, l3]);
    checked(len, MAX_PREAMBLE_BYTES, "a preamble")
}

/// Reads the other end's preamble.
///
/// # Errors
///
/// [`LinkError`]; an end of stream is [`LinkError::Io`] with `UnexpectedEof`.
pub fn read_preamble<T: DeserializeOwned>(from: &mut impl Read) -> Result<T, LinkError> {
    let mut header = [0; PREAMBLE_HEADER_BYTES];
    from.read_exact(&mut header)?;
    let mut json = vec![0; preamble_len(header)?];
    from.read_exact(&mut json)?;
    Ok(serde_json::from_slice(&json)?)
}

/// A message as a frame.
///
/// # Errors
///
/// [`LinkError::TooLong`] if the browser would close the port on it.
pub fn encode_message(body: &[u8]) -> Result<Vec<u8>, LinkError> {
    let mut frame = Vec::with_capacity(FRAME_HEADER_BYTES + body.len());
    frame.push(KIND_MESSAGE);
    frame.extend_from_slice(&length(body.len(), MAX_OUTBOUND_BODY, "a message")?.to_ne_bytes());
    frame.extend_from_slice(body);
    Ok(frame)
}

/// The farewell as a frame.
pub fn encode_close(exit_code: u8) -> Vec<u8> {
    let mut frame = vec![KIND_CLOSE];
    frame.extend_from_slice(&1_u32.to_ne_bytes());
    frame.push(exit_code);
    frame
}

/// Reads one frame.
///
/// # Errors
///
/// [`LinkError`]; an end of stream is [`LinkError::Io`] with `UnexpectedEof`.
pub fn read_frame(from: &mut impl Read) -> Result<Frame, LinkError> {
    let mut header = [0; FRAME_HEADER_BYTES];
    from.read_exact(&mut header)?;
    let [kind, l0, l1, l2, l3] = header;
    let len = u32::from_ne_bytes([l0, l1, l2, l3]);
    match kind {
        KIND_MESSAGE => {
            let mut body = vec![0; checked(len, MAX_OUTBOUND_BODY, "a message")?];
            from.read_exact(&mut body)?;
            Ok(Frame::Message(body))
        }
        KIND_CLOSE => {
            let mut code = [0];
            checked(len, code.len(), "a farewell")?;
            from.read_exact(&mut code)?;
            Ok(Frame::Close(code[0]))
        }
        kind => Err(LinkError::Kind { kind }),
    }
}

fn length(len: usize, limit: usize, what: &'static str) -> Result<u32, LinkError> {
    match u32::try_from(len) {
        Ok(length) if len <= limit => Ok(length),
        Ok(_) | Err(_) => Err(LinkError::TooLong { what, len, limit }),
    }
}

fn checked(len: u32, limit: usize, what: &'static str) -> Result<usize, LinkError> {
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    if len <= limit { Ok(len) } else { Err(LinkError::TooLong { what, len, limit }) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn preambles_and_frames_round_trip() {
        let relay = RelayPreamble { version: "1".to_owned(), argv: vec!["chrome-extension://x/".to_owned()], pid: 7 };
        let bytes = encode_preamble(&relay).unwrap();
        let read: RelayPreamble = read_preamble(&mut &bytes[..]).unwrap();
        assert_eq!((read.version, read.argv, read.pid), (relay.version, relay.argv, relay.pid));
        let message = encode_message(b"{}").unwrap();
        assert_eq!(read_frame(&mut &message[..]).unwrap(), Frame::Message(b"{}".to_vec()));
        assert_eq!(read_frame(&mut &encode_close(3)[..]).unwrap(), Frame::Close(3));
    }

    #[test]
    fn a_message_that_the_browser_would_not_take_is_no_frame() {
        assert!(encode_message(&vec![b' '; MAX_OUTBOUND_BODY]).is_ok());
        assert!(matches!(encode_message(&vec![b' '; MAX_OUTBOUND_BODY + 1]), Err(LinkError::TooLong { .. })));
    }

    #[test]
    fn another_version_is_named_before_its_preamble_is_read() {
        let mut bytes = encode_preamble(&HubPreamble { version: "9".to_owned(), pid: 1 }).unwrap();
        bytes[3] = 9;
        let read = |bytes: &[u8]| read_preamble::<HubPreamble>(&mut &bytes[..]).unwrap_err();
        assert!(matches!(read(&bytes), LinkError::Version { theirs: 9 }));
        bytes[0] = b'x';
        assert!(matches!(read(&bytes), LinkError::Foreign));
        assert!(matches!(read(b""), LinkError::Io(_)));
        let long = [MAGIC, u32::MAX.to_ne_bytes()].concat();
        assert!(matches!(read(&long), LinkError::TooLong { .. }));
    }

    proptest! {
        #[test]
        fn junk_never_panics(junk in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = read_frame(&mut &junk[..]);
            let _ = read_preamble::<RelayPreamble>(&mut &junk[..]);
            let _ = read_preamble::<HubPreamble>(&mut &[&MAGIC[..], &junk].concat()[..]);
        }
    }
}
