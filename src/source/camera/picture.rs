//! A device's bytes made a picture of the format asked for.

use std::{
    fmt,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;

use super::{mjpeg, modes::DeviceFormat};
use crate::{
    frame::{
        Codec, Colour, Format, FrameError, Metadata, PixelFormat, Pool, Range, VideoFrame,
        convert::{self, RawLayout, RawView},
        still::{self, StillError},
    },
    source::{
        Number, Picture,
        clock::{Clock, sane_age},
    },
};

/// When a device says that it took a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stamp {
    /// By the system's monotonic clock.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Video4Linux tells it"))]
    MonoUs(u64),
    /// Since 1970.
    Wall(Duration),
    /// It does not, or by a clock of its own.
    Unknown,
}

impl Stamp {
    /// When that was, if it can be true: neither zero nor in the future nor long ago.
    fn moment(self, clock: &Clock) -> Option<Instant> {
        match self {
            Self::MonoUs(stamp_us) => clock.at_sane_mono_us(stamp_us),
            Self::Wall(stamp) => {
                let age = sane_age(stamp, SystemTime::now().duration_since(UNIX_EPOCH).ok()?)?;
                Instant::now().checked_sub(age)
            }
            Self::Unknown => None,
        }
    }
}

/// Makes pictures of one mode.
#[derive(Debug)]
pub(super) struct Developer {
    width: u32,
    height: u32,
    /// What comes.
    pub(super) from: DeviceFormat,
    /// Bytes from one row to the next; 0 if rows follow each other.
    pub(super) stride: usize,
    colour: Colour,
    /// What is wanted.
    to: Format,
    clock: Clock,
    pool: Pool,
    /// Pictures that were left out because they were broken.
    broken: u64,
}

impl Developer {
    pub(super) fn new(size: (u32, u32), from: DeviceFormat, stride: usize, colour: Colour, to: Format) -> Self {
        let (width, height) = size;
        let colour = if from == DeviceFormat::Jpeg { Colour::JPEG } else { colour };
        let (clock, pool) = (Clock::start(), Pool::default());
        Self { width, height, from, stride, colour, to, clock, pool, broken: 0 }
    }

    /// What holds for all pictures.
    pub(super) fn metadata(&self, device_format: String) -> Metadata {
        let mut metadata = Metadata::from([("device_format".to_owned(), device_format)]);
        self.colour.write(&mut metadata);
        metadata
    }

    /// The picture in a filled buffer; `None`, and counted, for one that is broken.
    pub(super) fn develop(&mut self, data: &[u8], stamp: Stamp, number: Number) -> Option<Picture> {
        let (captured_at, clock) = match stamp.moment(&self.clock) {
            Some(captured_at) => (captured_at, "kernel"),
            None => (Instant::now(), "host"),
        };
        match self.frame(data, self.clock.wall_ms(captured_at)) {
            Ok(frame) => {
                let mut metadata = frame.metadata().clone();
                self.clock.stamp(captured_at, clock, &mut metadata);
                if self.broken > 0 {
                    metadata.insert("broken".to_owned(), self.broken.to_string());
                }
                Some(Picture { frame: frame.with_metadata(metadata), number, captured_at })
            }
            Err(error) => {
                self.skip(&error);
                None
            }
        }
    }

    /// Counts a picture that is left out.
    pub(super) fn skip(&mut self, problem: &dyn fmt::Display) {
        self.broken += 1;
        tracing::debug!(%problem, broken = self.broken, "a camera's picture is left out");
    }

