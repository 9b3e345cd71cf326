//! Pictures that are coded by themselves: JPEG, PNG and WebP, to pixels and back.
//!
//! JPEG is encoded by `jpeg-encoder`: it is maintained, has no C in it (turbojpeg and mozjpeg need a C toolchain, and
//! Debian's TurboJPEG is too old for its crate), and has its transforms in SIMD, which `image`'s encoder has not.

use std::io::Cursor;

use bytes::Bytes;
use image::{
    ImageDecoder, ImageEncoder, ImageError, Limits,
    codecs::{png, webp},
};
use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
use zune_jpeg::JpegDecoder;

use super::{
    Codec, Colour, Format, FrameError, MAX_FRAME_BYTES, PixelFormat, Pool, VideoFrame,
    convert::{self, RawView},
};
use crate::error::ErrorKind;

/// Most bytes that decoding a picture may take beside the picture itself.
const MAX_WORKING_BYTES: u64 = 256 << 20;

/// Most scans of a progressive JPEG: encoders make about ten, and each costs as much as a whole picture.
const MAX_JPEG_SCANS: usize = 64;

/// Why a picture cannot be decoded or encoded.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each field is named in its variant's message")]
pub enum StillError {
    /// It breaks off, or its code is wrong.
    #[error("the {codec} picture is broken: {problem}")]
    Broken { codec: &'static str, problem: String },

    /// Decoded, it would be more than a picture may be.
    #[error("the {codec} picture of {width} x {height} takes {len} bytes decoded, more than {MAX_FRAME_BYTES}")]
    TooLong { codec: &'static str, width: u32, height: u32, len: usize },

    /// It cannot be encoded so.
    #[error("cannot make a {codec} picture: {problem}")]
    Encode { codec: &'static str, problem: String },

    /// What came out is no picture.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl StillError {
    /// Class reported to peers.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Broken { .. } => ErrorKind::DataLoss,
            Self::TooLong { .. } => ErrorKind::ResourceExhausted,
            Self::Encode { .. } => ErrorKind::InvalidArgument,
            Self::Frame(error) => error.kind(),
        }
    }
}

/// A coded picture's pixels, with its time, number and metadata.
///
/// `frame`: `jpeg`, `png` or `webp`.
///
/// # Errors
///
/// [`StillError::Broken`], [`StillError::TooLong`] before memory is taken, [`StillError::Encode`] for other formats.
pub fn decode(frame: &VideoFrame, to: PixelFormat, pool: &Pool) -> Result<VideoFrame, StillError> {
    let codec = frame.format().as_str();
    let (width, height) = (frame.width(), frame.height());
    let len = PixelFormat::Rgba.packed_len(width, height)?.max(to.packed_len(width, height)?);
    // What is decoded passes through four bytes a pixel at most; what comes out has to be a picture again.
    let out_len = to.packed_len(width, height)?;
    if out_len > MAX_FRAME_BYTES || len / 4 * 3 > MAX_FRAME_BYTES {
        return Err(StillError::TooLong { codec, width, height, len: out_len });
    }
    let (made, colour) = match frame.format() {
        Format::Encoded(Codec::Jpeg) => (decode_jpeg(frame.frame_data(), (width, height), to, pool)?, Colour::JPEG),
        Format::Encoded(Codec::Png) => {
            let decoder = png::PngDecoder::with_limits(Cursor::new(frame.frame_data()), limits(width, height))
                .map_err(|error| broken(codec, &error))?;
            (decode_image(decoder, codec, (width, height), to, pool)?, Colour::of_video(height))
        }
        Format::Encoded(Codec::Webp) => {
            let mut decoder =
                webp::WebPDecoder::new(Cursor::new(frame.frame_data())).map_err(|error| broken(codec, &error))?;
            decoder.set_limits(limits(width, height)).map_err(|error| broken(codec, &error))?;
            (decode_image(decoder, codec, (width, height), to, pool)?, Colour::of_video(height))
        }
        Format::Encoded(_) | Format::Pixels(_) => {
            return Err(StillError::Encode { codec, problem: "it is no still picture".to_owned() });
        }
    };
    let mut metadata = frame.metadata().clone();
    if to.is_yuv() || frame.format() == Format::Encoded(Codec::Jpeg) {
        colour.write(&mut metadata);
    }
    let decoded = VideoFrame::try_new(Format::Pixels(to), Some((width, height)), frame.timestamp_ms(), made)?;
    Ok(decoded.with_place(frame.frame_number(), frame.timestamp_ms()).with_metadata(metadata))
}

fn limits(width: u32, height: u32) -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(width);
    limits.max_image_height = Some(height);
    limits.max_alloc = Some(MAX_WORKING_BYTES);
    limits
}

