//! Pixels from one layout to another and out of JPEG, at 1080p, beside the libraries that do the work: what framehost adds
//! to them is checks, memory that is used again, and colours below black.
//!
//! Both take turns, on the same buffers. Scaling has no other to be held against: its times are for information.

use std::{hint::black_box, time::Instant};

use crate::support::{Bound, Samples, is_quick, judge, milliseconds, noise, thorough_or_quick};
use bytes::Bytes;
use framehost::frame::{
    Codec, Colour, Format, PixelFormat, Pool, VideoFrame,
    convert::{self, RawView},
    scale::Scaler,
    still,
};
use yuv::{YuvBiPlanarImage, YuvConversionMode, YuvPackedImage, YuvPlanarImage, YuvRange, YuvStandardMatrix};
use zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};
use zune_jpeg::JpegDecoder;

const WIDTH: u32 = 1920;
const HEIGHT: u32 = 1080;
const PIXELS: usize = WIDTH as usize * HEIGHT as usize;

/// Of every format, to the bytes of RGB: the yuv crate alone.
type Alone = fn(&[u8], &mut [u8]) -> Result<(), yuv::YuvError>;

pub fn run() {
    println!("ms for a picture of {WIDTH} x {HEIGHT}, median of {} rounds\n", rounds());
    println!("{:<26} {:>10} {:>10} {:>8}", "", "framehost", "alone", "ratio");
    let rgb = picture();
    let mut verdicts = Vec::new();
    let cases: [(PixelFormat, Alone); 4] = [
        (PixelFormat::Yuy2, yuyv_alone),
        (PixelFormat::Nv12, nv12_alone),
        (PixelFormat::I420, i420_alone),
        (PixelFormat::Bgra, bgra_alone),
    ];
    for (format, alone) in cases {
        let name = Format::Pixels(format).as_str();
        let mut bytes = converted(&rgb, format).to_vec();
        let ratio = to_rgb(&format!("{name} to rgb"), format, &bytes, alone);
        verdicts.push((format!("{name} to rgb, beside yuv"), ratio, 1.2));
        if format == PixelFormat::I420 {
            // As much as noisy video with black bars has.
            bytes.iter_mut().take(PIXELS).step_by(1009).for_each(|luma| *luma = 15);
            to_rgb("i420, 0.1 % below black", format, &bytes, alone);
        }
    }
    verdicts.push(("jpeg to rgb, beside zune-jpeg".to_owned(), jpeg(&rgb), 1.1));
    scale(&rgb);
    println!();
    for (what, ratio, bound) in verdicts {
        judge(&what, ratio, "times its time", Bound::Under(bound));
    }
    if is_quick() {
        println!("\nquick: the figures above are not measurements");
    }
}

fn rounds() -> usize {
    thorough_or_quick(301, 5)
}

/// Something between a photograph and noise, in RGB.
fn picture() -> Bytes {
    let noise = noise(PIXELS * 3);
    let waves = |at: usize| {
        let (x, y) = (at / 3 % WIDTH as usize, at / 3 / WIDTH as usize);
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let phase = [x as f64 / 97.0 + (at % 3) as f64, y as f64 / 71.0];
        (phase[0].sin() * phase[1].cos()).mul_add(90.0, 128.0) as u8
    };
    noise.iter().enumerate().map(|(at, noise)| waves(at) - 4 + noise % 8).collect()
}

fn converted(rgb: &[u8], to: PixelFormat) -> Bytes {
    let view = RawView::new(PixelFormat::Rgb, WIDTH, HEIGHT, 0, rgb).unwrap();
    convert::convert(&view, Colour::of_video(HEIGHT), to, &Pool::default()).unwrap()
}

/// framehost's time over the other's.
fn compare(what: &str, mut ours: impl FnMut(), mut alone: impl FnMut()) -> f64 {
    let [mut by_us, mut by_it, mut ratios] = [const { Samples(Vec::new()) }; 3];
    for round in 0..=rounds() {
        let time = |work: &mut dyn FnMut()| {
            let began = Instant::now();
            work();
            milliseconds(began.elapsed())
        };
        let pair = (time(&mut ours), time(&mut alone));
        // The first is to find the memory.
        if round > 0 {
            by_us.push(pair.0);
            by_it.push(pair.1);
            ratios.push(pair.0 / pair.1);
        }
    }
    println!("{what:<26} {:>10.2} {:>10.2} {:>8.2}", by_us.median(), by_it.median(), ratios.median());
    ratios.median()
}

