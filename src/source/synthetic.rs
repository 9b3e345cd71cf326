//! A moving test pattern with the frame number in its pixels.
//!
//! Picture `n`, at pixel (x, y): red `x + n`, green `y + 2n`, blue `x + y`, each modulo 256; alpha 255. Over its top
//! edge lie 32 squares with sides of `width / 32` pixels: the bits of `n`, lowest first, white for 1, black for 0.

use bytes::Bytes;

use super::{
    Capture, Granted, Number, Picture, SourceError, Step, Stop,
    clock::{Clock, Pace},
};
use crate::{
    error::ErrorKind,
    frame::{Format, FrameError, MAX_FRAME_BYTES, MAX_FRAME_NUMBER, Metadata, PixelFormat, VideoFrame},
};

/// Squares that carry the frame number.
const BITS: u32 = 32;

/// Lowest rate, in pictures a second: one in 100 s.
pub const MIN_FPS: f64 = 0.01;

/// Highest rate, in pictures a second.
pub const MAX_FPS: f64 = 240.0;

/// What to draw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SyntheticOptions {
    /// Pixels, `32..=MAX_SIDE`; 640 unless set.
    pub width: u32,
    /// Pixels, `1..=MAX_SIDE` and at least `width / 32`; 480 unless set.
    pub height: u32,
    /// Pictures a second, `MIN_FPS..=MAX_FPS`; 30 unless set.
    pub fps: f64,
    /// `Rgb`, `Bgr` or `Rgba`; `Rgb` unless set.
    pub format: PixelFormat,
    /// Pictures to send, 0 for no end; 0 unless set.
    pub frames: u32,
}

impl Default for SyntheticOptions {
    fn default() -> Self {
        Self { width: 640, height: 480, fps: 30.0, format: PixelFormat::Rgb, frames: 0 }
    }
}

/// Why the pattern cannot be made.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each field is named in its variant's message")]
pub enum SyntheticError {
    /// The number does not fit on the picture.
    #[error("size {width} x {height} has no room for the frame number: at least 32 wide, and width / 32 high")]
    TooSmall { width: u32, height: u32 },

    /// A rate that no clock keeps.
    #[error("fps {fps} is outside {MIN_FPS} to {MAX_FPS}")]
    Fps { fps: f64 },

    /// A format that the pattern is not drawn in.
    #[error("the synthetic source draws rgb, bgr and rgba, not {}", Format::Pixels(*format))]
    Format { format: PixelFormat },

    /// The size is none for a picture.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl SyntheticError {
    /// Class reported to peers.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::TooSmall { .. } | Self::Fps { .. } | Self::Format { .. } => ErrorKind::InvalidArgument,
            Self::Frame(error) => error.kind(),
        }
    }

    /// The parameter to blame.
    pub const fn field(&self) -> Option<&'static str> {
        match self {
            Self::TooSmall { .. } => Some("width"),
            Self::Fps { .. } => Some("fps"),
            Self::Format { .. } => Some("format"),
            Self::Frame(error) => Some(error.field()),
        }
    }
}

/// The pattern as a source.
#[derive(Debug)]
pub struct Synthetic {
    options: SyntheticOptions,
    granted: Granted,
    clock: Clock,
    pace: Pace,
    sent: u32,
}

impl Synthetic {
    /// Begins now.
    ///
    /// # Errors
    ///
    /// [`SyntheticError`].
    pub fn new(options: SyntheticOptions) -> Result<Self, SyntheticError> {
        options.check()?;
        let granted = Granted {
            device: "synthetic".to_owned(),
            backend: "synthetic",
            width: options.width,
            height: options.height,
            fps: options.fps,
            format: Format::Pixels(options.format),
            metadata: Metadata::new(),
        };
        Ok(Self { options, granted, clock: Clock::start(), pace: Pace::start(options.fps), sent: 0 })
    }
}

impl Capture for Synthetic {
    fn granted(&self) -> &Granted {
        &self.granted
    }

    fn next(&mut self, stop: &Stop) -> Result<Step, SourceError> {
        if self.options.frames != 0 && self.sent == self.options.frames {
            return Ok(Step::End);
        }
        let Some(captured_at) = self.pace.wait(stop) else {
            return Ok(Step::Idle);
        };
        // The moment for which the picture is meant: two that are drawn in one millisecond still differ.
        let frame = draw(self.options, self.sent & MAX_FRAME_NUMBER, self.clock.wall_ms(captured_at))?;
        self.sent = self.sent.wrapping_add(1);
        let mut metadata = Metadata::new();
        self.clock.stamp(captured_at, "host", &mut metadata);
        let frame = frame.with_metadata(metadata);
        Ok(Step::Picture(Picture { frame, number: Number::Next, captured_at }))
    }
}

