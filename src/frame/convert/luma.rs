//! Gray: luma in full range, of anything.

use yuv::{BufferStoreMut, YuvGrayImageMut};

use super::{RawLayout, RawView, checked, matrix, stride};
use crate::frame::{Colour, PixelFormat, Range};

/// `view` is not gray itself.
pub(super) fn make(view: &RawView<'_>, colour: Colour, made: &mut [u8]) {
    let (width, height) = (view.width(), view.height());
    let Some(row) = usize::try_from(width).ok().filter(|row| *row > 0) else {
        return;
    };
    match view.layout() {
        RawLayout::Pixels(from @ (PixelFormat::Rgb | PixelFormat::Bgr | PixelFormat::Rgba | PixelFormat::Bgra)) => {
            let [source, ..] = *view.planes();
            let mut gray = YuvGrayImageMut { y_plane: BufferStoreMut::Borrowed(made), y_stride: width, width, height };
            let (data, from_row) = (source.data, stride(source.stride));
            let (full, weights) = (yuv::YuvRange::Full, matrix(colour));
            checked(match from {
                PixelFormat::Bgr => yuv::bgr_to_yuv400(&mut gray, data, from_row, full, weights),
                PixelFormat::Rgba => yuv::rgba_to_yuv400(&mut gray, data, from_row, full, weights),
                PixelFormat::Bgra => yuv::bgra_to_yuv400(&mut gray, data, from_row, full, weights),
                _ => yuv::rgb_to_yuv400(&mut gray, data, from_row, full, weights),
            });
        }
        RawLayout::Pixels(PixelFormat::Yuy2) => {
            for (to, from) in made.chunks_exact_mut(row).zip(view.rows(0)) {
                for (luma, pair) in to.iter_mut().zip(from.chunks_exact(2)) {
                    *luma = pair.first().copied().unwrap_or_default();
                }
            }
            expand(made, colour);
        }
        RawLayout::Pixels(PixelFormat::I420 | PixelFormat::Nv12 | PixelFormat::Gray)
        | RawLayout::Yuv422
        | RawLayout::Yuv444 => {
            for (to, from) in made.chunks_exact_mut(row).zip(view.rows(0)) {
                to.copy_from_slice(from);
            }
            expand(made, colour);
        }
    }
}

/// Luma of the view's range to full range: 16 to 235 becomes 0 to 255, rounded; what lies outside is cut.
fn expand(luma: &mut [u8], colour: Colour) {
    if colour.range == Range::Limited {
        for value in luma {
            let full = (u32::from(value.saturating_sub(16)) * 255 + 109) / 219;
            *value = u8::try_from(full).unwrap_or(u8::MAX);
        }
    }
}

/// Full-range luma to the range that is wanted.
pub(super) fn compress(luma: &mut [u8], colour: Colour) {
    if colour.range == Range::Limited {
        for value in luma {
            // 16 to 235, rounded.
            *value = u8::try_from((u32::from(*value) * 219 + 127) / 255 + 16).unwrap_or(u8::MAX);
        }
    }
}