fn to_rgb(what: &str, format: PixelFormat, bytes: &[u8], alone: Alone) -> f64 {
    let pool = Pool::default();
    let mut made = vec![0; PIXELS * 3];
    let mut made_alone = made.clone();
    compare(
        what,
        || {
            let view = RawView::new(format, WIDTH, HEIGHT, 0, black_box(bytes)).unwrap();
            convert::convert_into(&view, Colour::of_video(HEIGHT), PixelFormat::Rgb, &mut made, &pool).unwrap();
            black_box(&mut made);
        },
        || {
            alone(black_box(bytes), &mut made_alone).unwrap();
            black_box(&mut made_alone);
        },
    )
}

fn yuyv_alone(yuy: &[u8], rgb: &mut [u8]) -> Result<(), yuv::YuvError> {
    let image = YuvPackedImage { yuy, yuy_stride: WIDTH * 2, width: WIDTH, height: HEIGHT };
    yuv::yuyv422_to_rgb(&image, rgb, WIDTH * 3, YuvRange::Limited, YuvStandardMatrix::Bt709)
}

fn nv12_alone(bytes: &[u8], rgb: &mut [u8]) -> Result<(), yuv::YuvError> {
    let (y_plane, uv_plane) = bytes.split_at(PIXELS);
    let image = YuvBiPlanarImage { y_plane, y_stride: WIDTH, uv_plane, uv_stride: WIDTH, width: WIDTH, height: HEIGHT };
    let (range, matrix) = (YuvRange::Limited, YuvStandardMatrix::Bt709);
    yuv::yuv_nv12_to_rgb(&image, rgb, WIDTH * 3, range, matrix, YuvConversionMode::Balanced)
}

fn i420_alone(bytes: &[u8], rgb: &mut [u8]) -> Result<(), yuv::YuvError> {
    let (y_plane, chroma) = bytes.split_at(PIXELS);
    let (u_plane, v_plane) = chroma.split_at(PIXELS / 4);
    let image = YuvPlanarImage {
        y_plane,
        y_stride: WIDTH,
        u_plane,
        u_stride: WIDTH / 2,
        v_plane,
        v_stride: WIDTH / 2,
        width: WIDTH,
        height: HEIGHT,
    };
    yuv::yuv420_to_rgb(&image, rgb, WIDTH * 3, YuvRange::Limited, YuvStandardMatrix::Bt709)
}

fn bgra_alone(bgra: &[u8], rgb: &mut [u8]) -> Result<(), yuv::YuvError> {
    yuv::bgra_to_rgb(bgra, WIDTH * 4, rgb, WIDTH * 3, WIDTH, HEIGHT)
}

fn frame(format: Format, data: Bytes) -> VideoFrame {
    VideoFrame::try_new(format, Some((WIDTH, HEIGHT)), 0, data).unwrap()
}

fn jpeg(rgb: &Bytes) -> f64 {
    let raw = frame(Format::Pixels(PixelFormat::Rgb), rgb.clone());
    let coded = still::encode(&raw, Codec::Jpeg, 85).unwrap();
    let pool = Pool::default();
    let mut made = vec![0; PIXELS * 3];
    let what = format!("jpeg of {} KB to rgb", coded.frame_data().len() / 1000);
    compare(
        &what,
        || drop(black_box(still::decode(black_box(&coded), PixelFormat::Rgb, &pool).unwrap())),
        || {
            let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB);
            let cursor = ZCursor::new(black_box(&coded.frame_data()[..]));
            JpegDecoder::new_with_options(cursor, options).decode_into(&mut made).unwrap();
            black_box(&mut made);
        },
    )
}

fn scale(rgb: &Bytes) {
    let raw = frame(Format::Pixels(PixelFormat::Rgb), rgb.clone());
    let (mut scaler, pool) = (Scaler::default(), Pool::default());
    for width in [1280, 640] {
        let mut times = Samples::default();
        for _ in 0..rounds() {
            let began = Instant::now();
            black_box(scaler.scale(black_box(&raw), width, &pool).unwrap());
            times.push(milliseconds(began.elapsed()));
        }
        println!("{:<26} {:>10.2}", format!("rgb to {width} wide"), times.median());
    }
}
