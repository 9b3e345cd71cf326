//! What a stream can be opened from.

use std::path::PathBuf;

use super::{
    SourceError, camera::CameraOptions, file::FileOptions, screen::ScreenOptions, synthetic::SyntheticOptions,
};

/// What a stream is opened from.
#[derive(Debug, Clone, PartialEq)]
pub enum SourceSpec {
    /// A test pattern.
    Synthetic(SyntheticOptions),
    /// A camera of this machine.
    Camera(CameraOptions),
    /// A screen, a window, or a part of one.
    Screen(ScreenOptions),
    /// A video file.
    File(FileOptions),
}

/// What every source may need.
#[derive(Debug, Clone, Default)]
pub struct SourceOptions {
    /// The ffmpeg program; from `PATH` unless set. `ffprobe` is expected beside it, or in `PATH`.
    pub ffmpeg: Option<PathBuf>,
    /// Where what a source remembers is kept (the portal's permission); nowhere unless set.
    pub state_dir: Option<PathBuf>,
}

impl SourceSpec {
    /// The word for it: `synthetic`, `camera`, `screen`, `file`.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Synthetic(_) => "synthetic",
            Self::Camera(_) => "camera",
            Self::Screen(_) => "screen",
            Self::File(_) => "file",
        }
    }

    /// Does it wait for its readers, so that no picture is lost?
    pub const fn is_lossless(&self) -> bool {
        match self {
            Self::File(options) => !options.realtime,
            Self::Synthetic(_) | Self::Camera(_) | Self::Screen(_) => false,
        }
    }

    /// Refuses what no device could grant, before anything is opened.
    ///
    /// # Errors
    ///
    /// [`SourceError::Parameter`] and the like.
    pub fn check(&self) -> Result<(), SourceError> {
        match self {
            Self::Synthetic(options) => Ok(options.check()?),
            Self::Camera(options) => options.check(),
            Self::Screen(options) => options.check(),
            Self::File(options) => options.check(),
        }
    }
}
