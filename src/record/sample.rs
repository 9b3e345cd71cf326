//! What a stream's picture becomes in the file.

use bytes::Bytes;

use super::{RecordError, av1, h264, track::Track};
use crate::frame::{
    Codec, Colour, Format, Matrix, PixelFormat, Pool, Range, VideoFrame,
    convert::{self, RawView},
    key_frame::is_key_frame,
    still,
};

/// What has to be the same for pictures that are in one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) format: Format,
    pub(super) width: u32,
    pub(super) height: u32,
    matrix: Option<Matrix>,
    range: Option<Range>,
}

impl Shape {
    pub(super) fn of(frame: &VideoFrame) -> Self {
        let said = |key: &str| frame.metadata().get(key).map(String::as_str);
        Self {
            format: frame.format(),
            width: frame.width(),
            height: frame.height(),
            matrix: said(crate::frame::MATRIX_KEY).and_then(Matrix::parse),
            range: said(crate::frame::RANGE_KEY).and_then(Range::parse),
        }
    }
}

/// Raw pictures, as ffmpeg is told of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pixels {
    pub(super) fourcc: [u8; 4],
    /// What the encoder is given.
    pub(super) pix_fmt: &'static str,
    /// What luma and chroma mean, where there are such.
    pub(super) colour: Option<Colour>,
}

/// A picture as it goes into the file.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) data: Bytes,
    pub(super) is_key_frame: bool,
    /// None of packets, which are kept as they are.
    pub(super) pixels: Option<Pixels>,
}

impl Sample {
    /// Of a raw picture, or of a still one that no container takes; `None` if that is broken.
    pub(super) fn of_pixels(frame: &VideoFrame, is_lossy: bool, pool: &Pool) -> Result<Option<Self>, RecordError> {
        let decoded = match frame.format() {
            Format::Pixels(_) => None,
            // With what is transparent in them.
            Format::Encoded(_) => match still::decode(frame, PixelFormat::Rgba, pool) {
                Ok(decoded) => Some(decoded),
                Err(error) => {
                    tracing::warn!(%error, ?frame, "a picture is not recorded");
                    return Ok(None);
                }
            },
        };
        let frame = decoded.as_ref().unwrap_or(frame);
        let Format::Pixels(from) = frame.format() else {
            return Ok(None);
        };
        let as_it_is = || frame.frame_data().clone();
        let colour = Colour::of(frame);
        let (data, fourcc, pix_fmt, colour) = match from {
            _ if is_lossy => (i420(frame, from, colour, pool)?, *b"I420", "yuv420p", Some(colour)),
            PixelFormat::Rgb => (as_it_is(), *b"RGB\x18", "rgb24", None),
            PixelFormat::Bgr => (as_it_is(), *b"BGR\x18", "rgb24", None),
            PixelFormat::Rgba => (as_it_is(), *b"RGBA", "bgra", None),
            PixelFormat::Bgra => (as_it_is(), *b"BGRA", "bgra", None),
            PixelFormat::Gray => (as_it_is(), *b"Y800", "gray", Some(Colour { range: Range::Full, ..colour })),
            PixelFormat::I420 | PixelFormat::Nv12 => {
                (i420(frame, from, colour, pool)?, *b"I420", "yuv420p", Some(colour))
            }
            PixelFormat::Yuy2 => (planes_of_yuy2(frame), *b"Y42B", "yuv422p", Some(colour)),
        };
        Ok(Some(Self { data, is_key_frame: true, pixels: Some(Pixels { fourcc, pix_fmt, colour }) }))
    }

    /// Of a packet, or of a JPEG picture.
    pub(super) fn of_packet(frame: &VideoFrame, codec: Codec) -> Self {
        let packet = frame.frame_data();
        let data = match codec {
            Codec::H264 => h264::sample(packet).into(),
            Codec::Av1 => av1::sample(packet).into(),
            Codec::Jpeg | Codec::Vp8 | Codec::Vp9 | Codec::Png | Codec::Webp => packet.clone(),
        };
        Self { data, is_key_frame: is_key_frame(codec, packet), pixels: None }
    }
}

