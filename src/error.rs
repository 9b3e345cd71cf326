//! The classes of failure that peers are told about: gRPC's status names, and nothing else.
//!
//! Belongs here: [`ErrorKind`] and its lower-snake-case names; which of the system's errors are a lack that may pass.
//! Does not belong here: error types (each module has its own), wire statuses (`grpc::convert`).

use std::io;

/// Class of a failure, as reported to peers over gRPC, HTTP and native messaging.
///
/// Source: gRPC, "Status codes and their use in gRPC".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The caller gave up.
    Cancelled,
    /// A fault that fits no other class.
    Unknown,
    /// The request can never work as it is.
    InvalidArgument,
    /// Time ran out.
    DeadlineExceeded,
    /// What was named does not exist.
    NotFound,
    /// What should be made exists.
    AlreadyExists,
    /// The caller may not do this.
    PermissionDenied,
    /// A limit was reached.
    ResourceExhausted,
    /// Something else has to be done first.
    FailedPrecondition,
    /// Another party interfered; the whole attempt may be repeated.
    Aborted,
    /// Beyond the valid range.
    OutOfRange,
    /// Not known to this version.
    Unimplemented,
    /// An invariant of framehost is broken.
    Internal,
    /// Not reachable now; try again.
    Unavailable,
    /// Bytes were lost or changed.
    DataLoss,
    /// The caller did not say who it is.
    Unauthenticated,
}

/// Does the system lack something that it may have again: room on a disk, descriptors, threads, memory?
pub fn is_lack(error: &io::Error) -> bool {
    // "Too many open files", of the process and of the machine. `io::ErrorKind` has no names for them.
    // Source: Linux and macOS, `errno.h`; Windows, "System Error Codes".
    let too_many_files: &[i32] = if cfg!(windows) { &[4] } else { &[23, 24] };
    matches!(
        error.kind(),
        // The last is the system's word for threads.
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::OutOfMemory
            | io::ErrorKind::WouldBlock
    ) || error.raw_os_error().is_some_and(|code| too_many_files.contains(&code))
}

impl ErrorKind {
    /// The name in lower snake case, as native messages carry it: `"resource_exhausted"`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Unknown => "unknown",
            Self::InvalidArgument => "invalid_argument",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::PermissionDenied => "permission_denied",
            Self::ResourceExhausted => "resource_exhausted",
            Self::FailedPrecondition => "failed_precondition",
            Self::Aborted => "aborted",
            Self::OutOfRange => "out_of_range",
            Self::Unimplemented => "unimplemented",
            Self::Internal => "internal",
            Self::Unavailable => "unavailable",
            Self::DataLoss => "data_loss",
            Self::Unauthenticated => "unauthenticated",
        }
    }
}
