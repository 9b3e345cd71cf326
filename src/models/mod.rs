//! The model cache: Hugging Face's own cache directory, read and written so that Python shares every file.
//!
//! ```text
//! <cache>/CACHEDIR.TAG
//! <cache>/.locks/models--org--name/<etag>.lock      held around publishing only
//! <cache>/models--org--name/blobs/<etag>            the bytes; etag = sha256, or git's sha1 for small text files
//!                          /refs/<revision>         40 hex digits, no newline
//!                          /snapshots/<commit>/<file path>   link to ../../blobs/<etag>, or the file itself (`links`)
//!                          /trees/<commit>.json     what the commit consists of
//! <state>/digests.jsonl                             ours, outside the cache: digests of files that were hashed
//! <state>/caches/…                                  ours: what is in use, when it was used, what is pinned (`care`)
//! ```
//!
//! Belongs here: names and their checks, resolving, hashing, listing, importing, clearing away.
//! Does not belong here: who may ask (`access`), chunks and messages (`grpc`, `session`).
//!
//! Data path: [`SharedModels`] (async, for many) -> [`ModelStore`] (blocking) -> `digest` -> [`OpenModelFile`].
//!
//! Invariants:
//! - No path is built from a peer's string: names are split into checked components first.
//! - What is served has been hashed here. Where its name is a digest it agrees with it (`verified`); what leads out of
//!   the cache is refused.
//! - What is put here is complete and synced before it is visible under its final name.
//! - Cache files are read, never mapped: a truncated mapping would end every session.
//!
//! Source: huggingface_hub 2.4, `file_download.py` and `_tree_cache.py`.

mod care;
mod digest;
mod download;
#[cfg(all(feature = "fuzzing", target_os = "linux"))]
pub(crate) mod fuzz;
mod import;
mod links;
mod list;
mod listing;
mod location;
mod name;
mod publish;
mod pull;
mod read_ahead;
mod served;
mod shared;
mod sources;
mod store;
mod system;
mod tree;
mod upstream;
mod variants;
mod watch;

use std::{io, path::PathBuf, sync::Arc};

pub(crate) use self::system::free_bytes_in;
pub use self::{
    care::{
        ClearFailure, Cleared, ClearedKind, FileState, GcOptions, GcReport, InUse, Kept, KeptBecause, Pin,
        RemoveReport, VerifiedFile, VerifiedSnapshot,
    },
    import::{ImportOptions, ImportReport},
    list::{FileEntry, ModelSummary},
    listing::ListedFile,
    location::cache_dir,
    name::{Commit, FileName, FilePath, ModelId, Revision},
    pull::{PullOptions, PullProgress, PullReport},
    read_ahead::{FileChunk, FileReader, Room, STALL_LIMIT},
    served::{DescribedFile, ModelFile},
    shared::SharedModels,
    sources::LeftOut,
    store::{ModelStore, OpenModelFile, ResolvedFile, StoreOptions},
    upstream::{Listing, TokenFile, Upstream, UpstreamError, UpstreamOptions},
    variants::{DescribedModel, UnreadableFile, Variant},
    watch::{ChangeKind, ModelChange, ModelWatch},
};
use crate::error::{ErrorKind, is_lack};

/// Why a model file cannot be named, found, trusted or stored.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each field is named in its variant's message")]
pub enum ModelError {
    /// A name that cannot be.
    #[error("{field} {value:?}: {problem}")]
    Name { field: &'static str, value: String, problem: &'static str },

    /// The model is not in the cache.
    #[error("model {model_id} is not in the cache {}", cache_dir.display())]
    ModelNotFound { model_id: String, cache_dir: PathBuf },

    /// The model is, the revision is not.
    #[error("model {model_id} has no revision {revision:?} in the cache")]
    RevisionNotFound { model_id: String, revision: String },

    /// The revision is, the file is not.
    #[error("model {model_id} at {commit} has no file {file_path:?} in the cache")]
    FileNotFound { model_id: String, commit: String, file_path: String },

    /// The file leads out of the cache.
    #[error("the cached file leads out of the cache directory: {}", path.display())]
    OutsideCache { path: PathBuf },

    /// The bytes are not those that their name promises.
    #[error("the cached file is damaged: expected {expected}, found {actual}: {}", path.display())]
    DigestMismatch { expected: String, actual: String, path: PathBuf },