fn broken(codec: &'static str, error: &impl ToString) -> StillError {
    StillError::Broken { codec, problem: error.to_string() }
}

fn decode_jpeg(data: &[u8], size: (u32, u32), to: PixelFormat, pool: &Pool) -> Result<Bytes, StillError> {
    let (width, height) = size;
    // The decoder's own order where it has it: a conversion less.
    let (direct, space) = match to {
        PixelFormat::Bgr => (PixelFormat::Bgr, ColorSpace::BGR),
        PixelFormat::Rgba => (PixelFormat::Rgba, ColorSpace::RGBA),
        PixelFormat::Bgra => (PixelFormat::Bgra, ColorSpace::BGRA),
        PixelFormat::Gray => (PixelFormat::Gray, ColorSpace::Luma),
        PixelFormat::Rgb | PixelFormat::I420 | PixelFormat::Nv12 | PixelFormat::Yuy2 => {
            (PixelFormat::Rgb, ColorSpace::RGB)
        }
    };
    let options = DecoderOptions::default()
        .set_max_width(usize::try_from(width).unwrap_or(0))
        .set_max_height(usize::try_from(height).unwrap_or(0))
        .jpeg_set_max_scans(MAX_JPEG_SCANS)
        .set_strict_mode(true)
        .jpeg_set_out_colorspace(space);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(data), options);
    decoder.decode_headers().map_err(|error| broken("jpeg", &error))?;
    let mut made = pool.take(direct.packed_len(width, height)?);
    if decoder.output_buffer_size() != Some(made.len()) {
        return Err(StillError::Broken { codec: "jpeg", problem: "its headers contradict each other".to_owned() });
    }
    decoder.decode_into(&mut made).map_err(|error| broken("jpeg", &error))?;
    if direct == to {
        return Ok(made.freeze());
    }
    let view = RawView::new(direct, width, height, 0, &made)?;
    Ok(convert::convert(&view, Colour::JPEG, to, pool)?)
}

fn decode_image(
    decoder: impl ImageDecoder,
    codec: &'static str,
    size: (u32, u32),
    to: PixelFormat,
    pool: &Pool,
) -> Result<Bytes, StillError> {
    let (width, height) = size;
    if decoder.dimensions() != size {
        return Err(StillError::Broken { codec, problem: "its headers contradict each other".to_owned() });
    }
    let from = match decoder.color_type() {
        image::ColorType::Rgb8 => PixelFormat::Rgb,
        image::ColorType::Rgba8 => PixelFormat::Rgba,
        image::ColorType::L8 => PixelFormat::Gray,
        // Gray with alpha, or 16 bits: seldom, so by way of the library's own conversion.
        _ => return decode_deep(decoder, codec, size, to, pool),
    };
    let mut made = pool.take(from.packed_len(width, height)?);
    decoder.read_image(&mut made).map_err(|error| broken(codec, &error))?;
    if from == to {
        return Ok(made.freeze());
    }
    let view = RawView::new(from, width, height, 0, &made)?;
    Ok(convert::convert(&view, Colour::of_video(height), to, pool)?)
}

fn decode_deep(
    decoder: impl ImageDecoder,
    codec: &'static str,
    (width, height): (u32, u32),
    to: PixelFormat,
    pool: &Pool,
) -> Result<Bytes, StillError> {
    let picture = image::DynamicImage::from_decoder(decoder).map_err(|error| broken(codec, &error))?.into_rgba8();
    let view = RawView::new(PixelFormat::Rgba, width, height, 0, picture.as_raw())?;
    Ok(convert::convert(&view, Colour::of_video(height), to, pool)?)
}

