//! Luma and chroma, of anything.

use yuv::{
    BufferStoreMut, YuvBiPlanarImageMut, YuvConversionMode, YuvPackedImage, YuvPackedImageMut, YuvPlanarImage,
    YuvPlanarImageMut,
};

use super::{RawLayout, RawView, checked, luma, matrix, range, stride, view::Plane};
use crate::frame::{Colour, FrameError, PixelFormat, Pool};

/// `to`: one of the three layouts with luma and chroma, and not the view's own.
pub(super) fn make(
    view: &RawView<'_>,
    colour: Colour,
    to: PixelFormat,
    made: &mut [u8],
    pool: &Pool,
) -> Result<(), FrameError> {
    match to {
        PixelFormat::Nv12 if is_rgb(view.layout()) => nv12_of_rgb(view, colour, made),
        PixelFormat::Nv12 => {
            let planes = i420(view, colour, pool)?;
            nv12_of_i420(view, &planes, made);
        }
        PixelFormat::Yuy2 => yuy2(view, colour, made, pool)?,
        _ => i420_into(view, colour, made),
    }
    Ok(())
}

const fn is_rgb(layout: RawLayout) -> bool {
    matches!(layout, RawLayout::Pixels(PixelFormat::Rgb | PixelFormat::Bgr | PixelFormat::Rgba | PixelFormat::Bgra))
}

/// The picture as packed `I420`, for the next step.
fn i420(view: &RawView<'_>, colour: Colour, pool: &Pool) -> Result<crate::frame::Buffer, FrameError> {
    let mut planes = pool.take(PixelFormat::I420.packed_len(view.width(), view.height())?);
    if view.layout() == RawLayout::Pixels(PixelFormat::I420) {
        view.copy_packed(&mut planes);
    } else {
        i420_into(view, colour, &mut planes);
    }
    Ok(planes)
}

fn i420_into(view: &RawView<'_>, colour: Colour, made: &mut [u8]) {
    let (width, height) = (view.width(), view.height());
    let [(row, rows), (chroma_row, chroma_rows), _] = RawLayout::Pixels(PixelFormat::I420).planes(width, height);
    let (y_plane, chroma) = made.split_at_mut(row * rows);
    let (u_plane, v_plane) = chroma.split_at_mut(chroma_row * chroma_rows);
    let [first, ..] = *view.planes();
    match view.layout() {
        RawLayout::Pixels(from @ (PixelFormat::Rgb | PixelFormat::Bgr | PixelFormat::Rgba | PixelFormat::Bgra)) => {
            let mut planes = planar_mut(y_plane, u_plane, v_plane, chroma_row, width, height);
            planar_of_rgb(from, first, &mut planes, colour, false);
        }
        RawLayout::Pixels(PixelFormat::Yuy2) => {
            let mut planes = planar_mut(y_plane, u_plane, v_plane, chroma_row, width, height);
            let packed = YuvPackedImage { yuy: first.data, yuy_stride: stride(first.stride), width, height };
            checked(yuv::yuyv422_to_yuv420(&mut planes, &packed));
            if !height.is_multiple_of(2) {
                // The crate leaves out a row that has no other to share its chroma with.
                let last = |plane: &[u8], row: usize| plane.len().saturating_sub(row);
                let from = view.rows(0).last().unwrap_or_default();
                let (y_at, u_at, v_at) = (last(y_plane, row), last(u_plane, chroma_row), last(v_plane, chroma_row));
                copy_every(from, 0, 2, y_plane.get_mut(y_at..));
                copy_every(from, 1, 4, u_plane.get_mut(u_at..));
                copy_every(from, 3, 4, v_plane.get_mut(v_at..));
            }
        }
        RawLayout::Pixels(PixelFormat::Nv12) => {
            copy_rows(view, 0, y_plane, row);
            let to = u_plane.chunks_exact_mut(chroma_row).zip(v_plane.chunks_exact_mut(chroma_row));
            for ((u_row, v_row), from) in to.zip(view.rows(1)) {
                for ((u, v), pair) in u_row.iter_mut().zip(v_row).zip(from.as_chunks::<2>().0) {
                    [*u, *v] = *pair;
                }
            }
        }
        RawLayout::Yuv422 => {
            copy_rows(view, 0, y_plane, row);
            halve_rows(view, 1, u_plane, chroma_row);
            halve_rows(view, 2, v_plane, chroma_row);
        }
        RawLayout::Yuv444 => {
            copy_rows(view, 0, y_plane, row);
            quarter(view, 1, u_plane, chroma_row);
            quarter(view, 2, v_plane, chroma_row);
        }
        RawLayout::Pixels(PixelFormat::Gray) => {
            copy_rows(view, 0, y_plane, row);
            luma::compress(y_plane, colour);
            u_plane.fill(128);
            v_plane.fill(128);
        }
        // The caller has copied it.
        RawLayout::Pixels(PixelFormat::I420) => {}
    }
}

