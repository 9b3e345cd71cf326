//! Wayland: pictures by wlroots' screencopy, into memory that the compositor and we share.
//!
//! Belongs here: which output, which picture in which interval, what is a repeat.
//! Does not belong here: the socket (`connection`), one copy (`copy`), where pixels lie (`cut`).
//!
//! Invariants:
//! - Each interval of the rate has one picture: what the compositor copies in it, as soon as it is there; at the
//!   interval's end the last picture again, marked as a repeat, if nothing has changed on the screen.
//! - Copies are asked for one at a time, at the beginning of an interval: one that nobody wants is not made.
//! - A picture that was copied while its output changed is thrown away: nobody knows how it lies.
//!
//! Data path: compositor -> `copy::Copier` -> `cut::Walk` -> `pixels::convert_screen` -> `Capture::next`.

mod connection;
mod copy;
mod cut;
mod outputs;

use std::time::{Duration, Instant};

pub(super) use self::connection::Link;
use self::{
    connection::{ANSWER_LIMIT, lost},
    copy::{Copied, Copier, Progress, When},
    cut::{Ask, Held},
    outputs::{Output, Shape},
};
use super::{Rect, SCREENCOPY, ScreenOptions, pixels::convert_screen, way::Compositor};
use crate::{
    frame::{Colour, Format, Metadata, Pool, VideoFrame},
    source::{
        Capture, Granted, Number, Picture, SourceError, Step, Stop, TICK,
        clock::{Clock, Pace},
        devices::ScreenInfo,
    },
};

/// Longest time without a picture of an output that has to give one: it may be switched off.
const STALL: Duration = ANSWER_LIMIT;

/// Version of screencopy that can wait for a change.
const DAMAGE_SINCE: u32 = 2;

/// Connects to the session's compositor.
///
/// # Errors
///
/// Why there is none to talk to.
pub(super) fn connect(stop: &Stop) -> Result<Link, Compositor> {
    Link::to_session(stop)
}

/// The screens of the session, the primary one first.
pub(super) fn list(link: &Link) -> Vec<ScreenInfo> {
    outputs::screens(&link.state.outputs)
}

/// An open screen.
pub(super) struct Screencopy {
    link: Link,
    options: ScreenOptions,
    granted: Granted,
    /// The compositor's number of the output.
    output: u32,
    copier: Copier,
    when: When,
    /// Regions of this shape do not come as they should: the whole is asked for.
    is_whole_of: Option<Shape>,
    pool: Pool,
    clock: Clock,
    pace: Pace,
    /// The end of an interval that has no picture yet.
    due: Option<Instant>,
    last: Option<VideoFrame>,
    /// Since when a picture is overdue.
    waiting_since: Option<Instant>,
    /// When the next copy may be asked for: one that fails does so at once.
    retry_at: Instant,
}

impl Screencopy {
    /// Opens an output of a compositor that has screencopy.
    ///
    /// # Errors
    ///
    /// [`SourceError`].
    pub(super) fn open(link: Link, options: &ScreenOptions, stop: &Stop) -> Result<Self, SourceError> {
        let output = outputs::find(&link.state.outputs, &options.target)?;
        let (global, id) = (output.global, output.id());
        let area = whole(output.shape()).part(options.region, &id)?;
        let granted = Granted {
            device: id.clone(),
            backend: SCREENCOPY,
            width: area.width,
            height: area.height,
            fps: options.fps,
            format: Format::Pixels(options.format),
            metadata: Metadata::from([("screen".to_owned(), id)]),
        };
        let mut opened = Self {
            link,
            options: options.clone(),
            granted,
            output: global,
            copier: Copier::default(),
            when: When::AtOnce,
            is_whole_of: None,
            pool: Pool::default(),
            clock: Clock::start(),
            pace: Pace::start(options.fps),
            due: None,
            last: None,
            waiting_since: None,
            retry_at: Instant::now(),
        };
        opened.begin()?;
        opened.wait_for_announcement(stop)?;
        Ok(opened)
    }

