//! What a subscriber accepts.

use crate::{
    error::ErrorKind,
    frame::{Format, MAX_SIDE, VideoFrame},
};

/// Formats that one subscriber may name: each once.
const MAX_ACCEPTED: usize = 16;

/// Highest rate that can be asked for, in pictures a second.
const MAX_FPS: f64 = 1000.0;

/// What a subscriber accepts. The default accepts whatever the stream carries, as it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Wish {
    accept: Vec<Format>,
    max_width: Option<u32>,
    /// Thousandths of a picture a second, as rates have to be compared.
    max_millihertz: Option<u32>,
    max_bytes: Option<usize>,
}

/// A wish that cannot be.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "each field is named in its variant's message")]
pub enum WishError {
    /// More formats than there are.
    #[error("{count} formats are more than {MAX_ACCEPTED}")]
    TooManyFormats { count: usize },

    /// No width for a picture.
    #[error("max_width {max_width} is outside 1 to {MAX_SIDE}")]
    MaxWidth { max_width: i64 },

    /// A rate that cannot be kept.
    #[error("max_fps {max_fps} is outside 0.001 to {MAX_FPS}")]
    MaxFps { max_fps: f64 },
}

impl WishError {
    /// Class reported to peers.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }

    /// The parameter to blame.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::TooManyFormats { .. } => "accept_formats",
            Self::MaxWidth { .. } => "max_width",
            Self::MaxFps { .. } => "max_fps",
        }
    }
}

impl Wish {
    /// A wish.
    ///
    /// `accept`: formats, the best first; empty for the stream's own. `max_width`: pixels; wider pictures are scaled,
    /// keeping their shape. `max_fps`: pictures a second; of more, the first of each interval is kept.
    ///
    /// # Errors
    ///
    /// [`WishError`].
    pub fn new(accept: Vec<Format>, max_width: Option<i64>, max_fps: Option<f64>) -> Result<Self, WishError> {
        if accept.len() > MAX_ACCEPTED {
            return Err(WishError::TooManyFormats { count: accept.len() });
        }
        let max_width = max_width
            .map(|wish| match u32::try_from(wish) {
                Ok(valid) if (1..=MAX_SIDE).contains(&valid) => Ok(valid),
                Ok(_) | Err(_) => Err(WishError::MaxWidth { max_width: wish }),
            })
            .transpose()?;
        let max_millihertz = max_fps
            .map(|max_fps| {
                if !(0.001..=MAX_FPS).contains(&max_fps) {
                    return Err(WishError::MaxFps { max_fps });
                }
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to 1,000,000")]
                let millihertz = (max_fps * 1000.0).round() as u32;
                Ok(millihertz)
            })
            .transpose()?;
        Ok(Self { accept, max_width, max_millihertz, max_bytes: None })
    }

    /// The same, with pictures scaled until each has at most so many bytes.
    #[must_use]
    pub fn with_max_bytes(self, max_bytes: usize) -> Self {
        Self { max_bytes: Some(max_bytes), ..self }
    }

    /// Formats, the best first; empty for the stream's own.
    pub fn accept(&self) -> &[Format] {
        &self.accept
    }

    /// Pixels.
    pub const fn max_width(&self) -> Option<u32> {
        self.max_width
    }

    /// Milliseconds from one picture to the next, at least.
    pub fn min_interval_ms(&self) -> Option<f64> {
        self.max_millihertz.map(|millihertz| 1_000_000.0 / f64::from(millihertz))
    }

    /// Bytes of one picture.
    pub const fn max_bytes(&self) -> Option<usize> {
        self.max_bytes
    }

    /// Is everything accepted as it is?
    pub fn is_anything(&self) -> bool {
        *self == Self::default()
    }

    /// May this picture be handed on as it is, whatever came before it?
    pub(crate) fn passes(&self, frame: &VideoFrame) -> bool {
        self.max_millihertz.is_none() && self.fits(frame)
    }

    /// Is this picture, apart from its time, one that is accepted?
    pub(crate) fn fits(&self, frame: &VideoFrame) -> bool {
        (self.accept.is_empty() || self.accept.contains(&frame.format()))
            && self.max_width.is_none_or(|max| frame.width() <= max)
            && self.max_bytes.is_none_or(|max| frame.frame_data().len() <= max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_checked_at_their_limits() {
        let width = |max_width| Wish::new(Vec::new(), Some(max_width), None).is_ok();
        assert_eq!([-1, 0, 1, 16_384, 16_385, 1 << 40].map(width), [false, false, true, true, false, false]);
        let fps = |max_fps| Wish::new(Vec::new(), None, Some(max_fps)).is_ok();
        assert_eq!([0.0, 0.0001, 0.001, 1000.0, 1000.1, f64::NAN].map(fps), [false, false, true, true, false, false]);
        let accept = |count| Wish::new(vec![Format::Pixels(crate::frame::PixelFormat::Rgb); count], None, None).is_ok();
        assert_eq!([0, 16, 17].map(accept), [true, true, false]);
    }

    #[test]
    fn equal_wishes_are_equal_whatever_way_they_were_said() {
        let wish = |fps| Wish::new(Vec::new(), Some(640), Some(fps)).unwrap();
        assert_eq!(wish(29.97), wish(29.970_000_1));
        assert!(Wish::new(Vec::new(), None, None).unwrap().is_anything());
    }
}
