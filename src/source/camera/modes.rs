//! What cameras offer, and which of it suits a wish. Nothing here touches a device.

use std::{collections::BTreeMap, fmt};

use super::CameraOptions;
use crate::{
    frame::{Codec, Colour, Format, PixelFormat},
    source::devices::CameraMode,
};

/// Pictures from this size on do not fit USB 2 raw at [`JPEG_FPS`]: there cameras keep the rate only with JPEG.
const JPEG_PIXELS: u64 = 1280 * 720;

/// The rate that goes with [`JPEG_PIXELS`]; 29.97 counts as 30.
const JPEG_FPS: f64 = 29.9;

/// Rates that differ by less, as a part of the wish, are the same to whoever asks: 30 and 29.97.
const SAME_RATE: f64 = 0.02;

/// Sizes that are listed for a camera that takes any within limits.
const COMMON_SIZES: [(u32, u32); 14] = [
    (160, 120),
    (176, 144),
    (320, 180),
    (320, 240),
    (352, 288),
    (640, 360),
    (640, 480),
    (800, 600),
    (1024, 768),
    (1280, 720),
    (1280, 960),
    (1920, 1080),
    (2560, 1440),
    (3840, 2160),
];

/// Rates that are listed for a camera that takes any within limits.
const COMMON_FPS: [u32; 10] = [120, 90, 60, 50, 30, 25, 24, 20, 15, 10];

/// Lines of an error message that lists modes.
const MAX_LINES: usize = 32;

/// A device's own word for a format.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct FourCc(pub(super) [u8; 4]);

/// How a device's pictures are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeviceFormat {
    /// As they are.
    Pixels(PixelFormat),
    /// `Yuy2` with each pair of bytes swapped.
    Uyvy,
    /// Each picture is a JPEG file, or nearly one.
    Jpeg,
}

/// The formats that can be read, the best first: little work, then little to carry, and what has to be decoded last.
///
/// Source: Linux, "Image Formats". `RGB4` and its like begin with the unused byte, and are not among them.
const FORMATS: [(FourCc, DeviceFormat); 13] = [
    (FourCc(*b"YUYV"), DeviceFormat::Pixels(PixelFormat::Yuy2)),
    (FourCc(*b"NV12"), DeviceFormat::Pixels(PixelFormat::Nv12)),
    (FourCc(*b"YU12"), DeviceFormat::Pixels(PixelFormat::I420)),
    (FourCc(*b"RGB3"), DeviceFormat::Pixels(PixelFormat::Rgb)),
    (FourCc(*b"BGR3"), DeviceFormat::Pixels(PixelFormat::Bgr)),
    (FourCc(*b"XR24"), DeviceFormat::Pixels(PixelFormat::Bgra)),
    (FourCc(*b"AR24"), DeviceFormat::Pixels(PixelFormat::Bgra)),
    (FourCc(*b"BGR4"), DeviceFormat::Pixels(PixelFormat::Bgra)),
    (FourCc(*b"XB24"), DeviceFormat::Pixels(PixelFormat::Rgba)),
    (FourCc(*b"UYVY"), DeviceFormat::Uyvy),
    (FourCc(*b"MJPG"), DeviceFormat::Jpeg),
    (FourCc(*b"JPEG"), DeviceFormat::Jpeg),
    (FourCc(*b"GREY"), DeviceFormat::Pixels(PixelFormat::Gray)),
];

impl FourCc {
    /// How to read it, if it can be read.
    pub(super) fn device_format(self) -> Option<DeviceFormat> {
        FORMATS.iter().find(|(fourcc, _)| *fourcc == self).map(|(_, format)| *format)
    }
}

impl fmt::Display for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.escape_ascii().to_string().trim_end())
    }
}

impl fmt::Debug for FourCc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Seconds from one picture to the next, as a fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) numerator: u32,
    pub(super) denominator: u32,
}

impl Interval {
    /// It, if it is one: devices say 0/0 or 0/1 when they do not know.
    pub(super) const fn checked(self) -> Option<Self> {
        if self.numerator == 0 || self.denominator == 0 { None } else { Some(self) }
    }

    /// Pictures a second. The interval is a [`Self::checked`] one.
    pub(super) fn fps(self) -> f64 {
        f64::from(self.denominator) / f64::from(self.numerator)
    }

