//! X11: pictures by MIT-SHM, into memory that the server and we share; over the socket where there is none.

mod cursor;
mod grab;
mod layout;
mod link;

use std::time::{Duration, Instant};

use x11rb::connection::Connection;

pub(super) use self::layout::list;
use self::{
    grab::{Grabber, Pixels},
    layout::Found,
    link::{Link, connect, lost, unless_refused},
};
use super::{Rect, ScreenOptions, ScreenTarget, pixels::convert_screen};
use crate::{
    frame::{Colour, Format, Metadata, Pool, VideoFrame},
    source::{
        Capture, Granted, Number, Picture, SourceError, Step, Stop,
        clock::{Clock, Pace},
    },
};

/// How often it is looked whether the screen is still there, and as large as it was.
const LOOK: Duration = Duration::from_secs(1);

/// An open screen or window.
pub(super) struct X11 {
    conn: Link,
    options: ScreenOptions,
    granted: Granted,
    found: Found,
    area: Rect,
    grabber: Grabber,
    pixels: Pixels,
    pool: Pool,
    clock: Clock,
    pace: Pace,
    next_look: Instant,
    is_resized: bool,
}

impl X11 {
    pub(super) fn open(options: &ScreenOptions, stop: &Stop) -> Result<Self, SourceError> {
        let (conn, screen_number) = connect(stop)?;
        let pixels = Pixels::of(&conn, screen_number)?;
        let found = layout::find(&conn, screen_number, &options.target)?;
        let area = found.rect.part(options.region, &found.id)?;
        let grabber = Grabber::new(&conn, pixels.root)?;
        let granted = Granted {
            device: found.id.clone(),
            backend: if grabber.is_shared() { "x11-shm" } else { "x11-socket" },
            width: area.width,
            height: area.height,
            fps: options.fps,
            format: Format::Pixels(options.format),
            metadata: Metadata::from([("screen".to_owned(), found.id.clone())]),
        };
        Ok(Self {
            conn,
            options: options.clone(),
            granted,
            found,
            area,
            grabber,
            pixels,
            pool: Pool::default(),
            clock: Clock::start(),
            pace: Pace::start(options.fps),
            next_look: Instant::now() + LOOK,
            is_resized: false,
        })
    }

    /// Follows a screen that has changed, and a window that has moved.
    fn look(&mut self) -> Result<(), SourceError> {
        let found =
            layout::find(&self.conn, self.pixels.screen_number, &self.options.target).map_err(|error| match error {
                SourceError::NoSuchDevice { what, id, .. } => SourceError::DeviceLost {
                    device: format!("{what} {id}"),
                    problem: "it is not there any more".to_owned(),
                },
                other => other,
            })?;
        if found.rect != self.found.rect {
            let area = found.rect.part(self.options.region, &found.id)?;
            self.is_resized = (area.width, area.height) != (self.area.width, self.area.height);
            self.area = area;
            (self.granted.width, self.granted.height) = (area.width, area.height);
            self.found = found;
        }
        Ok(())
    }

    fn take(&mut self) -> Result<VideoFrame, SourceError> {
        let Rect { x, y, width, height } = self.area;
        let raw = self.grabber.grab(&self.conn, self.area)?;
        let captured_at = Instant::now();
        let to = self.options.format;
        let mut made = self.pool.take(to.packed_len(width, height)?);
        if self.options.cursor {
            // Into a copy: the server's memory is what it last wrote.
            let mut copy = self.pool.take(raw.len());
            copy.copy_from_slice(raw);
            cursor::draw(&self.conn, &mut copy, self.area, self.pixels.format)?;
            convert_screen(self.pixels.format, (width, height), 0, &copy, to, &mut made, &self.pool)?;
        } else {
            convert_screen(self.pixels.format, (width, height), 0, raw, to, &mut made, &self.pool)?;
        }
        let mut metadata = Metadata::new();
        self.clock.stamp(captured_at, "host", &mut metadata);
        metadata.insert("screen_x".to_owned(), x.to_string());
        metadata.insert("screen_y".to_owned(), y.to_string());
        if std::mem::take(&mut self.is_resized) {
            metadata.insert("resized".to_owned(), "true".to_owned());
        }
        if to.is_yuv() {
            Colour::of_video(height).write(&mut metadata);
        }
        let timestamp_ms = self.clock.wall_ms(captured_at);
        let frame = VideoFrame::try_new(Format::Pixels(to), Some((width, height)), timestamp_ms, made.freeze())?;
        Ok(frame.with_metadata(metadata))
    }
}

impl Capture for X11 {
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
            self.next_look = Instant::now() + LOOK;
            self.look()?;
        }
        let captured_at = Instant::now();
        let frame = self.take()?;
        Ok(Step::Picture(Picture { frame, number: Number::Next, captured_at }))
    }
}

impl Drop for X11 {
    fn drop(&mut self) {
        // The server frees what was attached when the connection ends; this only makes it at once.
        let _ = self.conn.flush();
    }
}
