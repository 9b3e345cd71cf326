//! What the hub and the program `framehost-portal` say to each other over its pipes.
//!
//! The hub writes an [`Order`] as one line of JSON to the program's standard input, and then the byte [`ASK`] for each
//! picture that it wants. The end of that input ends the program. Its standard output is a sequence of records, each a
//! header of [`HEADER_BYTES`] bytes, integers little-endian, and the body that the header announces:
//!
//! | Bytes | Content |
//! |---|---|
//! | 0..4 | `FHP` and the version, 1 |
//! | 4 | kind: 0 a [`Word`] as JSON, 1 a picture, 2 nothing has changed since the last picture |
//! | 5 | order of a picture's four bytes a pixel: 1 blue first, 2 red first; the fourth means nothing |
//! | 6 | who says when the picture was taken: 0 the program, when it got it; 1 the compositor |
//! | 7 | 0 |
//! | 8..12, 12..16 | width and height of the picture, in pixels |
//! | 16..20 | stride: bytes from one row to the next |
//! | 20..24 | bytes of the body; of a picture: stride times height |
//! | 24..32 | when the picture was taken, in nanoseconds of the system's monotonic clock |
//!
//! The first word is the user's answer. The first picture is sent as soon as it is asked for and there is one; later an
//! `ASK` is answered at once, with a picture if a newer one has come and with kind 2 if not. So one picture at most is
//! under way, and it is the newest. [`Word::Lost`] and
//! [`Word::Stopped`] come unasked, and are the last.

use serde::{Deserialize, Serialize};

use crate::frame::{FrameError, PixelFormat};

/// The version that both sides have to speak.
pub const VERSION: u8 = 1;

/// Bytes of a header.
pub const HEADER_BYTES: usize = 32;

/// Asks for a picture.
pub const ASK: u8 = b'?';

/// Longest word, in bytes.
pub const MAX_WORD_BYTES: usize = 64 << 10;

/// Largest picture, in bytes (64 MiB: four bytes for each pixel of which the hub's largest has three).
pub const MAX_PICTURE_BYTES: usize = 64 << 20;

const MAGIC: [u8; 4] = [b'F', b'H', b'P', VERSION];

/// What the hub wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Order {
    /// [`VERSION`].
    pub version: u8,
    /// What the user is asked for.
    pub source: Source,
    /// With the pointer.
    pub cursor: bool,
    /// Stands for a choice that the user has made before.
    pub restore_token: Option<String>,
    /// The part that is wanted, in pixels from the top left corner: x, y, width, height.
    pub region: Option<(i32, i32, u32, u32)>,
    /// Pictures a second that will be asked for.
    pub fps: f64,
}

/// What the user is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A screen.
    Screen,
    /// A window.
    Window,
}

/// What the program says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// The user has chosen, now or before.
    Granted {
        /// Stands for the choice, once.
        restore_token: Option<String>,
    },
    /// The user, or the desktop, has refused.
    Denied {
        /// For people.
        problem: String,
    },
    /// There is no portal, or it cannot do what is asked for.
    Missing {
        /// For people.
        problem: String,
    },
    /// The region does not lie on what was chosen.
    Outside {
        /// Pixels of what was chosen.
        width: u32,
        /// Pixels of what was chosen.
        height: u32,
    },
    /// No more pictures will come.
    Lost {
        /// For people.
        problem: String,
    },
    /// The user, or the desktop, has ended it: what the user chose does not hold any more.
    Stopped {
        /// For people.
        problem: String,
    },
}

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// A word of so many bytes.
    Word {
        /// Bytes.
        len: usize,
    },
    /// A picture.
    Picture(PictureHeader),
    /// Nothing has changed since the last picture.
    Unchanged,
}

/// What a picture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureHeader {
    /// `Bgra` or `Rgba`; the fourth byte means nothing.
    pub format: PixelFormat,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Bytes from one row to the next.
    pub stride: u32,
    /// When it was taken, on the system's monotonic clock.
    pub mono_ns: u64,
    /// Is that the compositor's word?
    pub is_compositors_time: bool,
}

