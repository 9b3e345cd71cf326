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
