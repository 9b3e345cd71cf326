//! What can be wrong with upstream.

use std::time::Duration;

use crate::error::ErrorKind;

/// Why upstream did not give what it was asked for.
#[non_exhaustive]
#[derive(Debug, Clone, thiserror::Error)]
#[expect(missing_docs, reason = "each field is named in its variant's message")]
pub enum UpstreamError {
    /// The configured location is none.
    #[error("upstream {location:?}: expected {problem}")]
    Location { location: String, problem: &'static str },

    /// Fetching is switched off.
    #[error("it is not in the cache, and fetching is switched off")]
    Off,

    /// Upstream does not have the model, or does not show it to this user.
    #[error("upstream has no model {model_id}, or it is private and the token may not read it: {url}")]
    ModelNotFound { model_id: String, url: String },

    /// The model is there, the revision is not.
    #[error("upstream has no revision {revision:?} of {model_id}: {url}")]
    RevisionNotFound { model_id: String, revision: String, url: String },

    /// The file was listed and is not there.
    #[error("upstream has no such file: {url}")]
    FileNotFound { url: String },

    /// The model's authors want to know who uses it.
    #[error(
        "access to {model_id} is granted by its authors: ask for it on its page, and log in (hf auth login): {url}"
    )]
    Gated { model_id: String, url: String },

    /// There is nobody: a name that is not known here, a port that nobody listens on, no way there.
    #[error("cannot reach upstream: {problem}: {url}")]
    NobodyThere { problem: String, url: String },

    /// A connection that was cut or fell silent.
    #[error("cannot reach upstream: {problem}: {url}")]
    Unreachable { problem: String, url: String },

    /// Upstream asks to come back later.
    #[error("upstream is busy (HTTP {status}): {url}")]
    Busy { status: u16, retry_after: Option<Duration>, url: String },

    /// An answer that says neither yes nor no.
    #[error("upstream answered with HTTP {status}: {url}")]
    Status { status: u16, url: String },

    /// An answer that is not what it has to be.
    #[error("upstream's answer is wrong: {problem}: {url}")]
    Answer { problem: String, url: String },

    /// The directory cannot be read.
    #[error("cannot read the upstream directory: {problem}")]
    Directory { problem: String },
}

impl UpstreamError {
    /// Class reported to peers.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Location { .. } => ErrorKind::InvalidArgument,
            Self::Off | Self::ModelNotFound { .. } | Self::RevisionNotFound { .. } | Self::FileNotFound { .. } => {
                ErrorKind::NotFound
            }
            Self::Gated { .. } => ErrorKind::PermissionDenied,
            Self::NobodyThere { .. } | Self::Unreachable { .. } | Self::Busy { .. } | Self::Status { .. } => {
                ErrorKind::Unavailable
            }
            Self::Answer { .. } => ErrorKind::DataLoss,
            Self::Directory { .. } => ErrorKind::FailedPrecondition,
        }
    }

    /// A word for programs, the same as of what the cache does not have.
    pub const fn reason(&self) -> Option<&'static str> {
        match self {
            Self::ModelNotFound { .. } => Some("no_such_model"),
            Self::RevisionNotFound { .. } => Some("no_such_revision"),
            Self::FileNotFound { .. } => Some("no_such_file"),
            Self::Gated { .. } => Some("gated"),
            Self::Location { .. }
            | Self::Off
            | Self::NobodyThere { .. }
            | Self::Unreachable { .. }
            | Self::Busy { .. }
            | Self::Status { .. }
            | Self::Answer { .. }
            | Self::Directory { .. } => None,
        }
    }

    /// May the same request succeed in a moment?
    pub(in crate::models) const fn is_transient(&self) -> bool {
        matches!(self, Self::NobodyThere { .. } | Self::Unreachable { .. } | Self::Busy { .. })
    }

    /// Is there nobody to ask just now?
    pub const fn is_offline(&self) -> bool {
        matches!(
            self,
            Self::Off | Self::NobodyThere { .. } | Self::Unreachable { .. } | Self::Busy { .. } | Self::Status { .. }
        )
    }

    pub(in crate::models) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