    /// Somebody writes to the file while it is read.
    #[error("the file changes while it is read: {}", path.display())]
    Changing { path: PathBuf },

    /// A place that the file does not have.
    #[error("offset {offset} is beyond the file's {size_bytes} bytes")]
    OffsetBeyondEnd { offset: u64, size_bytes: u64 },

    /// The file is shorter than it was when it was opened.
    #[error("the file ended at {offset} of {size_bytes} bytes: {}", path.display())]
    Truncated { offset: u64, size_bytes: u64, path: PathBuf },

    /// A revision that stands for something else already.
    #[error("revision {revision:?} of {model_id} stands for {present}, not for {imported}: use --force to move it")]
    RefConflict { model_id: String, revision: String, present: String, imported: String },

    /// Nothing to import.
    #[error("no files to import in {}", path.display())]
    NothingToImport { path: PathBuf },

    /// Another process holds the lock of a file that is to be published.
    #[error(
        "another process has held the lock for {waited_s} s: end it, or try again when it is done: {}",
        path.display()
    )]
    Locked { waited_s: u64, path: PathBuf },

    /// The commit has no such file, here or elsewhere.
    #[error("model {model_id} at {commit} has no file {file_path:?}")]
    FileAbsent { model_id: String, commit: String, file_path: String },

    /// Upstream could not give what the cache does not have.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),

    /// What was fetched is not what upstream itself had listed.
    #[error("what {upstream} sent as {file_path:?} is wrong and was not kept: expected {expected}, got {actual}")]
    DownloadMismatch { expected: String, actual: String, file_path: String, upstream: String },

    /// Nobody waited for the download any more.
    #[error("the download of {file_path:?} was given up: nobody waited for it")]
    Abandoned { file_path: String },

    /// The disk is too full for what is to come.
    #[error("{needed} more bytes are needed and the disk has {free} left: {}", path.display())]
    NoSpace { needed: u64, free: u64, path: PathBuf },

    /// Nothing can be put into the cache.
    #[error(
        "the model cache cannot be written to: let this user write there, or name another one with HF_HUB_CACHE: {}",
        path.display()
    )]
    ReadOnlyCache { path: PathBuf },

    /// Somebody cleared away what had just been pulled.
    #[error("{file_path:?} of {model_id} was removed from the cache while the model was pulled: pull it again")]
    RemovedMeanwhile { model_id: String, file_path: String },

    /// A client that has stopped.
    #[error("the client has taken nothing of the file for {waited_s} s")]
    Stalled { waited_s: u64 },

    /// More files are read at once than the memory for it is meant for.
    #[error("{limit} files are being read already: try again when one of them is done")]
    TooManyReaders { limit: usize },

    /// On Windows, changing or removing what a program has open that does not allow it.
    #[error("another program has it open: close that, and try again: cannot {action}: {}", path.display())]
    HeldOpen { action: &'static str, path: PathBuf },

    /// Clearing away what is read or written at this moment.
    #[error("model {model_id} is in use: somebody serves it or downloads into it")]
    InUse { model_id: String },

    /// Clearing away what lies somewhere else.
    #[error("it is kept elsewhere, by a link that framehost has not made: remove what it leads to, or the link: {}", path.display())]
    KeptElsewhere { path: PathBuf },

    /// Clearing away what the user wants to keep.
    #[error("model {model_id} is pinned: `framehost models unpin` takes that back")]
    Pinned { model_id: String },

    /// What everybody is told who waited for the same.
    #[error(transparent)]
    Shared(Arc<Self>),

    /// What the file system says.
    #[error("cannot {action}: {source}: {}", path.display())]
    Io { action: &'static str, source: io::Error, path: PathBuf },
}

impl ModelError {
    /// Class reported to peers.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Name { .. } | Self::NothingToImport { .. } => ErrorKind::InvalidArgument,
            Self::ModelNotFound { .. }
            | Self::RevisionNotFound { .. }
            | Self::FileNotFound { .. }
            | Self::FileAbsent { .. } => ErrorKind::NotFound,
            Self::Upstream(error) => error.kind(),
            Self::Abandoned { .. } => ErrorKind::Cancelled,
            Self::Stalled { .. } => ErrorKind::DeadlineExceeded,
            Self::NoSpace { .. } | Self::TooManyReaders { .. } => ErrorKind::ResourceExhausted,
            Self::Shared(error) => error.kind(),
            Self::OutsideCache { .. } | Self::ReadOnlyCache { .. } => ErrorKind::PermissionDenied,
            Self::DigestMismatch { .. } | Self::DownloadMismatch { .. } | Self::Truncated { .. } => ErrorKind::DataLoss,
            Self::Changing { .. } | Self::RemovedMeanwhile { .. } => ErrorKind::Aborted,
            Self::OffsetBeyondEnd { .. } => ErrorKind::OutOfRange,
            Self::RefConflict { .. } => ErrorKind::AlreadyExists,
            Self::Locked { .. } => ErrorKind::Unavailable,
            Self::HeldOpen { .. } | Self::InUse { .. } | Self::Pinned { .. } | Self::KeptElsewhere { .. } => {
                ErrorKind::FailedPrecondition
            }
            Self::Io { source, .. } => match source.kind() {
                io::ErrorKind::NotFound => ErrorKind::NotFound,
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::PermissionDenied,
                _ if is_lack(source) => ErrorKind::ResourceExhausted,
                _ => ErrorKind::Internal,
            },
        }
    }

    /// A word for programs: what of a name was not found, or that its authors have to grant access.
    pub fn reason(&self) -> Option<&'static str> {
        match self {
            Self::ModelNotFound { .. } => Some("no_such_model"),
            Self::RevisionNotFound { .. } => Some("no_such_revision"),
            Self::FileNotFound { .. } | Self::FileAbsent { .. } => Some("no_such_file"),
            Self::Upstream(error) => error.reason(),
            Self::Shared(error) => error.reason(),
            Self::Name { .. }
            | Self::OutsideCache { .. }
            | Self::DigestMismatch { .. }
            | Self::Changing { .. }
            | Self::OffsetBeyondEnd { .. }
            | Self::Truncated { .. }
            | Self::RefConflict { .. }
            | Self::NothingToImport { .. }
            | Self::Locked { .. }
            | Self::DownloadMismatch { .. }
            | Self::Abandoned { .. }
            | Self::NoSpace { .. }
            | Self::HeldOpen { .. }
            | Self::InUse { .. }
            | Self::KeptElsewhere { .. }
            | Self::Pinned { .. }
            | Self::ReadOnlyCache { .. }
            | Self::RemovedMeanwhile { .. }
            | Self::Stalled { .. }
            | Self::TooManyReaders { .. }
            | Self::Io { .. } => None,
        }
    }

    /// The parameter to blame, where the caller's words are at fault.
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Shared(error) => error.field(),
            Self::Name { field, .. } => Some(field),
            Self::ModelNotFound { .. } => Some("model_id"),
            Self::RevisionNotFound { .. } => Some("revision"),
            Self::FileNotFound { .. } | Self::FileAbsent { .. } => Some("file_path"),
            Self::OffsetBeyondEnd { .. } => Some("offset"),
            Self::OutsideCache { .. }
            | Self::DigestMismatch { .. }
            | Self::Changing { .. }
            | Self::Truncated { .. }
            | Self::RefConflict { .. }
            | Self::NothingToImport { .. }
            | Self::Locked { .. }
            | Self::HeldOpen { .. }
            | Self::InUse { .. }
            | Self::KeptElsewhere { .. }
            | Self::Pinned { .. }
            | Self::Upstream(_)
            | Self::DownloadMismatch { .. }
            | Self::Abandoned { .. }
            | Self::NoSpace { .. }
            | Self::ReadOnlyCache { .. }
            | Self::RemovedMeanwhile { .. }
            | Self::Stalled { .. }
            | Self::TooManyReaders { .. }
            | Self::Io { .. } => None,
        }
    }

    /// Does another process hold what is needed?
    fn is_locked(&self) -> bool {
        match self {
            Self::Shared(error) => error.is_locked(),
            error => matches!(error, Self::Locked { .. }),
        }
    }

    /// For `map_err`: what was tried, on which path.
    fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| match source {
            held if system::is_held(&held) => Self::HeldOpen { action, path },
            source => Self::Io { action, source, path },
        }
    }
}

#[cfg(test)]
mod tests;
