//! Screens and windows on Windows and macOS, by the xcap library: one still picture after another.
//!
//! Not by its recorders: they hold to no rate, tell no times, and queue without limit or stall. A picture is asked of a
//! screen by its part; a window's would be painted anew by its program, and scaled.
//!
//! Invariants:
//! - A picture has exactly the pixels asked for, or is an error: nothing is scaled.
//! - Sizes are physical pixels, whatever the library counts in (`units`).

mod layout;
#[cfg_attr(windows, path = "windows.rs")]
#[cfg_attr(target_os = "macos", path = "macos.rs")]
mod system;

use std::time::{Duration, Instant};

use xcap::image::RgbaImage;

use self::layout::Found;
pub(super) use self::layout::list;
use super::{Rect, ScreenOptions, ScreenTarget, pixels::convert_screen, units::Question};
use crate::{
    frame::{Colour, Format, Metadata, PixelFormat, Pool, VideoFrame},
    source::{
        Capture, Granted, Number, Picture, SourceError, Step, Stop,
        clock::{Clock, Pace},
    },
};

/// How often it is looked whether the screen is still there, and as large as it was.
const LOOK: Duration = Duration::from_secs(1);

/// An open screen or window.
pub(super) struct Screen {
    options: ScreenOptions,
    granted: Granted,
    found: Found,
    /// In pixels from the corner of the screen.
    area: Rect,
    pool: Pool,
    clock: Clock,
    pace: Pace,
    next_look: Instant,
    is_resized: bool,
}

impl Screen {
    pub(super) fn open(options: &ScreenOptions) -> Result<Self, SourceError> {
        system::check_permission()?;
        let found = layout::find(&options.target)?;
        if options.cursor {
            return Err(SourceError::UnsupportedMode {
                device: found.id,
                wanted: "pictures with the pointer".to_owned(),
                possible: vec!["pictures without it".to_owned()],
            });
        }
        let area = found.rect.part(options.region, &found.id)?;
        let granted = Granted {
            device: found.id.clone(),
            backend: "xcap",
            width: area.width,
            height: area.height,
            fps: options.fps,
            format: Format::Pixels(options.format),
            metadata: Metadata::from([("screen".to_owned(), found.id.clone())]),
        };
        Ok(Self {
            options: options.clone(),
            granted,
            found,
            area,
            pool: Pool::default(),
            clock: Clock::start(),
            pace: Pace::start(options.fps),
            next_look: Instant::now() + LOOK,
            is_resized: false,
        })
    }

    /// Follows a screen that has changed, and a window that has moved.
    fn look(&mut self) -> Result<(), SourceError> {
        self.next_look = Instant::now() + LOOK;
        let found = layout::find(&self.options.target).map_err(|error| match error {
            SourceError::NoSuchDevice { what, id, .. } => SourceError::DeviceLost {
                device: format!("{what} {id}"),
                problem: "it is not there any more".to_owned(),
            },
            other => other,
        })?;
        let area = found.rect.part(self.options.region, &found.id)?;
        self.is_resized |= (area.width, area.height) != (self.area.width, self.area.height);
        (self.granted.width, self.granted.height) = (area.width, area.height);
        (self.area, self.found) = (area, found);
        Ok(())
    }

    /// The pixels of the area, with what had to be asked for beside them.
    fn ask(&self) -> Result<(RgbaImage, Question), SourceError> {
        let question = self.found.place.question(self.area);
        let lost = |problem| SourceError::DeviceLost { device: self.found.id.clone(), problem };
        let Rect { x, y, width, height } = question.units;
        let (Ok(x), Ok(y)) = (u32::try_from(x), u32::try_from(y)) else {
            return Err(lost("the area begins before the screen".to_owned()));
        };
        let image = self.found.monitor.capture_region(x, y, width, height).map_err(|error| lost(error.to_string()))?;
        if image.dimensions() == (question.width, question.height) {
            return Ok((image, question));
        }
        let (got, rows) = image.dimensions();
        Err(lost(format!("it gave {got} x {rows} pixels and not {} x {}", question.width, question.height)))
    }

    fn take(&mut self) -> Result<Picture, SourceError> {
        let mut captured_at = Instant::now();
        let (image, question) = match self.ask() {
            Ok(answer) => answer,
            // It may have changed since it was looked at.
            Err(_) => {
                self.look()?;
                captured_at = Instant::now();
                self.ask()?
            }
        };
        let Rect { x, y, width, height } = self.area;
        let to = self.options.format;
        let mut made = self.pool.take(to.packed_len(width, height)?);
        let pixel = |x: u32, y: u32| usize::try_from((u64::from(y) * u64::from(question.width) + u64::from(x)) * 4);
        let stride = pixel(question.width, 0).unwrap_or(usize::MAX);
        let begin = pixel(question.left, question.top).unwrap_or(usize::MAX);
        let raw = image.as_raw().get(begin..).unwrap_or_default();
        convert_screen(PixelFormat::Rgba, (width, height), stride, raw, to, &mut made, &self.pool)?;

        let mut metadata = Metadata::new();
        self.clock.stamp(captured_at, "host", &mut metadata);
        let corner = self.found.place.pixels();
        metadata.insert("screen_x".to_owned(), corner.x.saturating_add(x).to_string());
        metadata.insert("screen_y".to_owned(), corner.y.saturating_add(y).to_string());
        if std::mem::take(&mut self.is_resized) {
            metadata.insert("resized".to_owned(), "true".to_owned());
        }
        if to.is_yuv() {
            Colour::of_video(height).write(&mut metadata);
        }
        let timestamp_ms = self.clock.wall_ms(captured_at);
        let frame = VideoFrame::try_new(Format::Pixels(to), Some((width, height)), timestamp_ms, made.freeze())?;
        Ok(Picture { frame: frame.with_metadata(metadata), number: Number::Next, captured_at })
    }
}

impl Capture for Screen {
    fn granted(&self) -> &Granted {
        &self.granted
    }

    fn next(&mut self, stop: &Stop) -> Result<Step, SourceError> {
        if self.pace.wait(stop).is_none() {
            return Ok(Step::Idle);
        }
        // A window may move from picture to picture; screens seldom do.
        let is_window = matches!(self.options.target, ScreenTarget::Window(_));
        if is_window || Instant::now() >= self.next_look {
            self.look()?;
        }
        Ok(Step::Picture(self.take()?))
    }
}