    /// The fraction that is usual for a rate: whole rates exact, 29.97 as 1001/30000, the rest in thousandths.
    pub(super) fn of_fps(fps: f64) -> Self {
        let is_close = |a: f64| (a - fps).abs() < 0.001;
        let whole = fps.round();
        let ntsc = (fps * 1.001).round();
        if is_close(whole) && whole >= 1.0 {
            Self { numerator: 1, denominator: to_u32(whole) }
        } else if fps > 2.0 && (ntsc / 1.001 - fps).abs() < 0.006 {
            Self { numerator: 1001, denominator: to_u32(ntsc * 1000.0) }
        } else {
            Self { numerator: 1000, denominator: to_u32(fps * 1000.0) }
        }
    }
}

/// Rounded, and cut to what fits; never 0.
fn to_u32(value: f64) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "cut to the range")]
    let cut = value.round().clamp(1.0, f64::from(u32::MAX)) as u32;
    cut
}

/// Numbers from `min` to `max`, each `step` apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Steps {
    pub(super) min: u32,
    pub(super) max: u32,
    pub(super) step: u32,
}

impl Steps {
    fn contains(self, value: u32) -> bool {
        // A step of 0 is a driver's way to say that there is but one.
        (self.min..=self.max).contains(&value) && (value - self.min).checked_rem(self.step).unwrap_or(0) == 0
    }
}

/// One size, or all within limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) width: Steps,
    pub(super) height: Steps,
}

impl Sizes {
    pub(super) const fn one(width: u32, height: u32) -> Self {
        Self { width: Steps { min: width, max: width, step: 1 }, height: Steps { min: height, max: height, step: 1 } }
    }

    pub(super) fn contains(self, (width, height): (u32, u32)) -> bool {
        self.width.contains(width) && self.height.contains(height)
    }

    /// The sizes to tell people of: the one, or those that are usual, and the largest.
    pub(super) fn to_list(self) -> Vec<(u32, u32)> {
        let largest = (self.width.max, self.height.max);
        let usual = COMMON_SIZES.into_iter().filter(|size| self.contains(*size) && *size != largest);
        usual.chain([largest]).collect()
    }
}

/// One rate (the two are the same), or all within limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rates {
    pub(super) shortest: Interval,
    pub(super) longest: Interval,
}

impl Rates {
    pub(super) const fn one(interval: Interval) -> Self {
        Self { shortest: interval, longest: interval }
    }

    /// The rates to tell people of, in pictures a second.
    pub(super) fn to_list(self) -> Vec<f64> {
        let (Some(shortest), Some(longest)) = (self.shortest.checked(), self.longest.checked()) else {
            return Vec::new();
        };
        let (fastest, slowest) = (shortest.fps(), longest.fps());
        let usual = COMMON_FPS.into_iter().map(f64::from).filter(|fps| slowest < *fps && *fps < fastest);
        let mut rates = vec![fastest];
        rates.extend(usual);
        if slowest < fastest {
            rates.push(slowest);
        }
        rates
    }

    /// The one that is nearest to a wish.
    fn nearest(self, fps: f64) -> Option<Interval> {
        let (shortest, longest) = (self.shortest.checked()?, self.longest.checked()?);
        Some(if fps >= shortest.fps() {
            shortest
        } else if fps <= longest.fps() {
            longest
        } else {
            Interval::of_fps(fps)
        })
    }
}

/// A format that a camera has at the size asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Offer {
    pub(super) fourcc: FourCc,
    /// Empty if the camera does not tell.
    pub(super) rates: Vec<Rates>,
}

/// What is to be asked of a camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) fourcc: FourCc,
    pub(super) format: DeviceFormat,
    /// `None` if the camera tells no rates.
    pub(super) interval: Option<Interval>,
}

/// A camera that has been put into a mode, and what is known of it then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prepared {
    pub(super) choice: Choice,
    pub(super) colour: Colour,
    /// Bytes from one row to the next; 0 for coded pictures.
    pub(super) stride: usize,
}