/// The header for a file that begins with this picture; `None` if none can begin with it.
pub(super) fn track(frame: &VideoFrame, sample: &Sample) -> Option<Track> {
    let packet = frame.frame_data();
    let plain = |codec_id| Track::plain(codec_id, frame.width(), frame.height());
    if let Some(Pixels { fourcc, colour, .. }) = sample.pixels {
        let (matrix, range) = (colour.map(|colour| colour.matrix), colour.map(|colour| colour.range));
        return Some(Track { fourcc: Some(fourcc), matrix, range, ..plain("V_UNCOMPRESSED") });
    }
    if !sample.is_key_frame {
        return None;
    }
    let track = match frame.format() {
        Format::Encoded(Codec::Jpeg) => return Some(plain("V_MJPEG")),
        Format::Encoded(Codec::Vp8) => plain("V_VP8"),
        Format::Encoded(Codec::Vp9) => plain("V_VP9"),
        Format::Encoded(Codec::H264) => {
            Track { private: Some(h264::configuration(packet)?), ..plain("V_MPEG4/ISO/AVC") }
        }
        Format::Encoded(Codec::Av1) => Track { private: Some(av1::configuration(packet)?), ..plain("V_AV1") },
        Format::Encoded(Codec::Png | Codec::Webp) | Format::Pixels(_) => return None,
    };
    // Packets say it themselves, mostly; whoever published them may know better.
    let Shape { matrix, range, .. } = Shape::of(frame);
    Some(Track { matrix, range, ..track })
}

fn i420(frame: &VideoFrame, from: PixelFormat, colour: Colour, pool: &Pool) -> Result<Bytes, RecordError> {
    let view = RawView::new(from, frame.width(), frame.height(), 0, frame.frame_data())?;
    Ok(convert::convert(&view, colour, PixelFormat::I420, pool)?)
}

/// The same samples, plane by plane: encoders take no others.
fn planes_of_yuy2(frame: &VideoFrame) -> Bytes {
    let [width, height] = [frame.width(), frame.height()].map(|side| usize::try_from(side).unwrap_or(0));
    let row_bytes = width.div_ceil(2) * 4;
    let mut planes = Vec::with_capacity(width * height + 2 * width.div_ceil(2) * height);
    let rows = || frame.frame_data().chunks_exact(row_bytes);
    for row in rows() {
        planes.extend(row.iter().step_by(2).take(width));
    }
    for first in [1, 3] {
        for row in rows() {
            planes.extend(row.iter().skip(first).step_by(4));
        }
    }
    planes.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(format: PixelFormat, width: u32, height: u32) -> VideoFrame {
        let len = format.packed_len(width, height).unwrap();
        let data: Vec<u8> = (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect();
        VideoFrame::try_new(Format::Pixels(format), Some((width, height)), 1, data.into()).unwrap()
    }

    fn sample(frame: &VideoFrame, is_lossy: bool) -> Sample {
        Sample::of_pixels(frame, is_lossy, &Pool::default()).unwrap().unwrap()
    }

    #[test]
    fn planes_hold_the_samples_of_yuy2() {
        let planes = sample(&frame(PixelFormat::Yuy2, 3, 2), false);
        assert_eq!(planes.data, [0, 2, 4, 8, 10, 12, 1, 5, 9, 13, 3, 7, 11, 15][..]);
        assert_eq!(planes.pixels.unwrap().pix_fmt, "yuv422p");
    }

    #[test]
    fn raw_pictures_are_kept_as_they_are_unless_little_is_to_be_stored() {
        for (format, len) in [
            (PixelFormat::Rgb, 12),
            (PixelFormat::Bgr, 12),
            (PixelFormat::Rgba, 16),
            (PixelFormat::Bgra, 16),
            (PixelFormat::Gray, 4),
            (PixelFormat::I420, 6),
            (PixelFormat::Nv12, 6),
            (PixelFormat::Yuy2, 8),
        ] {
            let frame = frame(format, 2, 2);
            let exact = sample(&frame, false);
            assert_eq!(exact.data.len(), len);
            assert_eq!(exact.pixels.unwrap().colour.is_some(), format.is_yuv() || format == PixelFormat::Gray);
            let lossy = sample(&frame, true);
            assert_eq!((lossy.data.len(), lossy.pixels.unwrap().pix_fmt), (6, "yuv420p"), "{format:?}");
        }
    }

    #[test]
    fn a_file_begins_with_a_key_frame_that_brings_what_its_header_says() {
        let packet = |codec, data: &'static [u8]| {
            VideoFrame::try_new(Format::Encoded(codec), Some((64, 48)), 1, Bytes::from_static(data)).unwrap()
        };
        let track_of = |codec, data| {
            let frame = packet(codec, data);
            track(&frame, &Sample::of_packet(&frame, codec))
        };
        assert_eq!(track_of(Codec::Vp8, &[0x10, 2, 0, 0x9D, 1, 0x2A]), Some(Track::plain("V_VP8", 64, 48)));
        assert_eq!(track_of(Codec::Vp8, &[0x11]), None);
        assert_eq!(track_of(Codec::H264, &[0, 0, 1, 0x65, 1]), None, "a key frame without parameter sets");
    }
}