impl SyntheticOptions {
    /// Refuses what cannot be drawn.
    ///
    /// # Errors
    ///
    /// [`SyntheticError`].
    pub fn check(&self) -> Result<(), SyntheticError> {
        let Self { width, height, fps, format, frames: _ } = *self;
        let len = format.packed_len(width, height)?;
        if len > MAX_FRAME_BYTES {
            return Err(FrameError::TooLong { len }.into());
        }
        if width < BITS || height < width / BITS {
            return Err(SyntheticError::TooSmall { width, height });
        }
        if !(MIN_FPS..=MAX_FPS).contains(&fps) {
            return Err(SyntheticError::Fps { fps });
        }
        match format {
            PixelFormat::Rgb | PixelFormat::Bgr | PixelFormat::Rgba => Ok(()),
            PixelFormat::Bgra | PixelFormat::Gray | PixelFormat::I420 | PixelFormat::Nv12 | PixelFormat::Yuy2 => {
                Err(SyntheticError::Format { format })
            }
        }
    }
}

/// Draws picture `number`, for the moment `timestamp_ms`.
///
/// # Errors
///
/// [`FrameError`] if `options` were not checked.
pub fn draw(options: SyntheticOptions, number: u32, timestamp_ms: u64) -> Result<VideoFrame, FrameError> {
    let SyntheticOptions { width, height, format, .. } = options;
    let mut pixels = Vec::with_capacity(format.packed_len(width, height)?);
    let square = (width / BITS).max(1);
    let low_byte = |value: u32| value.to_le_bytes()[0];
    for y in 0..height {
        for x in 0..width {
            let bit = x / square;
            let (red, green, blue) = if y < square && bit < BITS {
                let shade = if number >> bit & 1 == 1 { 255 } else { 0 };
                (shade, shade, shade)
            } else {
                (
                    low_byte(x.wrapping_add(number)),
                    low_byte(y.wrapping_add(number.wrapping_mul(2))),
                    low_byte(x.wrapping_add(y)),
                )
            };
            match format {
                PixelFormat::Bgr => pixels.extend_from_slice(&[blue, green, red]),
                PixelFormat::Rgba => pixels.extend_from_slice(&[red, green, blue, 255]),
                _ => pixels.extend_from_slice(&[red, green, blue]),
            }
        }
    }
    VideoFrame::try_new(Format::Pixels(format), Some((width, height)), timestamp_ms, Bytes::from(pixels))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number_in(frame: &VideoFrame) -> u32 {
        let square = frame.width() / BITS;
        (0..BITS).fold(0, |number, bit| {
            let at = usize::try_from(bit * square * 3).unwrap();
            number | u32::from(frame.frame_data()[at] == 255) << bit
        })
    }

    #[test]
    fn a_picture_carries_its_number_and_the_pattern() {
        for number in [0, 1, 0x1234_5678, MAX_FRAME_NUMBER] {
            let frame = draw(SyntheticOptions { width: 64, height: 48, ..Default::default() }, number, 1).unwrap();
            assert_eq!(number_in(&frame), number);
            let at = (10 * 64 + 20) * 3;
            let expected = [number.wrapping_add(20), number.wrapping_mul(2).wrapping_add(10), 30]
                .map(|value| value.to_le_bytes()[0]);
            assert_eq!(frame.frame_data()[at..at + 3], expected);
        }
    }

    #[test]
    fn options_out_of_range_are_refused_before_the_thread_starts() {
        let check = |options: SyntheticOptions, field| {
            let error = options.check().unwrap_err();
            assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidArgument, Some(field)));
        };
        let good = SyntheticOptions::default();
        good.check().unwrap();
        check(SyntheticOptions { width: 31, ..good }, "width");
        check(SyntheticOptions { width: 640, height: 19, ..good }, "width");
        check(SyntheticOptions { height: 0, ..good }, "width");
        check(SyntheticOptions { width: 16_384, height: 1025, ..good }, "data");
        check(SyntheticOptions { fps: 0.0, ..good }, "fps");
        check(SyntheticOptions { fps: 1e-300, ..good }, "fps");
        check(SyntheticOptions { fps: f64::NAN, ..good }, "fps");
        check(SyntheticOptions { fps: 240.1, ..good }, "fps");
        check(SyntheticOptions { format: PixelFormat::I420, ..good }, "format");
    }

    #[test]
    fn pictures_come_in_order_and_then_the_end() {
        let options = SyntheticOptions { width: 32, height: 8, fps: 200.0, frames: 3, ..Default::default() };
        let mut source = Synthetic::new(options).unwrap();
        let stop = Stop::default();
        let mut numbers = Vec::new();
        loop {
            match source.next(&stop).unwrap() {
                Step::Picture(picture) => numbers.push(number_in(&picture.frame)),
                Step::Idle => {}
                Step::End => break,
            }
        }
        assert_eq!(numbers, [0, 1, 2]);
    }
}
