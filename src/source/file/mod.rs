//! Video files.

mod allowed;

use std::path::PathBuf;

pub use self::allowed::resolve_allowed;
use super::{Capture, SourceError, SourceOptions, Stop};
use crate::frame::PixelFormat;

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOptions {
    /// Any file that ffmpeg reads.
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
        Ok(())
    }
}

/// Opens a file, on the thread that will read it.
///
/// # Errors
///
/// [`SourceError`].
pub fn open(options: &FileOptions, env: &SourceOptions, _stop: &Stop) -> Result<Box<dyn Capture>, SourceError> {
    let _ = (options, env);
    Err(SourceError::Missing { what: "file".to_owned(), hint: "not built".to_owned() })
}
