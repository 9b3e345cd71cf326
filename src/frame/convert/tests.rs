use proptest::prelude::*;

use super::*;

const RGB_LAYOUTS: [PixelFormat; 4] = [PixelFormat::Rgb, PixelFormat::Bgr, PixelFormat::Rgba, PixelFormat::Bgra];
const YUV_LAYOUTS: [PixelFormat; 3] = [PixelFormat::I420, PixelFormat::Nv12, PixelFormat::Yuy2];
const MATRICES: [Matrix; 3] = [Matrix::Bt601, Matrix::Bt709, Matrix::Bt2020];

fn weights(matrix: Matrix) -> (f64, f64) {
    match matrix {
        Matrix::Bt601 => (0.299, 0.114),
        Matrix::Bt709 => (0.2126, 0.0722),
        Matrix::Bt2020 => (0.2627, 0.0593),
    }
}

fn exact_rgb([y, u, v]: [u8; 3], colour: Colour) -> [f64; 3] {
    let (kr, kb) = weights(colour.matrix);
    let (y, u, v) = (f64::from(y), f64::from(u) - 128.0, f64::from(v) - 128.0);
    let (y, u, v) = match colour.range {
        Range::Full => (y / 255.0, u / 255.0, v / 255.0),
        Range::Limited => ((y - 16.0) / 219.0, u / 224.0, v / 224.0),
    };
    let (red, blue) = (y + 2.0 * (1.0 - kr) * v, y + 2.0 * (1.0 - kb) * u);
    let green = (y - kr * red - kb * blue) / (1.0 - kr - kb);
    [red, green, blue].map(|value| (value * 255.0).clamp(0.0, 255.0))
}

fn exact_luma([r, g, b]: [u8; 3], matrix: Matrix) -> f64 {
    let (kr, kb) = weights(matrix);
    kr * f64::from(r) + (1.0 - kr - kb) * f64::from(g) + kb * f64::from(b)
}

/// The samples of a pixel, where the layout has them.
fn yuv_at(layout: RawLayout, data: &[u8], w: usize, h: usize, x: usize, y: usize) -> [u8; 3] {
    let (cw, ch) = (w.div_ceil(2), h.div_ceil(2));
    let luma = y * w + x;
    match layout {
        RawLayout::Pixels(PixelFormat::I420) => {
            let at = w * h + y / 2 * cw + x / 2;
            [data[luma], data[at], data[at + cw * ch]]
        }
        RawLayout::Pixels(PixelFormat::Nv12) => {
            let at = w * h + (y / 2 * cw + x / 2) * 2;
            [data[luma], data[at], data[at + 1]]
        }
        RawLayout::Pixels(PixelFormat::Yuy2) => {
            let at = y * cw * 4 + x / 2 * 4;
            [data[at + x % 2 * 2], data[at + 1], data[at + 3]]
        }
        RawLayout::Yuv422 => {
            let at = w * h + y * cw + x / 2;
            [data[luma], data[at], data[at + cw * h]]
        }
        RawLayout::Yuv444 => [data[luma], data[luma + w * h], data[luma + 2 * w * h]],
        RawLayout::Pixels(_) => panic!("no luma and chroma"),
    }
}

fn rgb_at(format: PixelFormat, data: &[u8], w: usize, x: usize, y: usize) -> [u8; 3] {
    let at = |channels: usize| (y * w + x) * channels;
    match format {
        PixelFormat::Rgb => [0, 1, 2].map(|c| data[at(3) + c]),
        PixelFormat::Bgr => [2, 1, 0].map(|c| data[at(3) + c]),
        PixelFormat::Rgba => [0, 1, 2].map(|c| data[at(4) + c]),
        PixelFormat::Bgra => [2, 1, 0].map(|c| data[at(4) + c]),
        _ => panic!("no red, green and blue"),
    }
}

/// Bytes without a pattern that a mistake in a stride could hide in.
fn noise(len: usize, mut seed: u32) -> Vec<u8> {
    (0..len)
        .map(|_| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            seed.to_le_bytes()[3]
        })
        .collect()
}

fn layout_len(layout: RawLayout, width: u32, height: u32) -> usize {
    layout.planes(width, height).into_iter().map(|(row, rows)| row * rows).sum()
}

