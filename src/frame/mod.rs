//! The one kind of picture: [`VideoFrame`], its formats, and the packet that carries it.
//!
//! Belongs here: formats and their sizes, the packet header, reading an encoded picture's size.
//! Does not belong here: streams (`streams`), wire conversions (`grpc::convert`, `session`).
//!
//! Invariants:
//! - A `VideoFrame` that exists has sides in `1..=MAX_SIDE` and, if raw, exactly the bytes of its format and size.
//! - An encoded still (JPEG, PNG, WebP) is what its format says and has the size that its own header says.

pub(crate) mod bits;
mod colour;
pub mod convert;
mod format;
pub mod fragment;
pub mod key_frame;
pub mod packet;
mod pool;
pub mod scale;
pub mod still;

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;

pub use self::{
    colour::{Colour, MATRIX_KEY, Matrix, RANGE_KEY, Range},
    format::{Codec, Format, MAX_SIDE, PixelFormat},
    pool::{Buffer, Pool},
};
use crate::error::ErrorKind;

/// Largest `timestamp_ms` (2^53 - 1, what JavaScript and JSON carry exactly).
pub const MAX_TIMESTAMP_MS: u64 = (1 << 53) - 1;

/// Largest `frame_number` (2^31 - 1: an `int32` in the contract).
pub const MAX_FRAME_NUMBER: u32 = i32::MAX.cast_unsigned();

/// Most bytes of one picture (48 MiB): what a `frame` request of 64 MiB carries in base64, and less than a gRPC message.
pub const MAX_FRAME_BYTES: usize = 48 << 20;

/// What a source says about its pictures beside the fixed fields; keys are sorted.
pub type Metadata = BTreeMap<String, String>;

/// Why bytes are not a picture.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each field is named in its variant's message")]
pub enum FrameError {
    /// A side is outside `1..=MAX_SIDE`.
    #[error("size {width} x {height} is outside 1 to {MAX_SIDE} pixels a side")]
    Size { width: u64, height: u64 },

    /// A raw picture needs its size said.
    #[error("a raw {format} picture needs width and height")]
    SizeMissing { format: Format },

    /// A raw picture has other bytes than its format and size take.
    #[error("{format} of {width} x {height} takes {expected} bytes, got {got}")]
    Length { format: Format, width: u32, height: u32, expected: usize, got: usize },

    /// An encoded picture is not what its format says.
    #[error("the bytes are no {format} picture (they begin like {found})")]
    NotThatFormat { format: Format, found: &'static str },

    /// The size inside an encoded picture is not the one that was said.
    #[error("said to be {width} x {height}, but the {format} picture is {true_width} x {true_height}")]
    SizeMismatch { format: Format, width: u32, height: u32, true_width: u32, true_height: u32 },

    /// No bytes at all.
    #[error("the {format} picture is empty")]
    Empty { format: Format },

    /// More bytes than every wire carries.
    #[error("a picture of {len} bytes exceeds the limit of {MAX_FRAME_BYTES} bytes")]
    TooLong { len: usize },

    /// A `format` that this version does not know.
    #[error("unknown format {name:?}")]
    UnknownFormat { name: String },

    /// A packet's format byte that this version does not know.
    #[error("unknown format byte {byte} in the packet header")]
    UnknownFormatByte { byte: u8 },

    /// A format that has no byte in the packet header.
    #[error("packets cannot carry {format}")]
    NoPacketByte { format: Format },

    /// A packet that ends inside its header.
    #[error("packet of {len} bytes is shorter than its header of {} bytes", packet::HEADER_BYTES)]
    PacketTooShort { len: usize },

    /// A time beyond what every wire carries exactly.
    #[error("timestamp {timestamp_ms} ms is above {MAX_TIMESTAMP_MS}")]
    Timestamp { timestamp_ms: u64 },
}

impl FrameError {
    /// Class reported to peers.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Size { .. }
            | Self::SizeMissing { .. }
            | Self::Length { .. }
            | Self::NotThatFormat { .. }
            | Self::SizeMismatch { .. }
            | Self::Empty { .. }
            | Self::TooLong { .. }
            | Self::UnknownFormat { .. }
            | Self::UnknownFormatByte { .. }
            | Self::NoPacketByte { .. }
            | Self::PacketTooShort { .. }
            | Self::Timestamp { .. } => ErrorKind::InvalidArgument,
        }
    }

    /// The request's field that is wrong, where it is not `data`.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Size { .. } | Self::SizeMissing { .. } | Self::SizeMismatch { .. } => "width",
            Self::UnknownFormat { .. } | Self::NoPacketByte { .. } => "format",
            Self::Timestamp { .. } => "timestamp_ms",
            Self::Length { .. }
            | Self::NotThatFormat { .. }
            | Self::Empty { .. }
            | Self::TooLong { .. }
            | Self::UnknownFormatByte { .. }
            | Self::PacketTooShort { .. } => "data",
        }
    }
}

