//! Which of a camera's modes suits a wish.

use v4l::format::{Colorspace, Quantization};

use super::super::CameraOptions;
use crate::{
    frame::{Codec, Colour, Format, Matrix, PixelFormat, Range},
    source::devices::CameraMode,
};

/// From this size and rate on, cameras give what is asked for only as JPEG: raw pictures do not fit USB 2.
const JPEG_FROM: (u32, f64) = (1280 * 720, 30.0);

/// Two rates that differ by less are the same: 30 and 29.97.
const SAME_RATE: f64 = 0.05;

/// What a camera's words for formats stand for, the best first: no work, little, more; and the most work last.
const FORMATS: [(&[u8; 4], DeviceFormat); 13] = [
    (b"RGB3", DeviceFormat::Pixels(PixelFormat::Rgb)),
    (b"YUYV", DeviceFormat::Pixels(PixelFormat::Yuy2)),
    (b"NV12", DeviceFormat::Pixels(PixelFormat::Nv12)),
    (b"YU12", DeviceFormat::Pixels(PixelFormat::I420)),
    (b"BGR3", DeviceFormat::Pixels(PixelFormat::Bgr)),
    (b"XR24", DeviceFormat::Pixels(PixelFormat::Bgra)),
    (b"AR24", DeviceFormat::Pixels(PixelFormat::Bgra)),
    (b"BGR4", DeviceFormat::Pixels(PixelFormat::Bgra)),
    (b"XB24", DeviceFormat::Pixels(PixelFormat::Rgba)),
    (b"AB24", DeviceFormat::Pixels(PixelFormat::Rgba)),
    (b"GREY", DeviceFormat::Pixels(PixelFormat::Gray)),
    (b"MJPG", DeviceFormat::Jpeg),
    (b"JPEG", DeviceFormat::Jpeg),
];

/// How a camera's buffers are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeviceFormat {
    Pixels(PixelFormat),
    Jpeg,
}

/// Seconds from one picture to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) numerator: u32,
    pub(super) denominator: u32,
}

impl Interval {
    pub(super) fn fps(self) -> f64 {
        if self.numerator == 0 { 0.0 } else { f64::from(self.denominator) / f64::from(self.numerator) }
    }

    /// The fraction of a rate that a camera has listed.
    fn of_fps(fps: f64) -> Self {
        // Rates are listed as denominator / numerator; thousandths keep 29.97 (30000/1001) within the driver's own
        // rounding, and whole rates exact.
        if (fps - fps.round()).abs() < 1e-9 && (1.0..=10_000.0).contains(&fps) {
            return Self { numerator: 1, denominator: whole(fps) };
        }
        let ntsc = (fps * 1001.0 / 1000.0).round();
        if (fps - ntsc * 1000.0 / 1001.0).abs() < 1e-6 {
            return Self { numerator: 1001, denominator: whole(ntsc * 1000.0) };
        }
        Self { numerator: 10_000, denominator: whole(fps * 10_000.0) }
    }
}

/// A number between 0 and 2^32, rounded.
fn whole(value: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "cut to the range")]
    let whole = value.round().clamp(0.0, f64::from(u32::MAX)) as u32;
    whole
}

/// What is asked of the device.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Mode {
    pub(super) fourcc: [u8; 4],
    pub(super) format: DeviceFormat,
    /// `None` where the camera lists no rates.
    pub(super) fps: Option<Interval>,
}

/// The mode that suits best: of the size asked for, nearest to the rate, with the least work.
pub(super) fn choose(modes: &[CameraMode], options: &CameraOptions) -> Option<Mode> {
    let wants_jpeg_bytes = options.format == Format::Encoded(Codec::Jpeg);
    let (pixels, rate) = JPEG_FROM;
    let prefers_jpeg = options.width * options.height >= pixels && options.fps >= rate - SAME_RATE;
    let candidates = modes.iter().filter(|mode| (mode.width, mode.height) == (options.width, options.height));
    let rated = candidates.filter_map(|mode| {
        let rank = FORMATS.iter().position(|(fourcc, _)| fourcc.as_slice() == mode.device_format.as_bytes())?;
        let (fourcc, format) = FORMATS.get(rank)?;
        let is_jpeg = *format == DeviceFormat::Jpeg;
        if wants_jpeg_bytes && !is_jpeg {
            return None;
        }
        let nearest =
            mode.fps.iter().copied().min_by(|a, b| (a - options.fps).abs().total_cmp(&(b - options.fps).abs()));
        let off = nearest.map_or(0.0, |fps| (fps - options.fps).abs());
        let off = if off < SAME_RATE { 0.0 } else { off };
        let rank = if is_jpeg && prefers_jpeg { 0 } else { rank + 1 };
        Some((off, rank, Mode { fourcc: **fourcc, format: *format, fps: nearest.map(Interval::of_fps) }))
    });
    rated
        .min_by(|(a_off, a_rank, _), (b_off, b_rank, _)| a_off.total_cmp(b_off).then(a_rank.cmp(b_rank)))
        .map(|best| best.2)
}