fn view_of(layout: RawLayout, width: u32, height: u32, data: &[u8]) -> RawView<'_> {
    let mut rest = data;
    let planes = layout.planes(width, height).map(|(row, rows)| {
        let (own, next) = rest.split_at(row * rows);
        rest = next;
        (own, row)
    });
    RawView::from_planes(layout, width, height, planes).unwrap()
}

fn made(view: &RawView<'_>, colour: Colour, to: PixelFormat) -> Bytes {
    convert(view, colour, to, &Pool::default()).unwrap()
}

fn check_to_rgb(layout: RawLayout, width: u32, height: u32, colour: Colour, to: PixelFormat) {
    let data = noise(layout_len(layout, width, height), width * 31 + height);
    let rgb = made(&view_of(layout, width, height, &data), colour, to);
    let [w, h] = [width, height].map(|side| usize::try_from(side).unwrap());
    for y in 0..h {
        for x in 0..w {
            let samples = yuv_at(layout, &data, w, h, x, y);
            let (exact, got) = (exact_rgb(samples, colour), rgb_at(to, &rgb, w, x, y));
            for (exact, got) in exact.into_iter().zip(got) {
                let off = (exact - f64::from(got)).abs();
                let tolerance = if layout == RawLayout::Pixels(PixelFormat::Yuy2) { 4.0 } else { 2.0 };
                assert!(
                    off <= tolerance,
                    "{layout:?} {width}x{height} {colour:?} {to:?} at {x},{y}: {samples:?} is {exact}, got {got}"
                );
            }
        }
    }
}

#[test]
fn luma_and_chroma_become_red_green_and_blue_within_two_levels() {
    let layouts = YUV_LAYOUTS.map(RawLayout::Pixels).into_iter().chain([RawLayout::Yuv422, RawLayout::Yuv444]);
    for layout in layouts {
        for matrix in MATRICES {
            for range in [Range::Full, Range::Limited] {
                for (width, height) in [(1, 1), (2, 2), (3, 5), (64, 3), (77, 21), (131, 64), (97, 71)] {
                    check_to_rgb(layout, width, height, Colour { matrix, range }, PixelFormat::Rgb);
                }
                for to in RGB_LAYOUTS {
                    check_to_rgb(layout, 35, 7, Colour { matrix, range }, to);
                }
            }
        }
    }
}

#[test]
fn colours_keep_their_values_in_every_order() {
    for from in RGB_LAYOUTS {
        for to in RGB_LAYOUTS {
            let (width, height) = (37, 5);
            let data = noise(from.packed_len(width, height).unwrap(), 5);
            let view = RawView::new(from, width, height, 0, &data).unwrap();
            let made = made(&view, Colour::JPEG, to);
            for (x, y) in [(0, 0), (36, 4), (7, 2), (17, 3)] {
                assert_eq!(rgb_at(to, &made, 37, x, y), rgb_at(from, &data, 37, x, y), "{from:?} to {to:?}");
            }
            if matches!(to, PixelFormat::Rgba | PixelFormat::Bgra)
                && matches!(from, PixelFormat::Rgb | PixelFormat::Bgr)
            {
                assert!(made.chunks(4).all(|pixel| pixel[3] == 255));
            }
        }
    }
}

#[test]
fn even_colours_survive_the_way_there_and_back() {
    // Uniform areas, so that chroma is the same whatever is averaged.
    let pixels: [[u8; 3]; 6] =
        [[0, 0, 0], [255, 255, 255], [200, 30, 40], [20, 180, 60], [10, 40, 210], [128, 128, 128]];
    for rgb in pixels {
        for from in RGB_LAYOUTS {
            for to in YUV_LAYOUTS {
                for (width, height) in [(1, 1), (5, 3), (64, 16)] {
                    let colour = Colour::of_video(height);
                    let flat: Vec<u8> =
                        rgb.iter().copied().cycle().take(usize::try_from(width * height * 3).unwrap()).collect();
                    let flat = made(&RawView::new(PixelFormat::Rgb, width, height, 0, &flat).unwrap(), colour, from);
                    let there = made(&RawView::new(from, width, height, 0, &flat).unwrap(), colour, to);
                    let back = made(&RawView::new(to, width, height, 0, &there).unwrap(), colour, PixelFormat::Rgb);
                    for pixel in back.chunks(3) {
                        let off = pixel.iter().zip(rgb).map(|(a, b)| a.abs_diff(b)).max().unwrap();
                        assert!(off <= 4, "{rgb:?} by {from:?} and {to:?} is {pixel:?}");
                    }
                }
            }
        }
    }
}