/// Every `step`-th sample from `first` on.
fn copy_every(from: &[u8], first: usize, step: usize, to: Option<&mut [u8]>) {
    for (to, from) in to.unwrap_or_default().iter_mut().zip(from.iter().skip(first).step_by(step)) {
        *to = *from;
    }
}

fn copy_rows(view: &RawView<'_>, plane: usize, made: &mut [u8], row: usize) {
    for (to, from) in made.chunks_exact_mut(row).zip(view.rows(plane)) {
        to.copy_from_slice(from);
    }
}

/// Chroma of half the height: the mean of two rows.
fn halve_rows(view: &RawView<'_>, plane: usize, made: &mut [u8], row: usize) {
    let mut rows = view.rows(plane);
    for to in made.chunks_exact_mut(row) {
        let upper = rows.next().unwrap_or_default();
        let lower = rows.next().unwrap_or(upper);
        for ((value, a), b) in to.iter_mut().zip(upper).zip(lower) {
            *value = a.midpoint(*b);
        }
    }
}

/// Chroma of half the width and height: the mean of four samples.
fn quarter(view: &RawView<'_>, plane: usize, made: &mut [u8], row: usize) {
    let mut rows = view.rows(plane);
    for to in made.chunks_exact_mut(row) {
        let upper = rows.next().unwrap_or_default();
        let lower = rows.next().unwrap_or(upper);
        let mean = |pair: &[u8]| match *pair {
            [a, b] => u32::from(a) + u32::from(b),
            [a] => 2 * u32::from(a),
            _ => 0,
        };
        for ((value, a), b) in to.iter_mut().zip(upper.chunks(2)).zip(lower.chunks(2)) {
            *value = u8::try_from((mean(a) + mean(b) + 2) / 4).unwrap_or(u8::MAX);
        }
    }
}

fn planar_mut<'a>(
    y_plane: &'a mut [u8],
    u_plane: &'a mut [u8],
    v_plane: &'a mut [u8],
    chroma_row: usize,
    width: u32,
    height: u32,
) -> YuvPlanarImageMut<'a, u8> {
    YuvPlanarImageMut {
        y_plane: BufferStoreMut::Borrowed(y_plane),
        y_stride: width,
        u_plane: BufferStoreMut::Borrowed(u_plane),
        u_stride: stride(chroma_row),
        v_plane: BufferStoreMut::Borrowed(v_plane),
        v_stride: stride(chroma_row),
        width,
        height,
    }
}

/// `is_422`: chroma of full height.
fn planar_of_rgb(
    from: PixelFormat,
    source: Plane<'_>,
    planes: &mut YuvPlanarImageMut<'_, u8>,
    colour: Colour,
    is_422: bool,
) {
    use PixelFormat::{Bgr, Bgra, Rgba};
    let (data, row) = (source.data, stride(source.stride));
    let (range, matrix, mode) = (range(colour), matrix(colour), YuvConversionMode::Balanced);
    checked(match (from, is_422) {
        (Bgr, false) => yuv::bgr_to_yuv420(planes, data, row, range, matrix, mode),
        (Rgba, false) => yuv::rgba_to_yuv420(planes, data, row, range, matrix, mode),
        (Bgra, false) => yuv::bgra_to_yuv420(planes, data, row, range, matrix, mode),
        (_, false) => yuv::rgb_to_yuv420(planes, data, row, range, matrix, mode),
        (Bgr, true) => yuv::bgr_to_yuv422(planes, data, row, range, matrix, mode),
        (Rgba, true) => yuv::rgba_to_yuv422(planes, data, row, range, matrix, mode),
        (Bgra, true) => yuv::bgra_to_yuv422(planes, data, row, range, matrix, mode),
        (_, true) => yuv::rgb_to_yuv422(planes, data, row, range, matrix, mode),
    });
}

