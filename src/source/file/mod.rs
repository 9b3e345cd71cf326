//! Video files, by an ffmpeg process: every picture, in order, each with its index and presentation time.
//!
//! Belongs here: what is asked of a file, which files may be opened.
//! Does not belong here: processes (`ffmpeg`), pixels (`frame::convert`).
//!
//! Picture `k` is the k-th that a decoder shows, whatever the file's frame rate, reordering and key frames are. Reading
//! begins at once for the first one; another `start_frame` needs the file's index of presentation times first.

mod allowed;
mod index;
mod layout;
mod probe;
mod reader;

use std::path::PathBuf;

pub use self::allowed::resolve_allowed;
use super::{Capture, SourceError, SourceOptions, Stop};
use crate::frame::{MAX_FRAME_NUMBER, PixelFormat};

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOptions {
    /// A video file that ffmpeg reads and that holds its pictures itself: no playlist, and no single picture.
    pub path: PathBuf,
    /// Index of the first picture; 0 unless set.
    pub start_frame: u64,
    /// Index of the first picture that is not wanted any more; the end of the file unless set.
    pub end_frame: Option<u64>,
    /// `rgb` unless set; any raw format.
    pub format: PixelFormat,
    /// At the file's own pace, losing what readers are too slow for; else as fast as they read, losing nothing.
    pub realtime: bool,
}

impl FileOptions {
    /// A whole file, as fast as it is read.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), start_frame: 0, end_frame: None, format: PixelFormat::Rgb, realtime: false }
    }

    /// Refuses what no file could grant.
    ///
    /// # Errors
    ///
    /// [`SourceError::Parameter`].
    pub fn check(&self) -> Result<(), SourceError> {
        let refuse = |field, problem| Err(SourceError::Parameter { field, problem });
        if self.start_frame > u64::from(MAX_FRAME_NUMBER) {
            return refuse("start_frame", format!("{} is above {MAX_FRAME_NUMBER}", self.start_frame));
        }
        match self.end_frame {
            Some(end) if end <= self.start_frame => {
                refuse("end_frame", format!("{end} is not behind start_frame {}", self.start_frame))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Opens a file, on the thread that will read it.
///
/// # Errors
///
/// [`SourceError`].
pub fn open(options: &FileOptions, env: &SourceOptions, stop: &Stop) -> Result<Box<dyn Capture>, SourceError> {
    Ok(Box::new(reader::FileReader::open(options, env, stop)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_hold_nothing_are_refused() {
        let range =
            |start_frame, end_frame| FileOptions { start_frame, end_frame, ..FileOptions::new("a.mp4") }.check();
        range(0, None).unwrap();
        range(5, Some(6)).unwrap();
        assert_eq!(range(5, Some(5)).unwrap_err().field(), Some("end_frame"));
        assert_eq!(range(1 << 40, None).unwrap_err().field(), Some("start_frame"));
    }
}