#[test]
fn chroma_keeps_its_place_between_the_layouts_with_luma() {
    let (width, height) = (6, 4);
    let data = noise(PixelFormat::I420.packed_len(width, height).unwrap(), 3);
    let i420 = RawView::new(PixelFormat::I420, width, height, 0, &data).unwrap();
    for to in [PixelFormat::Nv12, PixelFormat::Yuy2] {
        let there = made(&i420, Colour::JPEG, to);
        let back = made(&RawView::new(to, width, height, 0, &there).unwrap(), Colour::JPEG, PixelFormat::I420);
        assert_eq!(&back[..], &data[..], "{to:?}");
    }
    let nv12 = made(&i420, Colour::JPEG, PixelFormat::Nv12);
    let nv12 = RawView::new(PixelFormat::Nv12, width, height, 0, &nv12).unwrap();
    let yuy2 = made(&nv12, Colour::JPEG, PixelFormat::Yuy2);
    assert_eq!(yuy2, made(&i420, Colour::JPEG, PixelFormat::Yuy2));
}

#[test]
fn gray_is_luma_in_full_range() {
    let (width, height) = (33, 9);
    for matrix in MATRICES {
        let colour = Colour { matrix, range: Range::Limited };
        for from in RGB_LAYOUTS {
            let data = noise(from.packed_len(width, height).unwrap(), 9);
            let gray = made(&RawView::new(from, width, height, 0, &data).unwrap(), colour, PixelFormat::Gray);
            for (at, value) in gray.iter().enumerate() {
                let exact = exact_luma(rgb_at(from, &data, 33, at % 33, at / 33), matrix);
                assert!((exact - f64::from(*value)).abs() <= 2.0, "{from:?} {exact} is {value}");
            }
        }
    }
    for from in YUV_LAYOUTS {
        let data = noise(from.packed_len(width, height).unwrap(), 9);
        let view = RawView::new(from, width, height, 0, &data).unwrap();
        for range in [Range::Full, Range::Limited] {
            let gray = made(&view, Colour { matrix: Matrix::Bt601, range }, PixelFormat::Gray);
            for (at, value) in gray.iter().enumerate() {
                let [y, ..] = yuv_at(RawLayout::Pixels(from), &data, 33, 9, at % 33, at / 33);
                let exact = match range {
                    Range::Full => f64::from(y),
                    Range::Limited => ((f64::from(y) - 16.0) * 255.0 / 219.0).clamp(0.0, 255.0),
                };
                assert!((exact - f64::from(*value)).abs() <= 0.5, "{from:?} {y} is {value}");
            }
        }
    }
    let ramp: Vec<u8> = (0..=255).collect();
    let gray = RawView::new(PixelFormat::Gray, 256, 1, 0, &ramp).unwrap();
    for to in RGB_LAYOUTS {
        let rgb = made(&gray, Colour::of_video(1), to);
        let there = (0..256).map(|x| rgb_at(to, &rgb, 256, x, 0));
        assert!(there.zip(&ramp).all(|(rgb, value)| rgb == [*value; 3]), "{to:?}");
    }
    for to in YUV_LAYOUTS {
        let there = made(&gray, Colour::of_video(1), to);
        let back = made(&RawView::new(to, 256, 1, 0, &there).unwrap(), Colour::of_video(1), PixelFormat::Gray);
        assert!(back.iter().zip(&ramp).all(|(a, b)| a.abs_diff(*b) <= 1), "{to:?}");
    }
}

