//! Why something cannot be recorded.

use std::{io, path::PathBuf};

use super::container::Container;
use crate::{
    error::ErrorKind,
    ffmpeg::FfmpegError,
    frame::{Format, FrameError},
};

/// Why something cannot be recorded.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each field is named in its variant's message")]
pub enum RecordError {
    /// The file's name does not say what it is to be.
    #[error("a recording is named .mkv or .mp4: {}", path.display())]
    Name { path: PathBuf },

    /// It would overwrite something.
    #[error("there is a file of this name already (--force overwrites it): {}", path.display())]
    Exists { path: PathBuf },

    /// Nothing overwrites that.
    #[error("there is a directory of this name: {}", path.display())]
    IsDirectory { path: PathBuf },

    /// There is nowhere to put it.
    #[error("there is no such directory: {}", path.display())]
    NoDirectory { path: PathBuf },

    /// The disk is full, or the file as long as it may be.
    #[error("no room for the recording: {problem}: {}", path.display())]
    NoRoom { problem: String, path: PathBuf },

    /// The file cannot be made, written or named.
    #[error("cannot write the recording: {source}: {}", path.display())]
    File { source: io::Error, path: PathBuf },

    /// The container does not take this format.
    #[error("{container} does not hold {format}: record to a file that is named .mkv")]
    NotInContainer { format: Format, container: Container },

    /// ffmpeg has no encoder that is of use.
    #[error("this ffmpeg has none of the encoders {wanted}")]
    NoEncoder { wanted: String },

    /// Size or format change all the time.
    #[error("the pictures have changed their size or format {limit} times")]
    TooManyChanges { limit: usize },

    /// Nothing has come that could be recorded.
    #[error("no picture has come that could be recorded ({skipped} packets before the first key frame)")]
    Nothing { skipped: u64 },

    /// Its owner has given it up.
    #[error("the recording was broken off")]
    BrokenOff,

    /// ffmpeg could not be run, or failed.
    #[error(transparent)]
    Ffmpeg(#[from] FfmpegError),

    /// A picture could not be converted.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl RecordError {
    /// Class reported to peers.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Name { .. } | Self::NotInContainer { .. } => ErrorKind::InvalidArgument,
            Self::Exists { .. } | Self::IsDirectory { .. } => ErrorKind::AlreadyExists,
            Self::NoDirectory { .. } => ErrorKind::NotFound,
            Self::NoRoom { .. } | Self::TooManyChanges { .. } => ErrorKind::ResourceExhausted,
            Self::File { .. } => ErrorKind::Internal,
            Self::NoEncoder { .. } | Self::Nothing { .. } => ErrorKind::FailedPrecondition,
            Self::BrokenOff => ErrorKind::Cancelled,
            Self::Ffmpeg(error) => error.kind(),
            Self::Frame(error) => error.kind(),
        }
    }

    /// The word for programs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Name { .. } => "name",
            Self::Exists { .. } | Self::IsDirectory { .. } => "exists",
            Self::NoDirectory { .. } => "no_directory",
            Self::NoRoom { .. } => "no_room",
            Self::File { .. } => "file",
            Self::NotInContainer { .. } => "not_in_container",
            Self::NoEncoder { .. } => "no_encoder",
            Self::TooManyChanges { .. } => "too_many_changes",
            Self::Nothing { .. } => "nothing",
            Self::BrokenOff => "broken_off",
            Self::Ffmpeg(error) => error.reason(),
            Self::Frame(_) => "frame",
        }
    }

    /// What the file system says of a file.
    pub(super) fn of_file(source: io::Error, path: &std::path::Path) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                Self::NoRoom { problem: source.to_string(), path }
            }
            io::ErrorKind::AlreadyExists => Self::Exists { path },
            _ => Self::File { source, path },
        }
    }

    /// What ffmpeg says, which knows of the file system only by its words.
    pub(super) fn of_ffmpeg(error: FfmpegError, path: &std::path::Path) -> Self {
        let no_room = match &error {
            FfmpegError::Failed { problem, .. } => Self::in_words(problem, path),
            _ => None,
        };
        no_room.unwrap_or(Self::Ffmpeg(error))
    }

    /// What ffmpeg's words tell of a file that is not complete.
    pub(super) fn in_words(words: &str, path: &std::path::Path) -> Option<Self> {
        const NO_ROOM: [&str; 3] = ["No space left on device", "File too large", "Disk quota exceeded"];
        const NOT_WRITTEN: [&str; 2] = ["Error writing trailer", "Error closing file"];
        let path = path.to_owned();
        if let Some(problem) = NO_ROOM.into_iter().find(|known| words.contains(known)) {
            return Some(Self::NoRoom { problem: problem.to_owned(), path });
        }
        let source = || io::Error::other(words.to_owned());
        NOT_WRITTEN.into_iter().any(|known| words.contains(known)).then(|| Self::File { source: source(), path })
    }
}
