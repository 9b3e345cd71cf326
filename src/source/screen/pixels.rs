//! A screen's pixels as its server lays them out, to what is wanted of them.

use crate::{
    frame::{Colour, PixelFormat, Pool, convert},
    source::SourceError,
};

/// A screen's pixels, whose fourth byte means nothing, in the layout that is wanted.
///
/// `stride`: bytes from one row of `raw` to the next; 0 if they follow each other.
pub(super) fn convert_screen(
    from: PixelFormat,
    (width, height): (u32, u32),
    stride: usize,
    raw: &[u8],
    to: PixelFormat,
    made: &mut [u8],
    pool: &Pool,
) -> Result<(), SourceError> {
    let view = convert::RawView::new(from, width, height, stride, raw)?;
    convert::convert_into(&view, Colour::of_video(height), to, made, pool)?;
    if matches!(to, PixelFormat::Rgba | PixelFormat::Bgra) {
        for pixel in made.as_chunks_mut::<4>().0 {
            pixel[3] = u8::MAX;
        }
    }
    Ok(())
}