#[test]
fn strides_of_devices_are_honoured() {
    let (width, height) = (5, 3);
    for format in [
        PixelFormat::Rgb,
        PixelFormat::Bgra,
        PixelFormat::Gray,
        PixelFormat::I420,
        PixelFormat::Nv12,
        PixelFormat::Yuy2,
    ] {
        let layout = RawLayout::Pixels(format);
        let packed = noise(format.packed_len(width, height).unwrap(), 1);
        let first = layout.planes(width, height)[0].0 + 3;
        let strides = match format {
            PixelFormat::I420 => [first, first.div_ceil(2), first.div_ceil(2)],
            _ => [first; 3],
        };
        let mut padded = Vec::new();
        let mut rest = &packed[..];
        for ((row, rows), stride) in layout.planes(width, height).into_iter().zip(strides) {
            for _ in 0..rows {
                let (own, next) = rest.split_at(row);
                padded.extend_from_slice(own);
                padded.resize(padded.len() + stride - row, 0xEE);
                rest = next;
            }
        }
        let view = RawView::new(format, width, height, first, &padded).unwrap();
        assert_eq!(&made(&view, Colour::JPEG, format)[..], &packed[..], "{format:?}");
        let straight = made(&RawView::new(format, width, height, 0, &packed).unwrap(), Colour::JPEG, PixelFormat::Rgba);
        assert_eq!(made(&view, Colour::JPEG, PixelFormat::Rgba), straight, "{format:?}");
        // Drivers may leave out what follows the last row, and nothing more.
        let pad = strides[2.min(layout.planes(width, height).iter().filter(|plane| plane.1 > 0).count() - 1)]
            - layout.planes(width, height).iter().rev().find(|plane| plane.1 > 0).unwrap().0;
        assert!(RawView::new(format, width, height, first, &padded[..padded.len() - pad]).is_ok());
        let short = RawView::new(format, width, height, first, &padded[..padded.len() - pad - 1]);
        assert!(matches!(short, Err(FrameError::Length { .. })), "{format:?}");
    }
    assert!(RawView::new(PixelFormat::Rgb, 5, 3, 14, &[0; 100]).is_err(), "a stride below a row");
    assert!(RawView::new(PixelFormat::Rgb, 0, 3, 0, &[0; 100]).is_err());
    assert!(RawView::new(PixelFormat::Rgb, 5, 3, usize::MAX, &[0; 100]).is_err());
}

proptest! {
    #[test]
    fn every_layout_becomes_every_other(from in 0usize..8, to in 0usize..8, width in 1u32..70, height in 1u32..9) {
        const ALL: [PixelFormat; 8] = [PixelFormat::Rgb, PixelFormat::Bgr, PixelFormat::Rgba, PixelFormat::Bgra,
            PixelFormat::Gray, PixelFormat::I420, PixelFormat::Nv12, PixelFormat::Yuy2];
        let (from, to) = (ALL[from], ALL[to]);
        let data = noise(from.packed_len(width, height).unwrap(), 1);
        let view = RawView::new(from, width, height, 0, &data).unwrap();
        let made = made(&view, Colour::of_video(height), to);
        prop_assert_eq!(made.len(), to.packed_len(width, height).unwrap());
    }
}

#[test]
fn a_last_row_that_ends_with_its_last_pixel_is_converted_too() {
    let pool = Pool::default();
    let colour = Colour::of_video(480);
    for from in [&RGB_LAYOUTS[..], &YUV_LAYOUTS, &[PixelFormat::Gray]].concat() {
        let (width, height) = (6_u32, 5_u32);
        let len = from.packed_len(width, height).unwrap();
        let packed: Vec<u8> = (0..len).map(|at| u8::try_from(at * 37 % 251).unwrap()).collect();
        let view = RawView::new(from, width, height, 0, &packed).unwrap();
        // The same rows eight bytes further apart, but for what would follow the last one of each plane.
        let layout = RawLayout::Pixels(from);
        let mut planes: Vec<(Vec<u8>, usize)> = Vec::new();
        let mut rest = &packed[..];
        for (row, rows) in layout.planes(width, height) {
            let (own, next) = rest.split_at(row * rows);
            let mut apart: Vec<u8> = own.chunks(row.max(1)).flat_map(|line| [line, &[9; 8]].concat()).collect();
            apart.truncate(apart.len().saturating_sub(8));
            planes.push((apart, row + 8));
            rest = next;
        }
        let planes: Vec<(&[u8], usize)> = planes.iter().map(|(data, stride)| (&data[..], *stride)).collect();
        let apart = RawView::from_planes(layout, width, height, planes.try_into().unwrap()).unwrap();
        for to in [&RGB_LAYOUTS[..], &YUV_LAYOUTS, &[PixelFormat::Gray]].concat() {
            let expected = convert(&view, colour, to, &pool).unwrap();
            assert_eq!(convert(&apart, colour, to, &pool).unwrap(), expected, "{from:?} to {to:?}");
        }
    }
}
