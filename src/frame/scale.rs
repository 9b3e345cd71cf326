//! Smaller pictures.

use std::fmt;

use fast_image_resize::{
    FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer,
    images::{TypedImage, TypedImageRef},
    pixels::{U8, U8x3, U8x4},
};

use super::{Format, FrameError, PixelFormat, Pool, VideoFrame};
use crate::error::ErrorKind;

/// Why a picture cannot be scaled.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each field is named in its variant's message")]
pub enum ScaleError {
    /// Its pixels do not lie side by side.
    #[error("pictures in {format} are not scaled: convert them first")]
    Format { format: Format },

    /// The scaler refused.
    #[error("cannot scale: {problem}")]
    Refused { problem: String },

    /// What came out is no picture.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl ScaleError {
    /// Class reported to peers.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Format { .. } => ErrorKind::InvalidArgument,
            Self::Refused { .. } => ErrorKind::Internal,
            Self::Frame(error) => error.kind(),
        }
    }
}

/// Scales pictures, keeping what it needs from one to the next.
#[derive(Default)]
pub struct Scaler {
    resizer: Resizer,
}

impl Scaler {
    /// The picture `max_width` pixels wide, in its own shape (a side is at least one pixel), averaged over the area that
    /// each pixel covers. One that is not wider is handed back as it is.
    ///
    /// `frame`: `rgb`, `bgr`, `rgba`, `bgra` or `gray`.
    ///
    /// # Errors
    ///
    /// [`ScaleError::Format`] for other formats.
    pub fn scale(&mut self, frame: &VideoFrame, max_width: u32, pool: &Pool) -> Result<VideoFrame, ScaleError> {
        if frame.width() <= max_width {
            return Ok(frame.clone());
        }
        let format = frame.format();
        let Format::Pixels(pixels) = format else { return Err(ScaleError::Format { format }) };
        let fill = match pixels {
            PixelFormat::Rgb | PixelFormat::Bgr => Self::fill::<U8x3>,
            PixelFormat::Rgba | PixelFormat::Bgra => Self::fill::<U8x4>,
            PixelFormat::Gray => Self::fill::<U8>,
            PixelFormat::I420 | PixelFormat::Nv12 | PixelFormat::Yuy2 => return Err(ScaleError::Format { format }),
        };
        let (width, height) = (max_width.max(1), scaled_height(frame, max_width));
        let mut made = pool.take(pixels.packed_len(width, height)?);
        fill(self, frame, (width, height), &mut made)?;
        let scaled = VideoFrame::try_new(format, Some((width, height)), frame.timestamp_ms(), made.freeze())?;
        Ok(scaled.with_place(frame.frame_number(), frame.timestamp_ms()).with_metadata(frame.metadata().clone()))
    }

    /// Scales a picture whose pixels are `P` into `made`. The scaler's own choice by a picture's format would put its
    /// functions for a dozen others into the program.
    fn fill<P: PixelTrait>(
        &mut self,
        frame: &VideoFrame,
        (width, height): (u32, u32),
        made: &mut [u8],
    ) -> Result<(), ScaleError> {
        let source =
            TypedImageRef::<P>::from_buffer(frame.width(), frame.height(), frame.frame_data()).map_err(refused)?;
        let mut target = TypedImage::<P>::from_buffer(width, height, made).map_err(refused)?;
        // Alpha is not weighed in: screens and cameras have none, and canvases are opaque.
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Box)).use_alpha(false);
        self.resizer.resize_typed(&source, &mut target, &options).map_err(refused)
    }
}

/// The height that keeps a picture's shape at a width, rounded.
fn scaled_height(frame: &VideoFrame, width: u32) -> u32 {
    let (from_width, from_height) = (u64::from(frame.width()), u64::from(frame.height()));
    let height = (from_height * u64::from(width) + from_width / 2) / from_width;
    u32::try_from(height.max(1)).unwrap_or(u32::MAX)
}

fn refused(error: impl fmt::Display) -> ScaleError {
    ScaleError::Refused { problem: error.to_string() }
}

impl fmt::Debug for Scaler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scaler")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(format: PixelFormat, width: u32, height: u32, value: u8) -> VideoFrame {
        let data = vec![value; format.packed_len(width, height).unwrap()];
        VideoFrame::try_new(Format::Pixels(format), Some((width, height)), 7, data.into()).unwrap().with_place(3, 7)
    }

    #[test]
    fn a_picture_keeps_its_shape_place_and_colour() {
        let check = |format, (width, height), max_width, expected| {
            let made = Scaler::default().scale(&flat(format, width, height, 77), max_width, &Pool::default()).unwrap();
            assert_eq!((made.width(), made.height()), expected, "{format:?}");
            assert_eq!((made.frame_number(), made.timestamp_ms()), (3, 7));
            assert!(made.frame_data().iter().all(|value| *value == 77));
        };
        for format in [PixelFormat::Rgb, PixelFormat::Bgr, PixelFormat::Rgba, PixelFormat::Bgra, PixelFormat::Gray] {
            check(format, (640, 480), 320, (320, 240));
            check(format, (641, 479), 100, (100, 75));
            check(format, (1000, 1), 3, (3, 1));
            check(format, (1, 1000), 1, (1, 1000));
            check(format, (64, 48), 64, (64, 48));
            check(format, (64, 48), 1000, (64, 48));
        }
    }

    #[test]
    fn each_pixel_is_the_mean_of_those_it_covers() {
        let data = vec![0, 100, 10, 30, 200, 100, 30, 50];
        let frame = VideoFrame::try_new(Format::Pixels(PixelFormat::Gray), Some((4, 2)), 0, data.into()).unwrap();
        let made = Scaler::default().scale(&frame, 2, &Pool::default()).unwrap();
        assert_eq!(&made.frame_data()[..], [100, 30]);
    }

    #[test]
    fn planes_are_refused() {
        let scaled = Scaler::default().scale(&flat(PixelFormat::I420, 4, 4, 1), 2, &Pool::default());
        assert!(matches!(scaled, Err(ScaleError::Format { .. })));
    }
}
