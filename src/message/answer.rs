//! What goes back: answers, errors, events.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{MessageError, RequestId, shortened};
use crate::{error::ErrorKind, frame::FrameError};

/// Longest message of an error, in characters: room for two paths, and in JSON far below what a browser accepts.
const MAX_MESSAGE_CHARS: usize = 8192;

/// An error as a peer sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    code: ErrorKind,
    message: String,
    details: Map<String, Value>,
}

impl Failure {
    /// A failure without details. Of a long message, which repeats what a peer has named, the end is left out.
    pub fn new(code: ErrorKind, message: impl ToString) -> Self {
        Self { code, message: shortened(&message.to_string(), MAX_MESSAGE_CHARS), details: Map::new() }
    }

    /// The same with one more detail.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.details.insert(name.to_owned(), value.into());
        self
    }

    /// The same with `details.field`, where a field is to blame.
    #[must_use]
    pub fn with_field(self, field: Option<&str>) -> Self {
        match field {
            Some(field) => self.with("field", field),
            None => self,
        }
    }

    /// Class of the failure.
    pub const fn code(&self) -> ErrorKind {
        self.code
    }

    /// What a person reads.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl From<MessageError> for Failure {
    fn from(error: MessageError) -> Self {
        Self::new(error.kind(), &error).with_field(error.field_name())
    }
}

impl From<FrameError> for Failure {
    fn from(error: FrameError) -> Self {
        Self::new(error.kind(), &error).with_field(Some(error.field()))
    }
}

#[derive(Serialize)]
struct OkAnswer<'a, T> {
    id: &'a RequestId,
    ok: &'a T,
}

#[derive(Serialize)]
struct FailureAnswer<'a> {
    id: &'a RequestId,
    error: FailureBody<'a>,
}

#[derive(Serialize)]
struct FailureBody<'a> {
    code: &'static str,
    message: &'a str,
    details: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct Event<'a, T> {
    event: &'a str,
    #[serde(flatten)]
    fields: T,
}

/// `{"id": …, "ok": …}`.
///
/// # Errors
///
/// What serde_json says; the types in use cannot fail.
pub fn ok_answer(id: &RequestId, ok: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&OkAnswer { id, ok })
}

/// `{"id": …, "error": {…}}`.
///
/// # Errors
///
/// As [`ok_answer`].
pub fn failure_answer(id: &RequestId, failure: &Failure) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&FailureAnswer { id, error: body(failure) })
}

/// `{"event": name, …fields}`; `fields` serialises as an object.
///
/// # Errors
///
/// As [`ok_answer`].
pub fn event(name: &str, fields: impl Serialize) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(&Event { event: name, fields })
}

/// `{"event": "error", …}`.
///
/// # Errors
///
/// As [`ok_answer`].
pub fn failure_event(failure: &Failure) -> serde_json::Result<Vec<u8>> {
    event("error", body(failure))
}

fn body(failure: &Failure) -> FailureBody<'_> {
    FailureBody { code: failure.code.as_str(), message: &failure.message, details: &failure.details }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_the_documented_shape() {
        let id = RequestId::Number(7);
        let failure = Failure::new(ErrorKind::NotFound, "no such stream").with("stream_id", "cam");
        let check = |body: serde_json::Result<Vec<u8>>, expected: &str| {
            assert_eq!(String::from_utf8(body.unwrap()).unwrap(), expected);
        };
        check(ok_answer(&id, &Map::new()), r#"{"id":7,"ok":{}}"#);
        check(
            failure_answer(&RequestId::Text("a".to_owned()), &failure),
            r#"{"id":"a","error":{"code":"not_found","message":"no such stream","details":{"stream_id":"cam"}}}"#,
        );
        check(
            failure_event(&failure),
            r#"{"event":"error","code":"not_found","message":"no such stream","details":{"stream_id":"cam"}}"#,
        );
    }
}