    /// Whoever opens a screen that cannot be read learns of it at once.
    fn wait_for_announcement(&mut self, stop: &Stop) -> Result<(), SourceError> {
        let due = Instant::now() + STALL;
        while self.copier.announced(&self.link.state)?.is_none() {
            if Instant::now() > due || stop.is_set() || self.link.state.frame.has_failed() {
                return Err(self.gone("the compositor gives no picture of it; it may be switched off"));
            }
            self.link.pump(Instant::now() + TICK)?;
        }
        Ok(())
    }

    fn gone(&self, problem: &str) -> SourceError {
        SourceError::DeviceLost { device: format!("screen {}", self.granted.device), problem: problem.to_owned() }
    }

    fn output(&self) -> Result<&Output, SourceError> {
        let found = self.link.state.outputs.iter().find(|output| output.global == self.output);
        found.ok_or_else(|| self.gone("it is not there any more"))
    }

    /// The part that is captured, as a person sees it.
    fn area(&self, seen: (u32, u32)) -> Result<Rect, SourceError> {
        Rect { x: 0, y: 0, width: seen.0, height: seen.1 }.part(self.options.region, &self.granted.device)
    }

    fn begin(&mut self) -> Result<(), SourceError> {
        let output = self.output()?;
        let (proxy, shape) = (output.proxy.clone(), output.shape());
        let ask = if self.is_whole_of == Some(shape) {
            Ask::Whole
        } else {
            cut::ask(shape.seen(), shape.logical, shape.transform, self.area(shape.seen())?)
        };
        let handle = self.link.handle();
        self.copier.begin(&mut self.link.state, &handle, &proxy, shape, ask, self.options.cursor)
    }

    /// What the compositor has done by now: a picture, if it is a good one.
    fn take(&mut self) -> Result<Option<Picture>, SourceError> {
        let shape = self.output()?.shape();
        if self.copier.shape().is_some_and(|asked| asked != shape) {
            self.copier.cancel();
            self.when = When::AtOnce;
        }
        if !self.copier.is_busy() {
            if Instant::now() < self.retry_at {
                return Ok(None);
            }
            self.begin()?;
        }
        let handle = self.link.handle();
        match self.copier.advance(&self.link.state, &handle, self.when)? {
            Progress::Waiting => Ok(None),
            Progress::Failed => {
                // What has changed until now may be forgotten.
                self.when = When::AtOnce;
                self.retry_at = Instant::now() + TICK;
                Ok(None)
            }
            Progress::Ready(copied) => {
                // What the compositor has said in the same breath about the output counts for this picture.
                self.link.pump(Instant::now())?;
                if self.output()?.shape() != copied.shape {
                    self.when = When::AtOnce;
                    return Ok(None);
                }
                self.picture(&copied)
            }
        }
    }

    fn picture(&mut self, copied: &Copied) -> Result<Option<Picture>, SourceError> {
        let layout = copied.layout;
        let held = Held {
            width: layout.width,
            height: layout.height,
            stride: layout.stride / 4,
            transform: copied.shape.transform,
            is_upside_down: copied.is_upside_down,
        };
        let seen = match copied.ask {
            Ask::Whole => held.seen(),
            Ask::Part { .. } => copied.shape.seen(),
        };
        let area = self.area(seen)?;
        let (corner, asked_for) = match copied.ask {
            Ask::Whole => ((0, 0), seen),
            Ask::Part { physical, .. } => ((physical.x, physical.y), (physical.width, physical.height)),
        };
        if held.seen() != asked_for {
            tracing::debug!(?copied, "a region has another size than it should: whole screens are taken");
            self.is_whole_of = Some(copied.shape);
            self.when = When::AtOnce;
            return Ok(None);
        }
        let within = Rect { x: area.x - corner.0, y: area.y - corner.1, ..area };
        let walk = held.walk(within).ok_or_else(|| lost("a copy is smaller than its screen"))?;
        let (size, to) = ((area.width, area.height), self.options.format);
        let mut made = self.pool.take(to.packed_len(area.width, area.height)?);
        let bytes = self.copier.bytes();
        if let Some((first, stride)) = walk.straight() {
            let rows = bytes.get(first..).unwrap_or_default();
            convert_screen(copied.format, size, stride, rows, to, &mut made, &self.pool)?;
        } else {
            let mut upright = self.pool.take(copied.format.packed_len(area.width, area.height)?);
            if !walk.copy(bytes, &mut upright) {
                return Err(lost("a copy is shorter than it was said to be"));
            }
            convert_screen(copied.format, size, 0, &upright, to, &mut made, &self.pool)?;
        }
        let (captured_at, clock) = match self.clock.at_sane_mono_us(copied.mono_us) {
            Some(at) => (at, "kernel"),
            None => (Instant::now(), "host"),
        };
        let mut metadata = Metadata::new();
        self.clock.stamp(captured_at, clock, &mut metadata);
        let place = self.output()?.place();
        metadata.insert("screen_x".to_owned(), place.0.saturating_add(area.x).to_string());
        metadata.insert("screen_y".to_owned(), place.1.saturating_add(area.y).to_string());
        if to.is_yuv() {
            Colour::of_video(area.height).write(&mut metadata);
        }
        if (self.granted.width, self.granted.height) != size {
            (self.granted.width, self.granted.height) = size;
            metadata.insert("resized".to_owned(), "true".to_owned());
        }
        let frame =
            VideoFrame::try_new(Format::Pixels(to), Some(size), self.clock.wall_ms(captured_at), made.freeze())?;
        let frame = frame.with_metadata(metadata);
        self.when = self.when_next();
        self.waiting_since = None;
        self.last = Some(frame.clone());
        Ok(Some(Picture { frame, number: Number::Next, captured_at }))
    }

