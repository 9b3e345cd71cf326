//! Pixels from one layout to another, by the SIMD code of the `yuv` crate.
//!
//! Belongs here: which of its functions makes which layout of which, and the few steps that it has not.
//! Does not belong here: sizes (`scale`), coded pictures (`still`).
//!
//! Invariants:
//! - Matrix and range are the caller's word, never guessed here.
//! - Each colour of a pixel is within 2 levels of exact arithmetic (of `yuy2`: 4), with the nearest chroma sample.
//! - `gray` is luma in full range, whatever it was made of.

mod luma;
mod rgb;
mod view;
mod yuv_planes;

use bytes::Bytes;

pub use self::view::{RawLayout, RawView};
use super::{Colour, FrameError, Matrix, PixelFormat, Pool, Range};

/// Bytes of the same picture in the layout `to`, tightly packed.
///
/// `colour`: what luma and chroma mean, on whichever side they are.
///
/// # Errors
///
/// [`FrameError`] if the picture would be too long.
pub fn convert(view: &RawView<'_>, colour: Colour, to: PixelFormat, pool: &Pool) -> Result<Bytes, FrameError> {
    let mut made = pool.take(to.packed_len(view.width(), view.height())?);
    convert_into(view, colour, to, &mut made, pool)?;
    Ok(made.freeze())
}

/// As [`convert`], to where the caller wants it.
///
/// `made`: exactly the bytes of a packed picture. `pool`: memory for steps between.
///
/// # Errors
///
/// [`FrameError::Length`] if `made` has another length.
pub fn convert_into(
    view: &RawView<'_>,
    colour: Colour,
    to: PixelFormat,
    made: &mut [u8],
    pool: &Pool,
) -> Result<(), FrameError> {
    let (width, height) = (view.width(), view.height());
    let expected = to.packed_len(width, height)?;
    if made.len() != expected {
        let format = super::Format::Pixels(to);
        return Err(FrameError::Length { format, width, height, expected, got: made.len() });
    }
    if view.layout() == RawLayout::Pixels(to) {
        view.copy_packed(made);
        return Ok(());
    }
    if view.ends_short() {
        // The `yuv` crate leaves a row out that lacks the bytes to the next one's beginning.
        let mut packed = pool.take(view.packed_len());
        view.copy_packed(&mut packed);
        return convert_into(&view.of_packed(&packed)?, colour, to, made, pool);
    }
    match to {
        PixelFormat::Rgb | PixelFormat::Bgr | PixelFormat::Rgba | PixelFormat::Bgra => {
            rgb::make(view, colour, to, made);
        }
        PixelFormat::Gray => luma::make(view, colour, made),
        PixelFormat::I420 | PixelFormat::Nv12 | PixelFormat::Yuy2 => yuv_planes::make(view, colour, to, made, pool)?,
    }
    Ok(())
}

/// The `yuv` crate refuses sizes that do not fit its buffers. Views and destinations have been checked by the same
/// rules, so that a refusal is a mistake of ours, and one that tests find.
fn checked(result: Result<(), yuv::YuvError>) {
    debug_assert!(result.is_ok(), "a checked picture did not fit: {result:?}");
}

const fn matrix(colour: Colour) -> yuv::YuvStandardMatrix {
    match colour.matrix {
        Matrix::Bt601 => yuv::YuvStandardMatrix::Bt601,
        Matrix::Bt709 => yuv::YuvStandardMatrix::Bt709,
        Matrix::Bt2020 => yuv::YuvStandardMatrix::Bt2020,
    }
}

const fn range(colour: Colour) -> yuv::YuvRange {
    match colour.range {
        Range::Full => yuv::YuvRange::Full,
        Range::Limited => yuv::YuvRange::Limited,
    }
}

/// A stride as the `yuv` crate has it. Views hold none that does not fit.
fn stride(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
