//! Why a source cannot begin or go on.

use std::{io, path::PathBuf, sync::Arc};

use super::synthetic::SyntheticError;
use crate::{
    error::{ErrorKind, is_lack},
    ffmpeg::FfmpegError,
    frame::FrameError,
};

/// Why a source cannot begin or go on.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each field is named in its variant's message")]
pub enum SourceError {
    /// A parameter that no device could grant.
    #[error("{field}: {problem}")]
    Parameter { field: &'static str, problem: String },

    /// No camera, screen or window has this name.
    #[error("no {what} {id:?}; there are: {}", or_none(available))]
    NoSuchDevice { what: &'static str, id: String, available: Vec<String> },

    /// Somebody else has it.
    #[error("{device} is in use: {by}")]
    DeviceBusy { device: String, by: String },

    /// It was there, and is gone or does not answer any more.
    #[error("{device} is gone: {problem}")]
    DeviceLost { device: String, problem: String },

    /// The user, or the system, does not allow it.
    #[error("no permission for {device}: {hint}")]
    PermissionDenied { device: String, hint: String },

    /// The device cannot do what was asked for, or a stream of ours has it in another mode.
    #[error("{device} has no mode {wanted}; possible: {}", or_none(possible))]
    UnsupportedMode { device: String, wanted: String, possible: Vec<String> },

    /// No screen can be reached.
    #[error("no display: {problem}")]
    NoDisplay { problem: String },

    /// The region does not lie on the screen.
    #[error("region {region} lies outside {screen}, which has {width} x {height} pixels")]
    RegionOutside { region: String, screen: String, width: u32, height: u32 },

    /// Opening took too long.
    #[error("{device} did not open within {waited_ms} ms")]
    OpenTimeout { device: String, waited_ms: u64 },

    /// Who asked for it has gone, or has closed it, before it was open.
    #[error("{device} is not waited for any more")]
    Abandoned { device: String },

    /// This build, or this machine, lacks what it takes.
    #[error("{what} cannot be used here: {hint}")]
    Missing { what: String, hint: String },

    /// There is no such file, or it has gone.
    #[error("cannot read the file: {source}: {}", path.display())]
    File { source: io::Error, path: PathBuf },

    /// The file is no video.
    #[error("not a video that is read: {problem}: {}", path.display())]
    NotAVideo { problem: String, path: PathBuf },

    /// The user has not allowed this directory.
    #[error("the file is not in a directory that the configuration allows (video_dirs): {}", path.display())]
    NotAllowed { path: PathBuf },

    /// `start_frame` lies behind the end.
    #[error("start_frame {start_frame} lies behind the last of {frames} frames")]
    StartBehindEnd { start_frame: u64, frames: u64 },

    /// The test pattern cannot be drawn so.
    #[error(transparent)]
    Synthetic(#[from] SyntheticError),

    /// ffmpeg could not be run, or failed.
    #[error(transparent)]
    Ffmpeg(#[from] FfmpegError),

    /// What came was no picture.
    #[error(transparent)]
    Frame(#[from] FrameError),

    /// The operating system refused something that it should not.
    #[error("{action}: {source}")]
    Io { action: &'static str, source: io::Error },

    /// One failure, told to everybody who waited for the same device. [`Self::cause`] has it.
    #[error(transparent)]
    Shared(Arc<Self>),
}

impl SourceError {
    /// What has failed, whoever else is told.
    pub fn cause(&self) -> &Self {
        match self {
            Self::Shared(error) => error.cause(),
            own => own,
        }
    }

    /// Class reported to peers.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Parameter { .. } | Self::UnsupportedMode { .. } | Self::NotAVideo { .. } => {
                ErrorKind::InvalidArgument
            }
            Self::NoSuchDevice { .. } => ErrorKind::NotFound,
            Self::DeviceBusy { .. } | Self::NoDisplay { .. } | Self::Missing { .. } => ErrorKind::FailedPrecondition,
            Self::DeviceLost { .. } => ErrorKind::Unavailable,
            Self::PermissionDenied { .. } | Self::NotAllowed { .. } => ErrorKind::PermissionDenied,
            Self::RegionOutside { .. } | Self::StartBehindEnd { .. } => ErrorKind::OutOfRange,
            Self::OpenTimeout { .. } => ErrorKind::DeadlineExceeded,
            Self::Abandoned { .. } => ErrorKind::Cancelled,
            Self::File { source, .. } | Self::Io { source, .. } if is_lack(source) => ErrorKind::ResourceExhausted,
            Self::File { .. } => ErrorKind::NotFound,
            Self::Synthetic(error) => error.kind(),
            Self::Ffmpeg(error) => error.kind(),
            Self::Frame(error) => error.kind(),
            Self::Io { .. } => ErrorKind::Internal,
            Self::Shared(error) => error.kind(),
        }
    }

    /// The word for programs: `details.reason` on the native port, the beginning of a gRPC status message.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Parameter { .. } => "parameter",
            Self::NoSuchDevice { .. } => "no_such_device",
            Self::DeviceBusy { .. } => "device_busy",
            Self::DeviceLost { .. } => "device_lost",
            Self::PermissionDenied { .. } => "permission_denied",
            Self::UnsupportedMode { .. } => "unsupported_mode",
            Self::NoDisplay { .. } => "no_display",
            Self::RegionOutside { .. } => "region_outside",
            Self::OpenTimeout { .. } => "open_timeout",
            Self::Abandoned { .. } => "abandoned",
            Self::Missing { .. } => "missing",
            Self::File { .. } => "file",
            Self::NotAVideo { .. } => "not_a_video",
            Self::NotAllowed { .. } => "not_allowed",
            Self::StartBehindEnd { .. } => "start_behind_end",
            Self::Synthetic(_) => "parameter",
            Self::Ffmpeg(error) => error.reason(),
            Self::Frame(_) => "frame",
            Self::Io { .. } => "io",
            Self::Shared(error) => error.reason(),
        }
    }

    /// The parameter to blame.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Parameter { field, .. } => Some(field),
            Self::RegionOutside { .. } => Some("region"),
            Self::File { .. } | Self::NotAVideo { .. } | Self::NotAllowed { .. } => Some("path"),
            Self::StartBehindEnd { .. } => Some("start_frame"),
            Self::Synthetic(error) => error.field(),
            Self::Frame(error) => Some(error.field()),
            Self::Shared(error) => error.field(),
            _ => None,
        }
    }

    /// May it come back by itself?
    pub fn is_lost(&self) -> bool {
        matches!(self.cause(), Self::DeviceLost { .. })
    }
}

fn or_none(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}