/// What suits a wish, the best first: what keeps the rate, or comes nearest to it; then the least work.
pub(super) fn rank(offers: &[Offer], options: &CameraOptions) -> Vec<Choice> {
    let wants_jpeg = options.format == Format::Encoded(Codec::Jpeg);
    let pixels = u64::from(options.width) * u64::from(options.height);
    let prefers_jpeg = wants_jpeg || (pixels >= JPEG_PIXELS && options.fps >= JPEG_FPS);
    let mut ranked: Vec<(f64, usize, Choice)> = offers
        .iter()
        .filter_map(|offer| {
            let place = FORMATS.iter().position(|(fourcc, _)| *fourcc == offer.fourcc)?;
            let format = offer.fourcc.device_format()?;
            if wants_jpeg && format != DeviceFormat::Jpeg {
                return None;
            }
            let off_by = |interval: Interval| (interval.fps() - options.fps).abs() / options.fps;
            let nearest = offer.rates.iter().filter_map(|rates| rates.nearest(options.fps));
            let interval = nearest.min_by(|a, b| off_by(*a).total_cmp(&off_by(*b)));
            let off = interval.map_or(0.0, off_by);
            let off = if off <= SAME_RATE { 0.0 } else { off };
            // Nothing to convert, and no more to carry than in other formats.
            let is_wish = matches!(format, DeviceFormat::Pixels(pixels)
                if Format::Pixels(pixels) == options.format && (pixels.is_yuv() || pixels == PixelFormat::Gray));
            let place = match format {
                DeviceFormat::Jpeg if prefers_jpeg => 0,
                _ if is_wish => 1,
                _ => place + 2,
            };
            Some((off, place, Choice { fourcc: offer.fourcc, format, interval }))
        })
        .collect();
    ranked.sort_by(|(a_off, a_place, _), (b_off, b_place, _)| a_off.total_cmp(b_off).then(a_place.cmp(b_place)));
    ranked.into_iter().map(|(_, _, choice)| choice).collect()
}

/// Modes for an error message, one line for each size: `640x480 at 30, 25 fps (YUYV, MJPG)`.
pub(super) fn describe(modes: &[CameraMode], options: &CameraOptions) -> Vec<String> {
    let wants_jpeg = options.format == Format::Encoded(Codec::Jpeg);
    let is_readable = |mode: &&CameraMode| {
        let format = FORMATS.iter().find(|(fourcc, _)| fourcc.to_string() == mode.device_format).map(|row| row.1);
        format.is_some_and(|format| !wants_jpeg || format == DeviceFormat::Jpeg)
    };
    let mut sizes: BTreeMap<(u32, u32), Vec<&CameraMode>> = BTreeMap::new();
    for mode in modes.iter().filter(is_readable) {
        sizes.entry((mode.width, mode.height)).or_default().push(mode);
    }
    let line = |((width, height), modes): (&(u32, u32), &Vec<&CameraMode>)| {
        let mut rates: Vec<f64> = modes.iter().flat_map(|mode| mode.fps.iter().copied()).collect();
        sort_fps(&mut rates);
        let rates: Vec<_> = rates.iter().map(|fps| format!("{}", (fps * 100.0).round() / 100.0)).collect();
        let at = if rates.is_empty() { String::new() } else { format!(" at {} fps", rates.join(", ")) };
        let mut formats: Vec<_> = modes.iter().map(|mode| mode.device_format.as_str()).collect();
        formats.dedup();
        format!("{width}x{height}{at} ({})", formats.join(", "))
    };
    let mut lines: Vec<String> = sizes.iter().take(MAX_LINES).map(line).collect();
    if sizes.len() > MAX_LINES {
        lines.push(format!("{} more", sizes.len() - MAX_LINES));
    }
    lines
}