    fn frame(&self, data: &[u8], timestamp_ms: u64) -> Result<VideoFrame, StillError> {
        let size = Some((self.width, self.height));
        let pixels = match (self.from, self.to) {
            (DeviceFormat::Jpeg, to) => {
                let format = Format::Encoded(Codec::Jpeg);
                let file = mjpeg::tidy(data).ok_or(FrameError::NotThatFormat { format, found: "no picture" })?;
                let coded = VideoFrame::try_new(format, size, timestamp_ms, file.into())?;
                return match to {
                    Format::Pixels(to) => still::decode(&coded, to, &self.pool),
                    Format::Encoded(_) => Ok(coded),
                };
            }
            (DeviceFormat::Pixels(from), Format::Pixels(to)) => self.convert(from, data, to)?,
            (DeviceFormat::Uyvy, Format::Pixels(to)) => {
                let mut swapped = self.pool.take(data.len());
                for (to, from) in swapped.chunks_exact_mut(2).zip(data.chunks_exact(2)) {
                    if let ([a, b], [c, d]) = (to, from) {
                        (*a, *b) = (*d, *c);
                    }
                }
                self.convert(PixelFormat::Yuy2, &swapped, to)?
            }
            (DeviceFormat::Pixels(_) | DeviceFormat::Uyvy, Format::Encoded(codec)) => {
                // Modes are chosen so that this cannot be.
                return Err(FrameError::NotThatFormat { format: Format::Encoded(codec), found: "pixels" }.into());
            }
        };
        Ok(VideoFrame::try_new(self.to, size, timestamp_ms, pixels)?)
    }

    fn convert(&self, from: PixelFormat, data: &[u8], to: PixelFormat) -> Result<Bytes, FrameError> {
        let view = RawView::new(from, self.width, self.height, self.stride, data)?;
        if from == PixelFormat::Gray && self.colour.range == Range::Limited {
            return self.convert_luma(data, to);
        }
        let has_fourth = |format| matches!(format, PixelFormat::Rgba | PixelFormat::Bgra);
        if !(has_fourth(from) && has_fourth(to)) {
            return convert::convert(&view, self.colour, to, &self.pool);
        }
        // A camera knows no alpha: whatever stands in its fourth byte is none.
        let mut made = self.pool.take(to.packed_len(self.width, self.height)?);
        convert::convert_into(&view, self.colour, to, &mut made, &self.pool)?;
        for pixel in made.chunks_exact_mut(4) {
            if let [_, _, _, alpha] = pixel {
                *alpha = u8::MAX;
            }
        }
        Ok(made.freeze())
    }