/// One picture, raw or encoded. Cloning shares `frame_data`.
#[derive(Clone, PartialEq, Eq)]
pub struct VideoFrame {
    format: Format,
    width: u32,
    height: u32,
    timestamp_ms: u64,
    frame_number: u32,
    metadata: Metadata,
    frame_data: Bytes,
}

impl VideoFrame {
    /// A picture, checked.
    ///
    /// `size`: width and height in pixels. `None` reads it from an encoded still; if both are there they must agree.
    /// `timestamp_ms`: 0 to [`MAX_TIMESTAMP_MS`].
    ///
    /// # Errors
    ///
    /// Every [`FrameError`] that does not name a packet.
    pub fn try_new(
        format: Format,
        size: Option<(u32, u32)>,
        timestamp_ms: u64,
        frame_data: Bytes,
    ) -> Result<Self, FrameError> {
        if timestamp_ms > MAX_TIMESTAMP_MS {
            return Err(FrameError::Timestamp { timestamp_ms });
        }
        if let Some((width, height)) = size {
            format::check_size(width, height)?;
        }
        if frame_data.is_empty() {
            return Err(FrameError::Empty { format });
        }
        if frame_data.len() > MAX_FRAME_BYTES {
            return Err(FrameError::TooLong { len: frame_data.len() });
        }
        let (width, height) = match format {
            Format::Pixels(pixels) => raw_size(pixels, size, &frame_data)?,
            Format::Encoded(codec) => encoded_size(codec, size, &frame_data)?,
        };
        Ok(Self { format, width, height, timestamp_ms, frame_number: 0, metadata: Metadata::new(), frame_data })
    }

    /// The same picture with `metadata`.
    #[must_use]
    pub fn with_metadata(self, metadata: Metadata) -> Self {
        Self { metadata, ..self }
    }

    /// The same picture with its place in its stream.
    #[must_use]
    pub fn with_place(self, frame_number: u32, timestamp_ms: u64) -> Self {
        Self { frame_number, timestamp_ms, ..self }
    }

    /// Layout or coding of [`Self::frame_data`].
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Pixels, `1..=MAX_SIDE`.
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Pixels, `1..=MAX_SIDE`.
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// Milliseconds on the source's clock.
    pub const fn timestamp_ms(&self) -> u64 {
        self.timestamp_ms
    }

    /// The source's sequence number, `0..=MAX_FRAME_NUMBER`.
    pub const fn frame_number(&self) -> u32 {
        self.frame_number
    }

    /// What the source said beside the fixed fields.
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Bytes that the picture holds in memory, metadata included.
    pub fn held_bytes(&self) -> usize {
        self.frame_data.len() + self.metadata.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>()
    }

    /// The picture's bytes.
    pub const fn frame_data(&self) -> &Bytes {
        &self.frame_data
    }
}

impl fmt::Debug for VideoFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { format, width, height, timestamp_ms, frame_number, metadata: _, frame_data } = self;
        write!(f, "VideoFrame(#{frame_number} {format} {width}x{height} {timestamp_ms} ms, {} bytes)", frame_data.len())
    }
}

/// The size of a raw picture whose bytes are as many as it takes.
fn raw_size(pixels: PixelFormat, size: Option<(u32, u32)>, data: &[u8]) -> Result<(u32, u32), FrameError> {
    let format = Format::Pixels(pixels);
    let (width, height) = size.ok_or(FrameError::SizeMissing { format })?;
    let expected = pixels.packed_len(width, height)?;
    if expected != data.len() {
        return Err(FrameError::Length { format, width, height, expected, got: data.len() });
    }
    Ok((width, height))
}

/// The size of an encoded picture: its own word for stills, what was said for video chunks.
fn encoded_size(codec: Codec, size: Option<(u32, u32)>, data: &[u8]) -> Result<(u32, u32), FrameError> {
    let format = Format::Encoded(codec);
    let expected_type = match codec {
        Codec::Jpeg => imagesize::ImageType::Jpeg,
        Codec::Png => imagesize::ImageType::Png,
        Codec::Webp => imagesize::ImageType::Webp,
        // A chunk's size stands in the sequence header of an earlier chunk.
        Codec::H264 | Codec::Vp8 | Codec::Vp9 | Codec::Av1 => return size.ok_or(FrameError::SizeMissing { format }),
    };
    let found = imagesize::image_type(data).ok();
    if found != Some(expected_type) {
        return Err(FrameError::NotThatFormat { format, found: found.map_or("nothing known", type_name) });
    }
    let true_size = imagesize::blob_size(data)
        .map_err(|_| FrameError::NotThatFormat { format, found: "one that breaks off before its size" })?;
    let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
    let (true_width, true_height) = (side(true_size.width), side(true_size.height));
    format::check_size(true_width, true_height)?;
    match size {
        Some((width, height)) if (width, height) != (true_width, true_height) => {
            Err(FrameError::SizeMismatch { format, width, height, true_width, true_height })
        }
        Some(_) | None => Ok((true_width, true_height)),
    }
}

