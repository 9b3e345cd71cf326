//! Red, green and blue, of anything.
//!
//! The `yuv` crate cuts limited luma off at black before it adds chroma, which turns dark colours up to 18 levels too
//! bright. Coded video has such luma around its edges, so those few pixels are computed again: a band of rows at a time,
//! while its luma is still in the processor's cache.

use yuv::{YuvBiPlanarImage, YuvGrayImage, YuvPackedImage, YuvPlanarImage};

use super::{RawLayout, RawView, checked, matrix, range, stride, view::Plane};
use crate::frame::{Colour, Matrix, PixelFormat, Range};

/// Calls the function of the `yuv` crate for the layout that is made.
macro_rules! to_rgb {
    ($to:expr, [$rgb:ident, $bgr:ident, $rgba:ident, $bgra:ident], $($argument:expr),+) => {
        checked(match $to {
            PixelFormat::Bgr => yuv::$bgr($($argument),+),
            PixelFormat::Rgba => yuv::$rgba($($argument),+),
            PixelFormat::Bgra => yuv::$bgra($($argument),+),
            _ => yuv::$rgb($($argument),+),
        })
    };
}

/// Rows that are converted at once: even, as two rows share chroma.
const BAND_ROWS: u32 = 32;

/// `to`: one of the four layouts with red, green and blue, and not the view's own.
pub(super) fn make(view: &RawView<'_>, colour: Colour, to: PixelFormat, made: &mut [u8]) {
    let is_gray = view.layout() == RawLayout::Pixels(PixelFormat::Gray);
    if !view.layout().is_yuv() || is_gray || colour.range == Range::Full {
        return convert(view, colour, to, made);
    }
    let row = usize::try_from(view.width()).unwrap_or(0) * channels(to);
    let band_len = row * usize::try_from(BAND_ROWS).unwrap_or(1);
    for (band, made) in view.bands(BAND_ROWS).zip(made.chunks_mut(band_len.max(1))) {
        convert(&band, colour, to, made);
        correct_below_black(&band, colour.matrix, to, made);
    }
}

const fn channels(to: PixelFormat) -> usize {
    if matches!(to, PixelFormat::Rgba | PixelFormat::Bgra) { 4 } else { 3 }
}

/// By the `yuv` crate alone.
fn convert(view: &RawView<'_>, colour: Colour, to: PixelFormat, made: &mut [u8]) {
    let (width, height) = (view.width(), view.height());
    let [first, second, third] = *view.planes();
    let row = width * if matches!(to, PixelFormat::Rgba | PixelFormat::Bgra) { 4 } else { 3 };
    let (range_, matrix_) = (range(colour), matrix(colour));
    let planar = || YuvPlanarImage {
        y_plane: first.data,
        y_stride: stride(first.stride),
        u_plane: second.data,
        u_stride: stride(second.stride),
        v_plane: third.data,
        v_stride: stride(third.stride),
        width,
        height,
    };
    match view.layout() {
        RawLayout::Pixels(PixelFormat::I420) => {
            let image = &planar();
            to_rgb!(
                to,
                [yuv420_to_rgb, yuv420_to_bgr, yuv420_to_rgba, yuv420_to_bgra],
                image,
                made,
                row,
                range_,
                matrix_
            );
        }
        RawLayout::Yuv422 => {
            let image = &planar();
            to_rgb!(
                to,
                [yuv422_to_rgb, yuv422_to_bgr, yuv422_to_rgba, yuv422_to_bgra],
                image,
                made,
                row,
                range_,
                matrix_
            );
        }
        RawLayout::Yuv444 => {
            let image = &planar();
            to_rgb!(
                to,
                [yuv444_to_rgb, yuv444_to_bgr, yuv444_to_rgba, yuv444_to_bgra],
                image,
                made,
                row,
                range_,
                matrix_
            );
        }
        RawLayout::Pixels(PixelFormat::Nv12) => {
            let image = &YuvBiPlanarImage {
                y_plane: first.data,
                y_stride: stride(first.stride),
                uv_plane: second.data,
                uv_stride: stride(second.stride),
                width,
                height,
            };
            let mode = yuv::YuvConversionMode::Balanced;
            to_rgb!(
                to,
                [yuv_nv12_to_rgb, yuv_nv12_to_bgr, yuv_nv12_to_rgba, yuv_nv12_to_bgra],
                image,
                made,
                row,
                range_,
                matrix_,
                mode
            );
        }
        RawLayout::Pixels(PixelFormat::Yuy2) => {
            let image = &YuvPackedImage { yuy: first.data, yuy_stride: stride(first.stride), width, height };
            to_rgb!(
                to,
                [yuyv422_to_rgb, yuyv422_to_bgr, yuyv422_to_rgba, yuyv422_to_bgra],
                image,
                made,
                row,
                range_,
                matrix_
            );
        }
        RawLayout::Pixels(PixelFormat::Gray) => {
            let image = &YuvGrayImage { y_plane: first.data, y_stride: stride(first.stride), width, height };
            let full = yuv::YuvRange::Full;
            to_rgb!(
                to,
                [yuv400_to_rgb, yuv400_to_bgr, yuv400_to_rgba, yuv400_to_bgra],
                image,
                made,
                row,
                full,
                matrix_
            );
        }
        RawLayout::Pixels(from @ (PixelFormat::Rgb | PixelFormat::Bgr | PixelFormat::Rgba | PixelFormat::Bgra)) => {
            shuffle(from, first, to, made, row, width, height);
        }
    }
}

/// Limited luma of black.
const BLACK: u8 = 16;

/// Pixels that are looked at together for one below black: an even number.
const LOOK: usize = 64;

