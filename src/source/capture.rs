//! What a source's thread runs: [`Capture`], one step at a time.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::SourceError;
use crate::frame::{Format, Metadata, VideoFrame};

/// Longest time that one [`Capture::next`] may wait for its device, so that a stream closes at once.
pub const TICK: Duration = Duration::from_millis(50);

/// An open device, or whatever else makes pictures. It lives and dies on its source's thread.
pub trait Capture {
    /// What was opened, which may be other than what was asked for.
    fn granted(&self) -> &Granted;

    /// The next picture. Waits for [`TICK`] at most, or until `stop` comes.
    ///
    /// # Errors
    ///
    /// [`SourceError`], after which the capture is dropped. One that [`SourceError::is_lost`] is opened again.
    fn next(&mut self, stop: &Stop) -> Result<Step, SourceError>;
}

/// What one step brought.
#[derive(Debug)]
pub enum Step {
    /// A picture.
    Picture(Picture),
    /// Nothing within a tick: look whether to stop, and come again.
    Idle,
    /// The source has come to its end.
    End,
}

/// One picture as its source made it.
#[derive(Debug)]
pub struct Picture {
    /// Its `timestamp_ms` is set, its number is not.
    pub frame: VideoFrame,
    /// Its place in the source.
    pub number: Number,
    /// When the device had it, as nearly as is known.
    pub captured_at: Instant,
}

/// How a picture is numbered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// The last plus one.
    Next,
    /// A device's running count, wherever it began: gaps are pictures that the device lost.
    Sequence(u32),
    /// This one: the picture's index in its file.
    Exactly(u32),
}

/// What was granted.
#[derive(Debug, Clone, PartialEq)]
pub struct Granted {
    /// The device's stable id, or the file's name.
    pub device: String,
    /// How it is read: `v4l`, `nokhwa`, `x11-shm`, `xcap`, `screencopy`, `portal`, `ffmpeg`, `synthetic`.
    pub backend: &'static str,
    /// Pixels of the pictures.
    pub width: u32,
    /// Pixels of the pictures.
    pub height: u32,
    /// Pictures a second that the device says it makes.
    pub fps: f64,
    /// Format of the pictures.
    pub format: Format,
    /// What else is known: `device_format`, `color_matrix`, ... Also in each picture's metadata.
    pub metadata: Metadata,
}

/// Tells a source's thread to end. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    shared: Arc<(Mutex<bool>, Condvar)>,
}

impl Stop {
    /// From now on, stop.
    pub fn set(&self) {
        let (told, changed) = &*self.shared;
        *told.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
    }

    /// Tells it when what this returns is dropped: a future that owns it stops, by being dropped, what works for it.
    pub fn on_drop(&self) -> StopOnDrop {
        StopOnDrop(self.clone())
    }

    /// Has it been told?
    pub fn is_set(&self) -> bool {
        *self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `due`; `true` as soon as it is told to stop.
    pub fn wait_until(&self, due: Instant) -> bool {
        let (told, changed) = &*self.shared;
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        while !*told {
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            told = changed.wait_timeout(told, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Waits for so long; `true` as soon as it is told to stop.
    pub fn wait(&self, time: Duration) -> bool {
        self.wait_until(Instant::now() + time)
    }
}

/// Says [`Stop::set`] when it is dropped.
#[derive(Debug)]
pub struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.set();
    }
}