fn nv12_of_rgb(view: &RawView<'_>, colour: Colour, made: &mut [u8]) {
    let (width, height) = (view.width(), view.height());
    let [(row, rows), (chroma_row, _), _] = RawLayout::Pixels(PixelFormat::Nv12).planes(width, height);
    let (y_plane, uv_plane) = made.split_at_mut(row * rows);
    let mut planes = YuvBiPlanarImageMut {
        y_plane: BufferStoreMut::Borrowed(y_plane),
        y_stride: width,
        uv_plane: BufferStoreMut::Borrowed(uv_plane),
        uv_stride: stride(chroma_row),
        width,
        height,
    };
    let [source, ..] = *view.planes();
    let (data, from_row) = (source.data, stride(source.stride));
    let (range, matrix, mode) = (range(colour), matrix(colour), YuvConversionMode::Balanced);
    checked(match view.layout() {
        RawLayout::Pixels(PixelFormat::Bgr) => yuv::bgr_to_yuv_nv12(&mut planes, data, from_row, range, matrix, mode),
        RawLayout::Pixels(PixelFormat::Rgba) => yuv::rgba_to_yuv_nv12(&mut planes, data, from_row, range, matrix, mode),
        RawLayout::Pixels(PixelFormat::Bgra) => yuv::bgra_to_yuv_nv12(&mut planes, data, from_row, range, matrix, mode),
        _ => yuv::rgb_to_yuv_nv12(&mut planes, data, from_row, range, matrix, mode),
    });
}

fn nv12_of_i420(view: &RawView<'_>, planes: &[u8], made: &mut [u8]) {
    let [(row, rows), (chroma_row, chroma_rows), _] =
        RawLayout::Pixels(PixelFormat::I420).planes(view.width(), view.height());
    let (y_from, chroma_from) = planes.split_at(row * rows);
    let (u_from, v_from) = chroma_from.split_at(chroma_row * chroma_rows);
    let (y_made, uv_made) = made.split_at_mut(row * rows);
    y_made.copy_from_slice(y_from);
    for ((pair, u), v) in uv_made.as_chunks_mut::<2>().0.iter_mut().zip(u_from).zip(v_from) {
        *pair = [*u, *v];
    }
}

fn yuy2(view: &RawView<'_>, colour: Colour, made: &mut [u8], pool: &Pool) -> Result<(), FrameError> {
    let (width, height) = (view.width(), view.height());
    let [(made_row, _), ..] = RawLayout::Pixels(PixelFormat::Yuy2).planes(width, height);
    let mut packed =
        YuvPackedImageMut { yuy: BufferStoreMut::Borrowed(made), yuy_stride: stride(made_row), width, height };
    if view.layout() == RawLayout::Yuv422 {
        checked(yuv::yuv422_to_yuyv422(&mut packed, &planar(view)));
    } else if let (RawLayout::Pixels(from), true) = (view.layout(), is_rgb(view.layout())) {
        // Its chroma has full height, so not by way of I420.
        let [(row, rows), (chroma_row, chroma_rows), _] = RawLayout::Yuv422.planes(width, height);
        let mut between = pool.take(row * rows + 2 * chroma_row * chroma_rows);
        let (y_plane, chroma) = between.split_at_mut(row * rows);
        let (u_plane, v_plane) = chroma.split_at_mut(chroma_row * chroma_rows);
        let [source, ..] = *view.planes();
        let mut planes = planar_mut(y_plane, u_plane, v_plane, chroma_row, width, height);
        planar_of_rgb(from, source, &mut planes, colour, true);
        checked(yuv::yuv422_to_yuyv422(&mut packed, &planes.to_fixed()));
    } else if view.layout() == RawLayout::Pixels(PixelFormat::I420) {
        checked(yuv::yuv420_to_yuyv422(&mut packed, &planar(view)));
    } else {
        let between = i420(view, colour, pool)?;
        let between = RawView::new(PixelFormat::I420, width, height, 0, &between)?;
        checked(yuv::yuv420_to_yuyv422(&mut packed, &planar(&between)));
    }
    Ok(())
}

fn planar<'a>(view: &RawView<'a>) -> YuvPlanarImage<'a, u8> {
    let [first, second, third] = *view.planes();
    YuvPlanarImage {
        y_plane: first.data,
        y_stride: stride(first.stride),
        u_plane: second.data,
        u_stride: stride(second.stride),
        v_plane: third.data,
        v_stride: stride(third.stride),
        width: view.width(),
        height: view.height(),
    }
}
