//! The ffmpeg program: finding it, running it, and making sure that it goes.

use std::path::{Path, PathBuf};

use crate::error::ErrorKind;

/// The programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tools {
    /// Decodes.
    pub ffmpeg: PathBuf,
    /// Tells what a file holds.
    pub ffprobe: PathBuf,
}

/// Why ffmpeg is of no help.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each field is named in its variant's message")]
pub enum FfmpegError {
    /// It is not installed.
    #[error(
        "{program} was not found: install it (Debian, Ubuntu: apt install ffmpeg), or set \"ffmpeg\" in config.json"
    )]
    NotFound { program: String },

    /// It ended with an error.
    #[error("{program} failed: {problem}")]
    Failed { program: &'static str, problem: String },

    /// It does not answer.
    #[error("{program} has not answered for {waited_ms} ms")]
    Hangs { program: &'static str, waited_ms: u64 },
}

impl FfmpegError {
    /// Class reported to peers.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::FailedPrecondition,
            Self::Failed { .. } => ErrorKind::Internal,
            Self::Hangs { .. } => ErrorKind::DeadlineExceeded,
        }
    }

    /// The word for programs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotFound { .. } => "ffmpeg_missing",
            Self::Failed { .. } => "ffmpeg_failed",
            Self::Hangs { .. } => "ffmpeg_hangs",
        }
    }
}

impl Tools {
    /// Finds the programs. `configured`: the ffmpeg program; `PATH` is searched unless it is set.
    ///
    /// # Errors
    ///
    /// [`FfmpegError::NotFound`].
    pub fn find(configured: Option<&Path>) -> Result<Self, FfmpegError> {
        let _ = configured;
        Err(FfmpegError::NotFound { program: "ffmpeg".to_owned() })
    }
}