/// Why bytes are no header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each field is named in its variant's message")]
pub enum WireError {
    /// Another program, or another version.
    #[error("a record begins with {got:?} instead of {MAGIC:?}: the programs have different versions")]
    Magic { got: [u8; 4] },

    /// A value that no header has.
    #[error("a record's {field} is {got}")]
    Value { field: &'static str, got: u32 },

    /// A picture's size.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl PictureHeader {
    /// Bytes of the body.
    ///
    /// # Errors
    ///
    /// [`WireError`] if there can be no such picture.
    pub fn body_len(&self) -> Result<usize, WireError> {
        let packed = self.format.packed_len(self.width, self.height)?;
        let [stride, height] = [self.stride, self.height].map(|side| usize::try_from(side).unwrap_or(usize::MAX));
        if stride.saturating_mul(height) < packed {
            return Err(WireError::Value { field: "stride", got: self.stride });
        }
        match stride.checked_mul(height) {
            Some(len) if len <= MAX_PICTURE_BYTES => Ok(len),
            _ => Err(FrameError::TooLong { len: stride.saturating_mul(height) }.into()),
        }
    }
}

impl Header {
    /// As it goes over the pipe.
    ///
    /// # Errors
    ///
    /// [`WireError`] if the other side would refuse it.
    pub fn encode(&self) -> Result<[u8; HEADER_BYTES], WireError> {
        let (kind, format, clock, sides, len, mono_ns) = match self {
            Self::Word { len } if *len > MAX_WORD_BYTES => {
                return Err(WireError::Value { field: "length", got: u32::try_from(*len).unwrap_or(u32::MAX) });
            }
            Self::Word { len } => (0, 0, 0, [0; 3], *len, 0),
            Self::Picture(picture) => {
                let format = match picture.format {
                    PixelFormat::Bgra => 1,
                    PixelFormat::Rgba => 2,
                    other => return Err(WireError::Value { field: "format", got: other as u32 }),
                };
                let sides = [picture.width, picture.height, picture.stride];
                (1, format, u8::from(picture.is_compositors_time), sides, picture.body_len()?, picture.mono_ns)
            }
            Self::Unchanged => (2, 0, 0, [0; 3], 0, 0),
        };
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        let mut parts = MAGIC
            .into_iter()
            .chain([kind, format, clock, 0])
            .chain(sides.into_iter().chain([len]).flat_map(u32::to_le_bytes).chain(mono_ns.to_le_bytes()));
        Ok(std::array::from_fn(|_| parts.next().unwrap_or_default()))
    }