    /// Luma of limited range, which `gray` is not: as a picture whose chroma says nothing.
    fn convert_luma(&self, data: &[u8], to: PixelFormat) -> Result<Bytes, FrameError> {
        let layout = RawLayout::Pixels(PixelFormat::I420);
        let [(row, _), (chroma_row, chroma_rows), _] = layout.planes(self.width, self.height);
        let mut chroma = self.pool.take(chroma_row * chroma_rows);
        chroma.fill(128);
        let neutral = (&*chroma, chroma_row);
        let luma = (data, if self.stride == 0 { row } else { self.stride });
        let view = RawView::from_planes(layout, self.width, self.height, [luma, neutral, neutral])?;
        convert::convert(&view, self.colour, to, &self.pool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{frame::Matrix, source::clock::monotonic_us};

    const VIDEO: Colour = Colour { matrix: Matrix::Bt601, range: Range::Limited };

    fn developer(from: DeviceFormat, stride: usize, to: &str) -> Developer {
        Developer::new((4, 2), from, stride, VIDEO, Format::parse(to).unwrap())
    }

    fn bytes(developer: &mut Developer, data: &[u8]) -> Option<Vec<u8>> {
        let picture = developer.develop(data, Stamp::Unknown, Number::Sequence(7))?;
        assert_eq!(picture.number, Number::Sequence(7));
        Some(picture.frame.frame_data().to_vec())
    }

    #[test]
    fn a_picture_is_from_when_it_was_taken_and_not_from_when_it_came() {
        let mut developer = developer(DeviceFormat::Pixels(PixelFormat::Yuy2), 0, "yuy2");
        let mut taken = |stamp| {
            let picture = developer.develop(&[0; 16], stamp, Number::Next).unwrap();
            let clock = picture.frame.metadata()["clock"].clone();
            (picture.captured_at, picture.frame.timestamp_ms(), clock)
        };
        let before = Duration::from_secs(1);
        let ago = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() - before;
        let (by_mono, _, clock) = taken(Stamp::MonoUs(monotonic_us() - 1_000_000));
        assert_eq!(clock, "kernel");
        let (by_wall, wall_ms, clock) = taken(Stamp::Wall(ago));
        assert_eq!(clock, "kernel");
        let (now, now_ms, clock) = taken(Stamp::Unknown);
        assert_eq!(clock, "host");
        assert!(now - by_mono >= before && now - by_wall >= before && now_ms - wall_ms >= 999);
        assert_eq!(taken(Stamp::MonoUs(monotonic_us() + 60_000_000)).2, "host");
    }

    #[test]
    fn rows_are_taken_where_the_device_puts_them() {
        let mut padded = developer(DeviceFormat::Pixels(PixelFormat::Yuy2), 12, "yuy2");
        let row = [16, 128, 17, 128, 18, 128, 19, 128];
        let data = [&row[..], &[9; 4], &row[..], &[9; 4]].concat();
        assert_eq!(bytes(&mut padded, &data).unwrap(), [row, row].concat());
        assert_eq!(bytes(&mut padded, &data[..20]).unwrap(), [row, row].concat(), "the last row needs no padding");
        assert_eq!(bytes(&mut padded, &data[..19]), None, "a transfer that was cut short");
        assert_eq!(padded.broken, 1);
        let picture = padded.develop(&data, Stamp::Unknown, Number::Next).unwrap();
        assert_eq!(picture.frame.metadata()["broken"], "1");
    }

    #[test]
    fn swapped_pairs_are_put_right() {
        let mut swapped = developer(DeviceFormat::Uyvy, 0, "yuy2");
        let data: Vec<u8> = (0..16).collect();
        let right: Vec<u8> = (0..16).map(|at| at ^ 1).collect();
        assert_eq!(bytes(&mut swapped, &data).unwrap(), right);
        assert_eq!(bytes(&mut swapped, &data[..15]), None);
    }

    #[test]
    fn luma_of_limited_range_is_stretched_and_that_of_full_range_is_not() {
        let data = [16, 235, 0, 255, 125, 16, 16, 16, 9, 9, 235, 235, 235, 235, 9, 9];
        let gray = DeviceFormat::Pixels(PixelFormat::Gray);
        let mut limited = developer(gray, 10, "gray");
        assert_eq!(bytes(&mut limited, &data[..14]).unwrap(), [0, 255, 0, 255, 255, 255, 255, 255]);
        let mut rgb = developer(gray, 8, "rgb");
        let made = bytes(&mut rgb, &data).unwrap();
        assert_eq!((&made[..6], &made[12..15]), (&[0, 0, 0, 255, 255, 255][..], &[0; 3][..]));
        let full = Colour { range: Range::Full, ..VIDEO };
        let mut full = Developer::new((4, 2), gray, 8, full, Format::Pixels(PixelFormat::Gray));
        assert_eq!(bytes(&mut full, &data).unwrap(), [16, 235, 0, 255, 9, 9, 235, 235]);
    }

    #[test]
    fn a_camera_has_no_alpha() {
        let data: Vec<u8> = (0..32).collect();
        for to in ["bgra", "rgba"] {
            let made = bytes(&mut developer(DeviceFormat::Pixels(PixelFormat::Bgra), 0, to), &data).unwrap();
            assert!(made.chunks(4).all(|pixel| pixel[3] == 255), "{to}");
            assert_eq!(made[1], 1);
        }
    }

    #[test]
    fn a_jpeg_is_decoded_or_passed_on_and_a_broken_one_is_counted() {
        let file = include_bytes!("../../../tests/golden/gradient-64x48.jpg");
        let padded = [file.as_slice(), &[0; 100]].concat();
        let from = DeviceFormat::Jpeg;
        let mut pass = Developer::new((64, 48), from, 0, VIDEO, Format::Encoded(Codec::Jpeg));
        assert_eq!(bytes(&mut pass, &padded).unwrap(), file);
        assert_eq!(pass.metadata("MJPG".to_owned())["color_range"], "full");
        let mut decode = Developer::new((64, 48), from, 0, VIDEO, Format::Pixels(PixelFormat::Rgb));
        assert_eq!(bytes(&mut decode, &padded).unwrap().len(), 64 * 48 * 3);
        assert_eq!(bytes(&mut decode, &file[..file.len() / 2]), None);
        assert_eq!(bytes(&mut decode, b""), None);
        assert_eq!(decode.broken, 2);
        let mut other_size = Developer::new((48, 64), from, 0, VIDEO, Format::Encoded(Codec::Jpeg));
        assert_eq!(bytes(&mut other_size, file), None);
    }
}
