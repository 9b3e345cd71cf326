//! The JSON inside native-messaging frames: requests, answers, events, pages.
//!
//! Belongs here: the envelope (`id`, `type`), typed access to a request's fields, what an error looks like.
//! Does not belong here: what a request does (`session`), lengths and prefixes (`framing`).
//!
//! Invariants:
//! - A body is walked once; its fields borrow from it, so a picture's base64 is not copied before it is decoded.
//! - No part of a payload is repeated in an error beyond `MAX_ECHO_CHARS`.

mod answer;
mod members;
mod page;
mod request;

pub use self::{
    answer::{Failure, event, failure_answer, failure_event, ok_answer},
    page::{Page, page},
    request::{Rejected, Request, RequestId},
};
use crate::error::ErrorKind;

/// Characters of a peer's input that an error message may repeat.
const MAX_ECHO_CHARS: usize = 160;

/// Why a body is not the request that it should be.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each field is named in its variant's message")]
pub enum MessageError {
    /// A frame of length 0.
    #[error("the message is empty")]
    Empty,

    /// Not JSON, not UTF-8, or not an object.
    #[error("the message is not a JSON object: {problem}")]
    NotAnObject { problem: String },

    /// More members than any request has.
    #[error("the message has more than {limit} fields")]
    TooManyFields { limit: usize },

    /// A field that has to be there.
    #[error("field {field:?} is missing")]
    Missing { field: &'static str },

    /// A field of the wrong type or outside its range.
    #[error("field {field:?}: {problem}")]
    Field { field: &'static str, problem: String },
}

impl MessageError {
    /// A field that is not as it should be.
    pub fn field(field: &'static str, problem: impl ToString) -> Self {
        Self::Field { field, problem: echo(&problem.to_string()) }
    }

    /// Class reported to peers.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Empty
            | Self::NotAnObject { .. }
            | Self::TooManyFields { .. }
            | Self::Missing { .. }
            | Self::Field { .. } => ErrorKind::InvalidArgument,
        }
    }

    /// The field's name, for `details.field`.
    pub const fn field_name(&self) -> Option<&'static str> {
        match self {
            Self::Missing { field } | Self::Field { field, .. } => Some(field),
            Self::Empty | Self::NotAnObject { .. } | Self::TooManyFields { .. } => None,
        }
    }
}

/// As much of `text` as an error may repeat.
fn echo(text: &str) -> String {
    shortened(text, MAX_ECHO_CHARS)
}

fn shortened(text: &str, max_chars: usize) -> String {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