/// The modes for an error message, one for each size and format.
pub(super) fn described(modes: &[CameraMode]) -> Vec<String> {
    modes
        .iter()
        .map(|mode| {
            let CameraMode { device_format, width, height, fps } = mode;
            let fps = fps.iter().map(|fps| format!("{fps:.2}")).collect::<Vec<_>>().join("/");
            format!("{device_format} {width} x {height} at {fps} fps")
        })
        .collect()
}

/// What luma and chroma mean, as the driver says it, or as is usual where it does not.
///
/// Source: Linux media documentation, "Colorspaces": default encodings and quantizations.
pub(super) fn colour(mode: &Mode, format: &v4l::Format) -> Colour {
    if mode.format == DeviceFormat::Jpeg {
        return Colour::JPEG;
    }
    let usual = Colour::of_video(format.height);
    let matrix = match format.colorspace {
        Colorspace::SMPTE170M
        | Colorspace::NTSC
        | Colorspace::EBUTech3212
        | Colorspace::JPEG
        | Colorspace::SRGB
        | Colorspace::OPRGB => Matrix::Bt601,
        Colorspace::Rec709 | Colorspace::SMPTE240M | Colorspace::DCIP3 => Matrix::Bt709,
        Colorspace::Rec2020 => Matrix::Bt2020,
        Colorspace::Default | Colorspace::RAW => usual.matrix,
    };
    let range = match format.quantization {
        Quantization::FullRange => Range::Full,
        Quantization::LimitedRange => Range::Limited,
        Quantization::Default if matches!(format.colorspace, Colorspace::JPEG) => Range::Full,
        Quantization::Default => Range::Limited,
    };
    Colour { matrix, range }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(device_format: &str, (width, height): (u32, u32), fps: &[f64]) -> CameraMode {
        CameraMode { device_format: device_format.to_owned(), width, height, fps: fps.to_vec() }
    }

    fn chosen(modes: &[CameraMode], size: (u32, u32), fps: f64, format: Format) -> Option<(String, f64)> {
        let options = CameraOptions { width: size.0, height: size.1, fps, format, ..CameraOptions::default() };
        choose(modes, &options)
            .map(|mode| (String::from_utf8(mode.fourcc.to_vec()).unwrap(), mode.fps.map_or(0.0, Interval::fps)))
    }

    #[test]
    fn the_mode_of_the_size_that_is_nearest_to_the_rate_and_the_least_work_is_chosen() {
        let (vga, hd) = ((640, 480), (1280, 720));
        let modes = [
            mode("MJPG", vga, &[30.0]),
            mode("YUYV", vga, &[30.0, 15.0]),
            mode("YUYV", hd, &[10.0]),
            mode("MJPG", hd, &[60.0, 30.0]),
            mode("H264", vga, &[30.0]),
        ];
        let rgb = Format::Pixels(PixelFormat::Rgb);
        let check = |size, fps, format, expected: Option<(&str, f64)>| {
            let expected = expected.map(|(fourcc, fps)| (fourcc.to_owned(), fps));
            assert_eq!(chosen(&modes, size, fps, format), expected, "{size:?} {fps}");
        };
        check(vga, 30.0, rgb, Some(("YUYV", 30.0)));
        check(vga, 29.97, rgb, Some(("YUYV", 30.0)));
        check(vga, 17.0, rgb, Some(("YUYV", 15.0)));
        check(hd, 30.0, rgb, Some(("MJPG", 30.0)));
        check(hd, 10.0, rgb, Some(("YUYV", 10.0)));
        check(vga, 30.0, Format::Encoded(Codec::Jpeg), Some(("MJPG", 30.0)));
        check((320, 240), 30.0, rgb, None);
        let raw_only = [mode("YUYV", hd, &[30.0])];
        assert_eq!(chosen(&raw_only, hd, 30.0, rgb), Some(("YUYV".to_owned(), 30.0)));
        assert_eq!(chosen(&raw_only, hd, 30.0, Format::Encoded(Codec::Jpeg)), None);
        let both = [mode("YUYV", hd, &[30.0]), mode("MJPG", hd, &[30.0])];
        assert_eq!(chosen(&both, hd, 30.0, rgb).unwrap().0, "MJPG", "asked for at 720p30 and above");
        assert_eq!(chosen(&[mode("GREY", vga, &[])], vga, 5.0, rgb), Some(("GREY".to_owned(), 0.0)));
    }

    #[test]
    fn rates_are_asked_for_as_the_fractions_that_cameras_list() {
        for (fps, numerator, denominator) in
            [(30.0, 1, 30), (30_000.0 / 1001.0, 1001, 30_000), (12.5, 10_000, 125_000), (7.5, 10_000, 75_000)]
        {
            assert_eq!(Interval::of_fps(fps), Interval { numerator, denominator });
        }
        assert_eq!(Interval { numerator: 0, denominator: 30 }.fps(), 0.0);
    }
}