/// Computes the pixels again whose luma is below black.
fn correct_below_black(view: &RawView<'_>, matrix: Matrix, to: PixelFormat, made: &mut [u8]) {
    let channels = channels(to);
    let is_bgr = matches!(to, PixelFormat::Bgr | PixelFormat::Bgra);
    let row = usize::try_from(view.width()).unwrap_or(0) * channels;
    let coefficients = Coefficients::of(matrix);
    // Luma of packed pixels is every second byte.
    let step = if view.layout() == RawLayout::Pixels(PixelFormat::Yuy2) { 2 } else { 1 };
    for (y, (luma, made)) in view.rows(0).zip(made.chunks_exact_mut(row.max(1))).enumerate() {
        // Nearly every row has none, and those that have some have few: these looks are nearly all that they cost.
        if !is_below_black(luma, step) {
            continue;
        }
        let parts = luma.chunks(LOOK * step).zip(made.chunks_mut(LOOK * channels)).enumerate();
        for (part, (some, made)) in parts.filter(|(_, (some, _))| is_below_black(some, step)) {
            for (x, (value, pixel)) in some.iter().step_by(step).zip(made.chunks_exact_mut(channels)).enumerate() {
                if *value < BLACK {
                    let [u, v] = chroma(view, luma, part * LOOK + x, y);
                    let [red, green, blue] = coefficients.rgb(*value, u, v);
                    let colours = if is_bgr { [blue, green, red] } else { [red, green, blue] };
                    for (place, colour) in pixel.iter_mut().zip(colours) {
                        *place = colour;
                    }
                }
            }
        }
    }
}

/// Is any of the luma? Without a branch, so that it is done many at a time.
fn is_below_black(luma: &[u8], step: usize) -> bool {
    let least = if step == 2 {
        luma.as_chunks::<2>().0.iter().fold(u8::MAX, |least, [value, _]| least.min(*value))
    } else {
        luma.iter().fold(u8::MAX, |least, value| least.min(*value))
    };
    least < BLACK
}

/// The chroma samples nearest to a pixel. `luma`: the row of the first plane that it lies in.
fn chroma(view: &RawView<'_>, luma: &[u8], x: usize, y: usize) -> [u8; 2] {
    let [_, second, third] = *view.planes();
    let at = |plane: Plane<'_>, x: usize, y: usize| plane.data.get(y * plane.stride + x).copied().unwrap_or(128);
    match view.layout() {
        RawLayout::Pixels(PixelFormat::Nv12) => [0, 1].map(|part| at(second, x / 2 * 2 + part, y / 2)),
        RawLayout::Pixels(PixelFormat::Yuy2) => [1, 3].map(|part| luma.get(x / 2 * 4 + part).copied().unwrap_or(128)),
        RawLayout::Yuv422 => [second, third].map(|plane| at(plane, x / 2, y)),
        RawLayout::Yuv444 => [second, third].map(|plane| at(plane, x, y)),
        RawLayout::Pixels(_) => [second, third].map(|plane| at(plane, x / 2, y / 2)),
    }
}

/// What limited luma and chroma weigh in red, green and blue, in 2^-16.
struct Coefficients {
    luma: i32,
    red_v: i32,
    green_u: i32,
    green_v: i32,
    blue_u: i32,
}

impl Coefficients {
    /// Source: ITU-R BT.601, BT.709 and BT.2020; 255 levels over 219 of luma and 224 of chroma.
    const fn of(matrix: Matrix) -> Self {
        let luma = 76_309;
        match matrix {
            Matrix::Bt601 => Self { luma, red_v: 104_597, green_u: -25_675, green_v: -53_279, blue_u: 132_201 },
            Matrix::Bt709 => Self { luma, red_v: 117_489, green_u: -13_975, green_v: -34_925, blue_u: 138_438 },
            Matrix::Bt2020 => Self { luma, red_v: 110_014, green_u: -12_277, green_v: -42_626, blue_u: 140_363 },
        }
    }

    fn rgb(&self, y: u8, u: u8, v: u8) -> [u8; 3] {
        let (y, u, v) = (self.luma * (i32::from(y) - 16), i32::from(u) - 128, i32::from(v) - 128);
        let byte = |value: i32| u8::try_from(((value + (1 << 15)) >> 16).clamp(0, 255)).unwrap_or(0);
        [byte(y + self.red_v * v), byte(y + self.green_u * u + self.green_v * v), byte(y + self.blue_u * u)]
    }
}

/// The same colours in another order.
fn shuffle(from: PixelFormat, source: Plane<'_>, to: PixelFormat, made: &mut [u8], row: u32, width: u32, height: u32) {
    use PixelFormat::{Bgr, Bgra, Rgb, Rgba};
    let (data, from_row) = (source.data, stride(source.stride));
    checked(match (from, to) {
        (Rgb, Bgr) | (Bgr, Rgb) => yuv::rgb_to_bgr(data, from_row, made, row, width, height),
        (Rgb, Rgba) | (Bgr, Bgra) => yuv::rgb_to_rgba(data, from_row, made, row, width, height),
        (Rgb, Bgra) | (Bgr, Rgba) => yuv::rgb_to_bgra(data, from_row, made, row, width, height),
        (Rgba, Rgb) | (Bgra, Bgr) => yuv::rgba_to_rgb(data, from_row, made, row, width, height),
        (Rgba, Bgr) | (Bgra, Rgb) => yuv::bgra_to_rgb(data, from_row, made, row, width, height),
        // Rgba and Bgra; the others are the same layout, or none of these.
        _ => yuv::rgba_to_bgra(data, from_row, made, row, width, height),
    });
}
