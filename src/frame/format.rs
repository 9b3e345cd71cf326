//! The formats a picture can have, their names on the wire, and how many bytes the raw ones take.

use std::fmt;

use super::FrameError;

/// Longest side of a picture in pixels: what WebP can hold, and more than any screen or camera has.
pub const MAX_SIDE: u32 = 16_384;

/// Layout of a raw picture's pixels. Rows are tightly packed (stride equals row bytes), the top row first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    /// 3 bytes a pixel: red, green, blue.
    Rgb,
    /// 3 bytes a pixel: blue, green, red.
    Bgr,
    /// 4 bytes a pixel: red, green, blue, alpha.
    Rgba,
    /// 4 bytes a pixel: blue, green, red, alpha.
    Bgra,
    /// 1 byte a pixel.
    Gray,
    /// Planes Y, U, V; the chroma planes have half the size, rounded up, both ways.
    I420,
    /// Plane Y, then a plane of interleaved U and V of half the size, rounded up, both ways.
    Nv12,
    /// 4 bytes for 2 pixels: Y0, U, Y1, V.
    Yuy2,
}

/// How an encoded picture is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// A JPEG file.
    Jpeg,
    /// A PNG file.
    Png,
    /// A WebP file.
    Webp,
    /// H.264 access unit, Annex B.
    H264,
    /// VP8 frame.
    Vp8,
    /// VP9 frame.
    Vp9,
    /// AV1 temporal unit.
    Av1,
}

/// Format of a [`super::VideoFrame`]: its `format` string on every wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Raw pixels.
    Pixels(PixelFormat),
    /// A coded picture.
    Encoded(Codec),
}

/// Every format: name on the wire, and the byte that stands for it in a packet (0 to 4 are fixed for ever; the rest
/// is only ever added to).
const TABLE: [(Format, &str, Option<u8>); 15] = [
    (Format::Pixels(PixelFormat::Rgb), "rgb", Some(0)),
    (Format::Pixels(PixelFormat::Bgr), "bgr", Some(1)),
    (Format::Encoded(Codec::H264), "h264", Some(2)),
    (Format::Encoded(Codec::Vp8), "vp8", Some(3)),
    (Format::Encoded(Codec::Jpeg), "jpeg", Some(4)),
    (Format::Encoded(Codec::Vp9), "vp9", Some(5)),
    (Format::Encoded(Codec::Av1), "av1", Some(6)),
    (Format::Encoded(Codec::Png), "png", Some(7)),
    (Format::Encoded(Codec::Webp), "webp", Some(8)),
    (Format::Pixels(PixelFormat::I420), "i420", Some(9)),
    (Format::Pixels(PixelFormat::Nv12), "nv12", Some(10)),
    (Format::Pixels(PixelFormat::Rgba), "rgba", Some(11)),
    (Format::Pixels(PixelFormat::Bgra), "bgra", Some(12)),
    (Format::Pixels(PixelFormat::Gray), "gray", Some(13)),
    (Format::Pixels(PixelFormat::Yuy2), "yuy2", Some(14)),
];

impl Format {
    /// One picture by itself, whose bytes tell its size?
    pub const fn is_still(self) -> bool {
        matches!(self, Self::Encoded(Codec::Jpeg | Codec::Png | Codec::Webp))
    }

    /// Reads a wire name.
    ///
    /// # Errors
    ///
    /// [`FrameError::UnknownFormat`] with the name in it.
    pub fn parse(name: &str) -> Result<Self, FrameError> {
        TABLE
            .iter()
            .find(|row| row.1 == name)
            .map(|row| row.0)
            .ok_or_else(|| FrameError::UnknownFormat { name: name.chars().take(32).collect() })
    }

    /// Reads a packet's format byte.
    ///
    /// # Errors
    ///
    /// [`FrameError::UnknownFormatByte`] with the byte in it: an unknown one is never guessed.
    pub fn from_packet_byte(byte: u8) -> Result<Self, FrameError> {
        TABLE.iter().find(|row| row.2 == Some(byte)).map(|row| row.0).ok_or(FrameError::UnknownFormatByte { byte })
    }

    /// The byte that stands for this format in a packet, if it has one.
    pub fn packet_byte(self) -> Option<u8> {
        TABLE.iter().find(|row| row.0 == self).and_then(|row| row.2)
    }

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        TABLE.iter().find(|row| row.0 == self).map_or("", |row| row.1)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl PixelFormat {
    /// Bytes of one tightly packed picture, all planes together: `I420` at 640 x 480 is 460 800.
    ///
    /// `width`, `height`: pixels, each in `1..=MAX_SIDE`.
    ///
    /// # Errors
    ///
    /// [`FrameError::Size`] if a side is outside the range.
    ///
    /// Source: W3C WebCodecs, "Pixel Format"; Linux, "YUYV" for `Yuy2`.
    pub fn packed_len(self, width: u32, height: u32) -> Result<usize, FrameError> {
        check_size(width, height)?;
        let (width, height) = (u64::from(width), u64::from(height));
        let len = match self {
            Self::Rgb | Self::Bgr => width * height * 3,
            Self::Rgba | Self::Bgra => width * height * 4,
            Self::Gray => width * height,
            Self::I420 | Self::Nv12 => width * height + 2 * width.div_ceil(2) * height.div_ceil(2),
            Self::Yuy2 => width.div_ceil(2) * 4 * height,
        };
        // At most 2^30: it fits every usize that framehost is built for.
        usize::try_from(len).map_err(|_| FrameError::Size { width: u64::from(u32::MAX), height })
    }
}

/// Refuses sides outside `1..=MAX_SIDE`.
pub(super) fn check_size(width: u32, height: u32) -> Result<(), FrameError> {
    let sides = 1..=MAX_SIDE;
    if sides.contains(&width) && sides.contains(&height) {
        return Ok(());
    }
    Err(FrameError::Size { width: width.into(), height: height.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_bytes_round_trip() {
        for (format, name, byte) in TABLE {
            assert_eq!(Format::parse(name).unwrap(), format);
            assert_eq!(format.as_str(), name);
            assert_eq!(format.packet_byte(), byte);
            if let Some(byte) = byte {
                assert_eq!(Format::from_packet_byte(byte).unwrap(), format);
            }
        }
        assert_eq!(Format::from_packet_byte(15), Err(FrameError::UnknownFormatByte { byte: 15 }));
        assert!(Format::parse("RGB").is_err());
    }

    #[test]
    fn packed_len_counts_every_plane() {
        let check = |format: PixelFormat, width, height, expected| {
            assert_eq!(format.packed_len(width, height), Ok(expected), "{format:?} {width}x{height}");
        };
        check(PixelFormat::Rgb, 640, 480, 921_600);
        check(PixelFormat::Rgba, 3, 3, 36);
        check(PixelFormat::Gray, 3, 3, 9);
        check(PixelFormat::I420, 640, 480, 460_800);
        check(PixelFormat::I420, 3, 3, 17);
        check(PixelFormat::Nv12, 3, 3, 17);
        check(PixelFormat::Yuy2, 3, 3, 24);
        check(PixelFormat::Rgba, MAX_SIDE, MAX_SIDE, 1 << 30);
    }

    #[test]
    fn packed_len_refuses_sides_outside_the_range() {
        for (width, height) in [(0, 1), (1, 0), (MAX_SIDE + 1, 1), (1, MAX_SIDE + 1), (1 << 31, 1 << 31)] {
            assert!(matches!(PixelFormat::Rgb.packed_len(width, height), Err(FrameError::Size { .. })));
        }
    }
}