/// A raw picture, coded, with its time, number and metadata.
///
/// `codec`: `Jpeg`, `Png` or `Webp` (lossless). `jpeg_quality`: 1 to 100.
///
/// # Errors
///
/// [`StillError::Encode`] for other codecs, and for what the codec cannot hold.
pub fn encode(frame: &VideoFrame, codec: Codec, jpeg_quality: u8) -> Result<VideoFrame, StillError> {
    let Format::Pixels(pixels) = frame.format() else {
        let problem = format!("{} is coded already", frame.format());
        return Err(StillError::Encode { codec: Format::Encoded(codec).as_str(), problem });
    };
    let data = match codec {
        Codec::Jpeg => encode_jpeg(frame, pixels, jpeg_quality)?,
        Codec::Png => with_plain_pixels(frame, pixels, |data, colour| {
            let mut coded = Vec::new();
            png::PngEncoder::new_with_quality(&mut coded, png::CompressionType::Fast, png::FilterType::Up)
                .write_image(data, frame.width(), frame.height(), colour)
                .map(|()| coded)
                .map_err(|error: ImageError| encode_failed("png", &error))
        })?,
        Codec::Webp => with_plain_pixels(frame, pixels, |data, colour| {
            let mut coded = Vec::new();
            webp::WebPEncoder::new_lossless(&mut coded)
                .write_image(data, frame.width(), frame.height(), colour)
                .map(|()| coded)
                .map_err(|error: ImageError| encode_failed("webp", &error))
        })?,
        Codec::H264 | Codec::Vp8 | Codec::Vp9 | Codec::Av1 => {
            let problem = "video is not encoded here".to_owned();
            return Err(StillError::Encode { codec: Format::Encoded(codec).as_str(), problem });
        }
    };
    let size = Some((frame.width(), frame.height()));
    let coded = VideoFrame::try_new(Format::Encoded(codec), size, frame.timestamp_ms(), data.into())?;
    let mut metadata = frame.metadata().clone();
    if codec == Codec::Jpeg {
        Colour::JPEG.write(&mut metadata);
    }
    Ok(coded.with_place(frame.frame_number(), frame.timestamp_ms()).with_metadata(metadata))
}

fn encode_failed(codec: &'static str, error: &impl ToString) -> StillError {
    StillError::Encode { codec, problem: error.to_string() }
}

fn encode_jpeg(frame: &VideoFrame, pixels: PixelFormat, quality: u8) -> Result<Vec<u8>, StillError> {
    let sides = [frame.width(), frame.height()].map(u16::try_from);
    let [Ok(width), Ok(height)] = sides else {
        return Err(StillError::Encode { codec: "jpeg", problem: "a side is above 65535 pixels".to_owned() });
    };
    let mut coded = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut coded, quality.clamp(1, 100));
    // As cameras and browsers do.
    encoder.set_sampling_factor(jpeg_encoder::SamplingFactor::F_2_2);
    let result = match pixels {
        PixelFormat::Rgb => encoder.encode(frame.frame_data(), width, height, jpeg_encoder::ColorType::Rgb),
        PixelFormat::Bgr => encoder.encode(frame.frame_data(), width, height, jpeg_encoder::ColorType::Bgr),
        PixelFormat::Rgba => encoder.encode(frame.frame_data(), width, height, jpeg_encoder::ColorType::Rgba),
        PixelFormat::Bgra => encoder.encode(frame.frame_data(), width, height, jpeg_encoder::ColorType::Bgra),
        PixelFormat::Gray => encoder.encode(frame.frame_data(), width, height, jpeg_encoder::ColorType::Luma),
        PixelFormat::I420 | PixelFormat::Nv12 | PixelFormat::Yuy2 => {
            let rgb = to_rgb(frame, pixels)?;
            encoder.encode(&rgb, width, height, jpeg_encoder::ColorType::Rgb)
        }
    };
    result.map_err(|error| encode_failed("jpeg", &error))?;
    Ok(coded)
}

