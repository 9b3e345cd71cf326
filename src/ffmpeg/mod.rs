//! The ffmpeg program: finding it, running it, and making sure that it goes.
//!
//! Belongs here: its processes, their pipes and their words.
//! Does not belong here: what is asked of it (`source::file`, `decode`, `record`).
//!
//! Invariants:
//! - Every process is killed, if need be, and reaped when its owner drops it.
//! - No wait is without a limit, and none is longer than a tick where somebody may tell it to stop.
//! - It opens files and pipes, never the network, and never asks anybody anything.

mod child;
mod encoders;
mod pictures;
#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(windows, path = "windows.rs")]
mod pipes;
pub(crate) mod shown;
mod tools;

pub use self::{
    child::{Child, Input, Read},
    encoders::encoders,
    pictures::{Next, Pictures, output, skipping},
    shown::Shown,
    tools::Tools,
};
use crate::error::ErrorKind;

/// Why ffmpeg is of no help.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each field is named in its variant's message")]
pub enum FfmpegError {
    /// It is not installed.
    #[error("{program} was not found: install it ({}), or let \"ffmpeg\" in config.json name it", how_to_install())]
    NotFound { program: String },

    /// It cannot be started.
    #[error("cannot start {program}: {source}")]
    Start { program: String, source: std::io::Error },

    /// It ended with an error.
    #[error("{program} failed: {problem}")]
    Failed { program: String, problem: String },

    /// It does not answer.
    #[error("{program} has not answered for {waited_ms} ms")]
    Hangs { program: String, waited_ms: u64 },
}

const fn how_to_install() -> &'static str {
    if cfg!(windows) {
        "winget install ffmpeg"
    } else if cfg!(target_os = "macos") {
        "brew install ffmpeg"
    } else {
        "Debian, Ubuntu: apt install ffmpeg"
    }
}

impl FfmpegError {
    /// Class reported to peers.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } | Self::Start { .. } => ErrorKind::FailedPrecondition,
            Self::Failed { .. } => ErrorKind::Internal,
            Self::Hangs { .. } => ErrorKind::DeadlineExceeded,
        }
    }

    /// The word for programs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotFound { .. } | Self::Start { .. } => "ffmpeg_missing",
            Self::Failed { .. } => "ffmpeg_failed",
            Self::Hangs { .. } => "ffmpeg_hangs",
        }
    }
}
