//! What can go wrong between a program and the hub.

use tonic::{Code, Status};

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorClass {
    /// A name or a range that cannot be.
    InvalidArgument,
    /// Neither the cache nor upstream has it.
    NotFound,
    /// The file on disk, or what upstream sent, does not match its digest.
    DataLoss,
    /// The model's authors grant access to it; or the hub is another user's, and wants its token.
    PermissionDenied,
    /// An offset beyond the end.
    OutOfRange,
    /// The disk is full, or a limit of the hub's is reached.
    ResourceExhausted,
    /// No hub answers, or upstream cannot be reached.
    Unavailable,
    /// Something else; the message says what.
    Other,
}

/// What of a model was not found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Missing {
    /// The model itself.
    Model,
    /// Its branch, tag or commit.
    Revision,
    /// A file of it.
    File,
}

/// Why the hub does not give what is asked for.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each field is named in its variant's message")]
pub enum ClientError {
    /// It does not answer, or not any more.
    #[error("the hub does not answer: {problem}")]
    Unreachable { problem: String },

    /// It refuses, and says why.
    #[error("{message}")]
    Refused { class: ErrorClass, message: String },

    /// Its answer is not whole.
    #[error("the hub's answer is broken: {problem}")]
    Broken { problem: String },
}

impl ClientError {
    /// What kind of failure it is.
    pub const fn class(&self) -> ErrorClass {
        match self {
            Self::Unreachable { .. } => ErrorClass::Unavailable,
            Self::Refused { class, .. } => *class,
            Self::Broken { .. } => ErrorClass::DataLoss,
        }
    }

    /// What of a model was not found, where it is that: its class is [`ErrorClass::NotFound`] then.
    pub fn missing(&self) -> Option<Missing> {
        let Self::Refused { message, .. } = self else { return None };
        // The hub's word for programs comes first.
        match message.split_once(": ")?.0 {
            "no_such_model" => Some(Missing::Model),
            "no_such_revision" => Some(Missing::Revision),
            "no_such_file" => Some(Missing::File),
            _ => None,
        }
    }
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        let message = status.message().to_owned();
        let is_transport = std::error::Error::source(&status).is_some();
        let class = match status.code() {
            Code::Unknown => return Self::Unreachable { problem: message },
            _ if is_transport => return Self::Unreachable { problem: message },
            Code::InvalidArgument => ErrorClass::InvalidArgument,
            Code::NotFound => ErrorClass::NotFound,
            Code::DataLoss => ErrorClass::DataLoss,
            Code::PermissionDenied | Code::Unauthenticated => ErrorClass::PermissionDenied,
            Code::OutOfRange => ErrorClass::OutOfRange,
            Code::ResourceExhausted => ErrorClass::ResourceExhausted,
            Code::Unavailable => ErrorClass::Unavailable,
            Code::Ok
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::Unimplemented
            | Code::Internal => ErrorClass::Other,
        };
        Self::Refused { class, message }
    }
}