/// Calls `encode` with pixels that PNG and WebP know.
fn with_plain_pixels(
    frame: &VideoFrame,
    pixels: PixelFormat,
    encode: impl FnOnce(&[u8], image::ExtendedColorType) -> Result<Vec<u8>, StillError>,
) -> Result<Vec<u8>, StillError> {
    use image::ExtendedColorType::{L8, Rgb8, Rgba8};
    match pixels {
        PixelFormat::Rgb => encode(frame.frame_data(), Rgb8),
        PixelFormat::Rgba => encode(frame.frame_data(), Rgba8),
        PixelFormat::Gray => encode(frame.frame_data(), L8),
        PixelFormat::Bgra => {
            let view = RawView::new(pixels, frame.width(), frame.height(), 0, frame.frame_data())?;
            let rgba = convert::convert(&view, Colour::of(frame), PixelFormat::Rgba, &Pool::default())?;
            encode(&rgba, Rgba8)
        }
        PixelFormat::Bgr | PixelFormat::I420 | PixelFormat::Nv12 | PixelFormat::Yuy2 => {
            encode(&to_rgb(frame, pixels)?, Rgb8)
        }
    }
}

fn to_rgb(frame: &VideoFrame, pixels: PixelFormat) -> Result<Bytes, FrameError> {
    let view = RawView::new(pixels, frame.width(), frame.height(), 0, frame.frame_data())?;
    convert::convert(&view, Colour::of(frame), PixelFormat::Rgb, &Pool::default())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JPEG: &[u8] = include_bytes!("../../tests/golden/gradient-64x48.jpg");
    const PNG: &[u8] = include_bytes!("../../tests/golden/gradient-64x48.png");
    const WEBP: &[u8] = include_bytes!("../../tests/golden/gradient-64x48.webp");

    fn coded(codec: Codec, data: &[u8]) -> Result<VideoFrame, FrameError> {
        VideoFrame::try_new(Format::Encoded(codec), None, 5, Bytes::copy_from_slice(data))
    }

    fn rgb(codec: Codec, data: &[u8]) -> Result<VideoFrame, StillError> {
        decode(&coded(codec, data)?, PixelFormat::Rgb, &Pool::default())
    }

    /// A PNG that says so much of its size and holds next to nothing.
    fn png_of(width: u32, height: u32) -> Vec<u8> {
        let chunk = |kind: &[u8; 4], body: &[u8]| {
            let len = u32::try_from(body.len()).unwrap().to_be_bytes();
            let mut crc = !0_u32;
            for byte in kind.iter().chain(body) {
                crc ^= u32::from(*byte);
                for _ in 0..8 {
                    crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
                }
            }
            [&len[..], kind, body, &(!crc).to_be_bytes()].concat()
        };
        let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
        let empty = [0x78, 0x9C, 0x03, 0, 0, 0, 0, 1];
        [b"\x89PNG\r\n\x1a\n", &*chunk(b"IHDR", &header), &chunk(b"IDAT", &empty), &chunk(b"IEND", &[])].concat()
    }

    /// The picture with another size in its frame header (`SOF`).
    fn jpeg_of(width: u16, height: u16) -> Vec<u8> {
        let mut data = JPEG.to_vec();
        let at = data.windows(2).position(|pair| matches!(pair, [0xFF, 0xC0 | 0xC2])).unwrap();
        data[at + 5..at + 7].copy_from_slice(&height.to_be_bytes());
        data[at + 7..at + 9].copy_from_slice(&width.to_be_bytes());
        data
    }

    #[test]
    fn every_codec_is_decoded_into_every_layout() {
        for (codec, data) in [(Codec::Jpeg, JPEG), (Codec::Png, PNG), (Codec::Webp, WEBP)] {
            let whole = rgb(codec, data).unwrap();
            assert_eq!((whole.width(), whole.height(), whole.timestamp_ms()), (64, 48, 5));
            let pixels = whole.frame_data();
            for to in [PixelFormat::Bgr, PixelFormat::Rgba, PixelFormat::Bgra, PixelFormat::Gray, PixelFormat::I420] {
                let made = decode(&coded(codec, data).unwrap(), to, &Pool::default()).unwrap();
                assert_eq!(made.format(), Format::Pixels(to));
                assert_eq!(made.frame_data().len(), to.packed_len(64, 48).unwrap());
                if to == PixelFormat::Bgr {
                    let swapped: Vec<u8> = pixels.chunks(3).flat_map(|p| [p[2], p[1], p[0]]).collect();
                    assert_eq!(made.frame_data(), &swapped, "{codec:?}");
                }
            }
        }
    }

    #[test]
    fn png_and_webp_keep_every_pixel_and_jpeg_nearly() {
        let whole = rgb(Codec::Png, PNG).unwrap();
        for codec in [Codec::Png, Codec::Webp] {
            let again = encode(&whole, codec, 90).unwrap();
            assert_eq!(rgb(codec, again.frame_data()).unwrap().frame_data(), whole.frame_data());
        }
        let again = encode(&whole, Codec::Jpeg, 95).unwrap();
        let lossy = rgb(Codec::Jpeg, again.frame_data()).unwrap();
        let off = |(a, b): (&u8, &u8)| u32::from(a.abs_diff(*b));
        let total: u32 = lossy.frame_data().iter().zip(whole.frame_data()).map(off).sum();
        assert!(total / (64 * 48 * 3) < 4, "{total}");
        let error = encode(&whole, Codec::H264, 90).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }

    #[test]
    fn a_picture_that_would_be_too_large_is_refused_before_memory_is_taken() {
        for data in [png_of(16_384, 16_384), png_of(16_384, 1025)] {
            let frame = coded(Codec::Png, &data).unwrap();
            let error = decode(&frame, PixelFormat::Rgb, &Pool::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error}");
        }
        let frame = coded(Codec::Jpeg, &jpeg_of(16_384, 16_384)).unwrap();
        let error = decode(&frame, PixelFormat::Gray, &Pool::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceExhausted, "{error}");
        for data in [png_of(16_385, 1), png_of(u32::MAX, u32::MAX)] {
            assert!(coded(Codec::Png, &data).is_err(), "no size for a picture");
        }
    }

    #[test]
    fn a_size_without_the_pixels_for_it_is_broken() {
        let decoded = rgb(Codec::Png, &png_of(4000, 3000));
        assert!(matches!(decoded, Err(StillError::Broken { .. })), "{decoded:?}");
        // A JPEG that ends in good order before its last row is filled up, by this decoder as by libjpeg.
        let filled = rgb(Codec::Jpeg, &jpeg_of(400, 300)).unwrap();
        assert_eq!((filled.width(), filled.height()), (400, 300));
    }

    #[test]
    fn scans_without_end_are_refused() {
        // The scan of a baseline picture again and again, as a progressive one has them.
        let mut data = JPEG.to_vec();
        let frame = data.windows(2).position(|pair| matches!(pair, [0xFF, 0xC0 | 0xC2])).unwrap();
        data[frame + 1] = 0xC2;
        let scan = data.windows(2).position(|pair| pair == [0xFF, 0xDA]).unwrap();
        let (head, scan) = data.split_at(scan);
        let bomb = [head, &scan[..scan.len() - 2].repeat(1000), &[0xFF, 0xD9]].concat();
        assert!(matches!(rgb(Codec::Jpeg, &bomb), Err(StillError::Broken { .. })));
    }

    #[test]
    fn a_picture_that_breaks_off_is_broken_wherever_it_does() {
        for (codec, data) in [(Codec::Jpeg, JPEG), (Codec::Png, PNG), (Codec::Webp, WEBP)] {
            // What lies behind the pixels is not missed: two bytes of a JPEG, the last chunk of a PNG.
            for len in (0..data.len() - 16).step_by(7) {
                let decoded = rgb(codec, &data[..len]);
                assert!(decoded.is_err(), "{codec:?} cut at {len} of {}", data.len());
            }
        }
    }

    proptest! {
        #[test]
        fn junk_in_a_picture_never_panics(which in 0usize..3, at in 0usize..3000, junk: [u8; 4]) {
            let (codec, data) = [(Codec::Jpeg, JPEG), (Codec::Png, PNG), (Codec::Webp, WEBP)][which];
            let mut data = data.to_vec();
            let at = at % (data.len() - junk.len());
            data[at..at + junk.len()].copy_from_slice(&junk);
            let _ = rgb(codec, &data);
        }
    }
}