/// What sniffed bytes are, for a message.
fn type_name(found: imagesize::ImageType) -> &'static str {
    match found {
        imagesize::ImageType::Jpeg => "jpeg",
        imagesize::ImageType::Png => "png",
        imagesize::ImageType::Webp => "webp",
        _ => "another image format",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JPEG: &[u8] = include_bytes!("../../tests/golden/gradient-64x48.jpg");
    const PNG: &[u8] = include_bytes!("../../tests/golden/gradient-64x48.png");
    const WEBP: &[u8] = include_bytes!("../../tests/golden/gradient-64x48.webp");

    fn make(format: &str, size: Option<(u32, u32)>, data: &[u8]) -> Result<VideoFrame, FrameError> {
        VideoFrame::try_new(Format::parse(format)?, size, 1, Bytes::copy_from_slice(data))
    }

    #[test]
    fn the_true_size_of_a_still_is_read() {
        for (format, data) in [("jpeg", JPEG), ("png", PNG), ("webp", WEBP)] {
            for size in [None, Some((64, 48))] {
                let frame = make(format, size, data).unwrap();
                assert_eq!((frame.width(), frame.height()), (64, 48), "{format}");
            }
            assert!(matches!(make(format, Some((48, 64)), data), Err(FrameError::SizeMismatch { .. })));
        }
    }

    #[test]
    fn a_still_is_what_its_format_says() {
        for (format, data) in [("jpeg", PNG), ("png", WEBP), ("webp", JPEG), ("png", b"plain text".as_slice())] {
            assert!(matches!(make(format, None, data), Err(FrameError::NotThatFormat { .. })), "{format}");
        }
        for format in ["jpeg", "png", "webp", "rgb", "h264"] {
            assert!(matches!(make(format, Some((1, 1)), b""), Err(FrameError::Empty { .. })), "{format}");
        }
    }

    #[test]
    fn raw_bytes_match_format_and_size() {
        for (format, len) in [("rgb", 12), ("bgr", 12), ("rgba", 16), ("gray", 4), ("i420", 6), ("yuy2", 8)] {
            assert!(make(format, Some((2, 2)), &vec![0; len]).is_ok(), "{format}");
            for wrong in [len - 1, len + 1] {
                assert!(matches!(make(format, Some((2, 2)), &vec![0; wrong]), Err(FrameError::Length { .. })));
            }
            assert!(matches!(make(format, None, &vec![0; len]), Err(FrameError::SizeMissing { .. })), "{format}");
        }
    }

    #[test]
    fn a_picture_has_so_many_bytes_at_most() {
        let of = |len| VideoFrame::try_new(Format::Encoded(Codec::H264), Some((1, 1)), 0, vec![0; len].into());
        assert!(of(MAX_FRAME_BYTES).is_ok());
        assert_eq!(of(MAX_FRAME_BYTES + 1), Err(FrameError::TooLong { len: MAX_FRAME_BYTES + 1 }));
    }

    #[test]
    fn timestamps_end_where_json_numbers_do() {
        let at = |timestamp_ms| {
            VideoFrame::try_new(Format::Encoded(Codec::Png), None, timestamp_ms, Bytes::from_static(PNG))
        };
        assert!(at(0).is_ok());
        assert!(at(MAX_TIMESTAMP_MS).is_ok());
        assert!(matches!(at(MAX_TIMESTAMP_MS + 1), Err(FrameError::Timestamp { .. })));
    }

    #[test]
    fn debug_shows_no_pixels() {
        let text = format!("{:?}", make("rgb", Some((1, 1)), &[250, 251, 252]).unwrap());
        assert_eq!(text, "VideoFrame(#0 rgb 1x1 1 ms, 3 bytes)");
    }

    proptest! {
        #[test]
        fn a_truncated_or_mutated_still_never_panics(which in 0usize..3, cut in 0usize..400, at in 0usize..400, byte: u8) {
            let (format, data) = [("jpeg", JPEG), ("png", PNG), ("webp", WEBP)][which];
            let mut data = data[..cut.min(data.len())].to_vec();
            if let Some(place) = data.get_mut(at) {
                *place = byte;
            }
            let _ = make(format, None, &data);
        }
    }
}