/// The fastest first, each once.
pub(super) fn sort_fps(rates: &mut Vec<f64>) {
    rates.sort_by(|a, b| b.total_cmp(a));
    rates.dedup();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interval(numerator: u32, denominator: u32) -> Interval {
        Interval { numerator, denominator }
    }

    fn offer(fourcc: &[u8; 4], intervals: &[(u32, u32)]) -> Offer {
        let rates = intervals.iter().map(|(numerator, denominator)| Rates::one(interval(*numerator, *denominator)));
        Offer { fourcc: FourCc(*fourcc), rates: rates.collect() }
    }

    fn wish(size: (u32, u32), fps: f64, format: &str) -> CameraOptions {
        let format = Format::parse(format).unwrap();
        CameraOptions { width: size.0, height: size.1, fps, format, ..CameraOptions::default() }
    }

    /// The best choice, in words.
    fn best(offers: &[Offer], wish: &CameraOptions) -> Option<(String, Option<(u32, u32)>)> {
        let choice = *rank(offers, wish).first()?;
        let interval = choice.interval.map(|interval| (interval.numerator, interval.denominator));
        Some((choice.fourcc.to_string(), interval))
    }

    const VGA: (u32, u32) = (640, 480);
    const HD: (u32, u32) = (1280, 720);

    #[test]
    fn words_of_devices_are_read_and_shown() {
        for (fourcc, format) in FORMATS {
            assert_eq!(fourcc.device_format(), Some(format), "{fourcc}");
            assert_eq!(fourcc.to_string().as_bytes(), fourcc.0);
        }
        for unknown in [b"H264", b"RGB4", b"GRAY", b"BA81"] {
            assert_eq!(FourCc(*unknown).device_format(), None);
        }
        assert_eq!(FourCc(*b"Y16 ").to_string(), "Y16");
        assert_eq!(FourCc(*b"Y\x00\xffZ").to_string(), "Y\\x00\\xffZ");
    }

    #[test]
    fn rates_become_the_fractions_that_cameras_have() {
        let check = |fps, numerator, denominator| {
            assert_eq!(Interval::of_fps(fps), interval(numerator, denominator), "{fps}");
        };
        check(30.0, 1, 30);
        check(29.97, 1001, 30_000);
        check(23.976, 1001, 24_000);
        check(59.94, 1001, 60_000);
        check(12.5, 1000, 12_500);
        check(7.5, 1000, 7500);
        check(0.5, 1000, 500);
        check(0.01, 1000, 10);
        assert!((interval(2, 25).fps() - 12.5).abs() < 1e-9);
        assert!((interval(1001, 30_000).fps() - 29.97).abs() < 1e-3);
        for (numerator, denominator, is_one) in [(1, 30, true), (0, 0, false), (0, 1, false), (1, 0, false)] {
            assert_eq!(interval(numerator, denominator).checked().is_some(), is_one);
        }
    }

    #[test]
    fn a_raw_format_is_chosen_where_it_keeps_the_rate() {
        let offers = [
            offer(b"MJPG", &[(1, 60), (1, 30), (1, 15)]),
            offer(b"NV12", &[(1, 30)]),
            offer(b"YUYV", &[(1, 30), (1, 15)]),
            offer(b"GREY", &[(1, 30)]),
            offer(b"H264", &[(1, 30)]),
        ];
        let check = |fps, format, fourcc: &str, expected| {
            assert_eq!(best(&offers, &wish(VGA, fps, format)), Some((fourcc.to_owned(), Some(expected))), "{fps}");
        };
        check(30.0, "rgb", "YUYV", (1, 30));
        check(29.97, "rgb", "YUYV", (1, 30));
        check(30.0, "nv12", "NV12", (1, 30));
        check(30.0, "gray", "GREY", (1, 30));
        check(30.0, "i420", "YUYV", (1, 30));
        check(30.0, "jpeg", "MJPG", (1, 30));
        check(60.0, "rgb", "MJPG", (1, 60));
        check(15.0, "rgb", "YUYV", (1, 15));
        check(15.0, "nv12", "YUYV", (1, 15));
        check(20.0, "rgb", "YUYV", (1, 15));
        assert_eq!(rank(&offers, &wish(VGA, 30.0, "rgb")).len(), 4, "the one that cannot be read is left out");
        assert_eq!(rank(&offers[1..], &wish(VGA, 30.0, "jpeg")), [], "nothing is encoded here");
    }

    #[test]
    fn jpeg_is_asked_for_where_raw_pictures_do_not_fit_the_bus() {
        let both = [offer(b"YUYV", &[(1, 30), (1, 10)]), offer(b"MJPG", &[(1, 30), (1, 10)])];
        let fourcc = |size, fps| best(&both, &wish(size, fps, "rgb")).unwrap().0;
        assert_eq!(fourcc(HD, 30.0), "MJPG");
        assert_eq!(fourcc(HD, 29.97), "MJPG");
        assert_eq!(fourcc(HD, 10.0), "YUYV");
        assert_eq!(fourcc((1920, 1080), 30.0), "MJPG");
        assert_eq!(fourcc((1280, 719), 30.0), "YUYV");
        let raw = [offer(b"YUYV", &[(1, 10)])];
        assert_eq!(best(&raw, &wish(HD, 30.0, "rgb")), Some(("YUYV".to_owned(), Some((1, 10)))), "what is offered");
        let wished = [offer(b"YUYV", &[(1, 5)]), offer(b"NV12", &[(1, 5)])];
        assert_eq!(best(&wished, &wish(HD, 30.0, "nv12")).unwrap().0, "NV12");
        let slow_jpeg = [offer(b"YUYV", &[(1, 30)]), offer(b"MJPG", &[(1, 15)])];
        assert_eq!(best(&slow_jpeg, &wish(HD, 30.0, "rgb")).unwrap().0, "YUYV");
    }

    #[test]
    fn rates_of_any_fraction_and_any_within_limits_are_met() {
        let odd = [offer(b"YUYV", &[(1001, 30_000), (2, 25), (1, 5)])];
        let rate = |offers: &[Offer], fps| best(offers, &wish(VGA, fps, "rgb")).unwrap().1;
        assert_eq!(rate(&odd, 30.0), Some((1001, 30_000)));
        assert_eq!(rate(&odd, 12.5), Some((2, 25)));
        assert_eq!(rate(&odd, 1.0), Some((1, 5)));
        let any = [Offer {
            fourcc: FourCc(*b"YUYV"),
            rates: vec![Rates { shortest: interval(1, 60), longest: interval(1, 5) }],
        }];
        assert_eq!(rate(&any, 30.0), Some((1, 30)));
        assert_eq!(rate(&any, 100.0), Some((1, 60)));
        assert_eq!(rate(&any, 1.0), Some((1, 5)));
        assert_eq!(rate(&[offer(b"YUYV", &[])], 30.0), None, "a camera that tells no rates");
        assert_eq!(rate(&[offer(b"YUYV", &[(0, 0)])], 30.0), None, "or none that is one");
    }

    #[test]
    fn sizes_within_limits_are_offered_as_the_usual_ones_and_taken_as_any() {
        let any = Sizes { width: Steps { min: 48, max: 1288, step: 8 }, height: Steps { min: 32, max: 720, step: 4 } };
        let list = any.to_list();
        assert!(list.contains(&VGA) && list.contains(&HD) && list.contains(&(1288, 720)), "{list:?}");
        assert!(!list.contains(&(1920, 1080)) && !list.contains(&(1024, 768)));
        assert!(any.contains((56, 36)) && !any.contains((50, 36)) && !any.contains((56, 34)));
        assert!(!any.contains((40, 32)) && !any.contains((1296, 720)));
        assert_eq!(Sizes::one(7, 5).to_list(), [(7, 5)]);
        let continuous =
            Sizes { width: Steps { min: 1, max: 800, step: 0 }, height: Steps { min: 1, max: 600, step: 0 } };
        assert!(continuous.contains((333, 77)));
        let steps = Rates { shortest: interval(1, 60), longest: interval(1, 12) };
        assert_eq!(steps.to_list(), [60.0, 50.0, 30.0, 25.0, 24.0, 20.0, 15.0, 12.0]);
        assert_eq!(Rates::one(interval(1, 25)).to_list(), [25.0]);
        assert_eq!(Rates::one(interval(0, 1)).to_list(), [0.0; 0]);
    }

    #[test]
    fn a_message_lists_each_size_once_and_is_not_long() {
        let mode = |fourcc: &str, (width, height): (u32, u32), fps: &[f64]| CameraMode {
            device_format: fourcc.to_owned(),
            width,
            height,
            fps: fps.to_vec(),
        };
        let modes = [
            mode("YUYV", VGA, &[30.0, 12.5]),
            mode("MJPG", VGA, &[30.0, 30_000.0 / 1001.0]),
            mode("H264", HD, &[30.0]),
        ];
        assert_eq!(describe(&modes, &wish(HD, 30.0, "rgb")), ["640x480 at 30, 29.97, 12.5 fps (YUYV, MJPG)"]);
        assert_eq!(describe(&modes, &wish(HD, 30.0, "jpeg")), ["640x480 at 30, 29.97 fps (MJPG)"]);
        let many: Vec<_> = (1..100).map(|side| mode("YUYV", (side, side), &[])).collect();
        let lines = describe(&many, &wish(HD, 30.0, "rgb"));
        assert_eq!((lines.len(), lines.last().unwrap().as_str()), (MAX_LINES + 1, "67 more"));
        assert_eq!(lines[0], "1x1 (YUYV)");
    }
}
