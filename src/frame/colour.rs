//! What a picture's luma and chroma mean: conversion matrix and range, said in its metadata.

use super::{Codec, Format, Metadata, PixelFormat, VideoFrame};

/// Metadata key of the matrix: `bt601`, `bt709` or `bt2020`.
pub const MATRIX_KEY: &str = "color_matrix";

/// Metadata key of the range: `full` or `limited`.
pub const RANGE_KEY: &str = "color_range";

/// Most lines of a video that is BT.601 unless it says otherwise; taller ones are BT.709.
const MAX_BT601_LINES: u32 = 576;

/// Weights of red, green and blue in luma.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Matrix {
    /// ITU-R BT.601: JPEG, and video of standard definition.
    Bt601,
    /// ITU-R BT.709: video of high definition.
    Bt709,
    /// ITU-R BT.2020, non-constant luminance: video of ultra-high definition.
    Bt2020,
}

/// Which values are black and white.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Range {
    /// 0 to 255.
    Full,
    /// Luma 16 to 235, chroma 16 to 240.
    Limited,
}

/// How luma and chroma become red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Colour {
    /// Weights.
    pub matrix: Matrix,
    /// Black and white.
    pub range: Range,
}

impl Colour {
    /// JPEG's: BT.601, full range. Source: JFIF 1.02.
    pub const JPEG: Self = Self { matrix: Matrix::Bt601, range: Range::Full };

    /// That of a video of `height` lines which does not say: BT.601 up to 576 lines, BT.709 above, limited range.
    pub const fn of_video(height: u32) -> Self {
        let matrix = if height <= MAX_BT601_LINES { Matrix::Bt601 } else { Matrix::Bt709 };
        Self { matrix, range: Range::Limited }
    }

    /// A picture's own, as its metadata say it; what they leave open is as in [`Self::JPEG`] or [`Self::of_video`].
    pub fn of(frame: &VideoFrame) -> Self {
        let unsaid = match frame.format() {
            Format::Encoded(Codec::Jpeg) => Self::JPEG,
            _ => Self::of_video(frame.height()),
        };
        unsaid.or_as_in(frame.metadata())
    }

    /// The same, as far as metadata do not say something else.
    #[must_use]
    pub fn or_as_in(self, metadata: &Metadata) -> Self {
        let said = |key: &str| metadata.get(key).map(String::as_str);
        self.or_as_said(said(MATRIX_KEY).and_then(Matrix::parse), said(RANGE_KEY).and_then(Range::parse))
    }

    /// The same, as far as nothing else is said.
    #[must_use]
    pub fn or_as_said(self, matrix: Option<Matrix>, range: Option<Range>) -> Self {
        Self { matrix: matrix.unwrap_or(self.matrix), range: range.unwrap_or(self.range) }
    }

    /// Says it in a picture's metadata.
    pub fn write(self, metadata: &mut Metadata) {
        metadata.insert(MATRIX_KEY.to_owned(), self.matrix.as_str().to_owned());
        metadata.insert(RANGE_KEY.to_owned(), self.range.as_str().to_owned());
    }
}

impl Matrix {
    /// Reads the metadata's word.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Bt601, Self::Bt709, Self::Bt2020].into_iter().find(|matrix| matrix.as_str() == name)
    }

    /// The metadata's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bt601 => "bt601",
            Self::Bt709 => "bt709",
            Self::Bt2020 => "bt2020",
        }
    }
}

impl Range {
    /// Reads the metadata's word.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Full, Self::Limited].into_iter().find(|range| range.as_str() == name)
    }

    /// The metadata's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Limited => "limited",
        }
    }
}

impl PixelFormat {
    /// Is it made of luma and chroma?
    pub const fn is_yuv(self) -> bool {
        match self {
            Self::I420 | Self::Nv12 | Self::Yuy2 => true,
            Self::Rgb | Self::Bgr | Self::Rgba | Self::Bgra | Self::Gray => false,
        }
    }
}