    /// Reads a header.
    ///
    /// # Errors
    ///
    /// [`WireError`]; the pipe cannot be read on after that.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, WireError> {
        let &[a, b, c, d, kind, format, clock, _, ref rest @ ..] = bytes;
        let got = [a, b, c, d];
        if got != MAGIC {
            return Err(WireError::Magic { got });
        }
        let mut numbers = rest.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
        let mut next = || numbers.next().unwrap_or_default();
        let (width, height, stride, len) = (next(), next(), next(), next());
        let mono_ns = u64::from(next()) | u64::from(next()) << 32;
        let bytes_of_body = usize::try_from(len).unwrap_or(usize::MAX);
        match kind {
            0 if bytes_of_body <= MAX_WORD_BYTES => Ok(Self::Word { len: bytes_of_body }),
            1 => {
                let format = match format {
                    1 => PixelFormat::Bgra,
                    2 => PixelFormat::Rgba,
                    got => return Err(WireError::Value { field: "format", got: got.into() }),
                };
                let picture = PictureHeader { format, width, height, stride, mono_ns, is_compositors_time: clock == 1 };
                if picture.body_len()? == bytes_of_body {
                    Ok(Self::Picture(picture))
                } else {
                    Err(WireError::Value { field: "length", got: len })
                }
            }
            2 if len == 0 => Ok(Self::Unchanged),
            0 | 2 => Err(WireError::Value { field: "length", got: len }),
            got => Err(WireError::Value { field: "kind", got: got.into() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::MAX_SIDE;

    const PICTURE: PictureHeader = PictureHeader {
        format: PixelFormat::Bgra,
        width: 640,
        height: 400,
        stride: 2560,
        mono_ns: 0x0123_4567_89AB_CDEF,
        is_compositors_time: true,
    };

    #[test]
    fn a_header_has_the_documented_bytes() {
        let bytes = Header::Picture(PICTURE).encode().unwrap();
        let expected = b"FHP\x01\x01\x01\x01\x00\x80\x02\0\0\x90\x01\0\0\x00\x0A\0\0\x00\xA0\x0F\0\xEF\xCD\xAB\x89\x67\x45\x23\x01";
        assert_eq!(&bytes, expected);
        assert_eq!(Header::Unchanged.encode().unwrap()[..8], *b"FHP\x01\x02\0\0\0");
    }

    #[test]
    fn headers_that_cannot_be_are_refused() {
        let check = |at: usize, value: u8, expected: &str| {
            let mut bytes = Header::Picture(PICTURE).encode().unwrap();
            bytes[at] = value;
            let error = Header::decode(&bytes).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check(3, 2, "different versions");
        check(4, 3, "kind is 3");
        check(4, 2, "length is 1024000");
        check(5, 3, "format is 3");
        check(17, 9, "stride is 2304");
        check(20, 1, "length is 1024001");
        check(10, 1, "outside 1 to");
        let word = Header::Word { len: MAX_WORD_BYTES };
        assert_eq!(Header::decode(&word.encode().unwrap()), Ok(word));
        Header::Word { len: MAX_WORD_BYTES + 1 }.encode().unwrap_err();
        let huge = PictureHeader { width: MAX_SIDE, height: MAX_SIDE, stride: MAX_SIDE * 4, ..PICTURE };
        assert!(matches!(huge.body_len(), Err(WireError::Frame(FrameError::TooLong { .. }))));
        Header::Picture(PictureHeader { format: PixelFormat::Rgb, ..PICTURE }).encode().unwrap_err();
    }

    #[test]
    fn words_and_orders_are_plain_json() {
        let word: Word = serde_json::from_str(r#"{"denied":{"problem":"no","later":1}}"#).unwrap();
        assert_eq!(word, Word::Denied { problem: "no".to_owned() });
        let order = Order {
            version: VERSION,
            source: Source::Screen,
            cursor: true,
            restore_token: None,
            region: Some((1, 2, 3, 4)),
            fps: 30.0,
        };
        let line = serde_json::to_string(&order).unwrap();
        assert_eq!(serde_json::from_str::<Order>(&line).unwrap(), order);
        assert!(line.contains(r#""source":"screen""#), "{line}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_refused(bytes: [u8; HEADER_BYTES], begins_well: bool) {
            let mut bytes = bytes;
            if begins_well {
                bytes[..4].copy_from_slice(&MAGIC);
            }
            if let Ok(header) = Header::decode(&bytes) {
                prop_assert_eq!(Header::decode(&header.encode().unwrap()), Ok(header));
            }
        }

        #[test]
        fn pictures_round_trip(width in 1..=4096u32, height in 1..=4096u32, gap in 0..64u32, mono_ns: u64, red_first: bool) {
            let format = if red_first { PixelFormat::Rgba } else { PixelFormat::Bgra };
            let header = PictureHeader {
                format, width, height, stride: width * 4 + gap, mono_ns, is_compositors_time: red_first,
            };
            if header.body_len().is_ok() {
                let header = Header::Picture(header);
                prop_assert_eq!(Header::decode(&header.encode().unwrap()), Ok(header));
            }
        }
    }
}