    fn when_next(&self) -> When {
        let version = self.link.state.screencopy.as_ref().map_or(1, wayland_client::Proxy::version);
        if version >= DAMAGE_SINCE { When::OnDamage } else { When::AtOnce }
    }

    /// The last picture once more: the screen still looks like that.
    fn repeat(&self) -> Result<Step, SourceError> {
        let Some(last) = &self.last else {
            return Ok(Step::Idle);
        };
        let now = Instant::now();
        let mut metadata = last.metadata().clone();
        metadata.remove("resized");
        metadata.insert("repeat".to_owned(), "true".to_owned());
        self.clock.stamp(now, "host", &mut metadata);
        let frame = VideoFrame::try_new(
            last.format(),
            Some((last.width(), last.height())),
            self.clock.wall_ms(now),
            last.frame_data().clone(),
        )?;
        Ok(Step::Picture(Picture { frame: frame.with_metadata(metadata), number: Number::Next, captured_at: now }))
    }

    /// Notices that the compositor hangs, that the output is gone, or gives no pictures any more.
    fn check(&mut self) -> Result<(), SourceError> {
        self.link.check_alive()?;
        self.output()?;
        if self.when == When::OnDamage {
            return Ok(());
        }
        let now = Instant::now();
        let since = *self.waiting_since.get_or_insert(now);
        if now.saturating_duration_since(since) > STALL {
            return Err(self.gone("the compositor gives no picture of it any more; it may be switched off"));
        }
        Ok(())
    }
}

impl Capture for Screencopy {
    fn granted(&self) -> &Granted {
        &self.granted
    }

    fn next(&mut self, stop: &Stop) -> Result<Step, SourceError> {
        let due = match self.due {
            Some(due) => due,
            None => {
                if self.pace.wait(stop).is_none() {
                    self.waiting_since = None;
                    self.link.pump(Instant::now())?;
                    self.link.check_alive()?;
                    return Ok(Step::Idle);
                }
                *self.due.insert(self.pace.next_due())
            }
        };
        let until = due.min(Instant::now() + TICK);
        loop {
            if let Some(picture) = self.take()? {
                self.due = None;
                return Ok(Step::Picture(picture));
            }
            let now = Instant::now();
            if now >= until || stop.is_set() {
                break;
            }
            self.link.pump(until)?;
            self.check()?;
        }
        self.link.pump(Instant::now())?;
        self.check()?;
        if Instant::now() < due {
            return Ok(Step::Idle);
        }
        self.due = None;
        self.repeat()
    }
}

fn whole(shape: Shape) -> Rect {
    let (width, height) = shape.seen();
    Rect { x: 0, y: 0, width, height }
}
