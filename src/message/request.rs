//! One request, borrowed from the body that it came in.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{
    MessageError, echo,
    members::{Members, members},
};

/// Members of a request that are kept, beside `id` and `type`; every request has fewer.
pub(super) const MAX_FIELDS: usize = 64;

/// Longest `id` that is a string, in characters.
const MAX_ID_CHARS: usize = 64;

/// Longest `type`, in bytes; every one that there is is shorter.
const MAX_KIND_BYTES: usize = 64;

/// Largest `id` that is a number: what JavaScript holds exactly.
const MAX_ID_NUMBER: u64 = (1 << 53) - 1;

/// What ties an answer to its request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(untagged)]
pub enum RequestId {
    /// An integer, `0..=2^53 - 1`.
    Number(u64),
    /// 1 to 64 characters.
    Text(String),
}

/// A request whose envelope is sound. Its fields are read on demand, so that an error can name the field.
#[derive(Debug)]
pub struct Request<'a> {
    id: Option<RequestId>,
    kind: Cow<'a, str>,
    fields: Members<'a>,
}

/// A body that is no request, with its `id` as far as it could be read.
#[derive(Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Whom to answer; without one the error is an event.
    pub id: Option<RequestId>,
    /// What is wrong.
    pub error: MessageError,
}

impl<'a> Request<'a> {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// [`Rejected`] if it is no JSON object, or `id` or `type` is not what it has to be.
    pub fn parse(body: &'a [u8]) -> Result<Self, Rejected> {
        let reject = |id, error| Rejected { id, error };
        if body.is_empty() {
            return Err(reject(None, MessageError::Empty));
        }
        let fields = members(body)
            .map_err(|error| reject(None, MessageError::NotAnObject { problem: echo(&error.to_string()) }))?;
        if fields.len() > MAX_FIELDS {
            return Err(reject(None, MessageError::TooManyFields { limit: MAX_FIELDS }));
        }
        let mut request = Self { id: None, kind: Cow::Borrowed(""), fields };
        request.id = request.read_id().map_err(|error| reject(None, error))?;
        request.kind = request.read_kind().map_err(|error| reject(request.id.clone(), error))?;
        Ok(request)
    }

    /// Whom to answer.
    pub const fn id(&self) -> Option<&RequestId> {
        self.id.as_ref()
    }

    /// The `type`.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// A field that may be absent or null.
    ///
    /// # Errors
    ///
    /// [`MessageError::Field`] if it is there and no `T`.
    pub fn optional<T: Deserialize<'a>>(&self, field: &'static str) -> Result<Option<T>, MessageError> {
        let Some(raw) = self.raw(field) else {
            return Ok(None);
        };
        serde_json::from_slice(raw).map_err(|error| MessageError::field(field, error))
    }

    /// A field that has to be there.
    ///
    /// # Errors
    ///
    /// [`MessageError::Missing`], or [`MessageError::Field`] if it is no `T`.
    pub fn required<T: Deserialize<'a>>(&self, field: &'static str) -> Result<T, MessageError> {
        self.optional(field)?.ok_or(MessageError::Missing { field })
    }

    /// A string that has to be there, borrowed unless it has escapes.
    ///
    /// # Errors
    ///
    /// As [`Self::required`].
    pub fn text(&self, field: &'static str) -> Result<Cow<'a, str>, MessageError> {
        let raw = self.raw(field).ok_or(MessageError::Missing { field })?;
        unescaped(raw).map_err(|error| MessageError::field(field, error))
    }

    /// Bytes that came as standard base64 with padding.
    ///
    /// # Errors
    ///
    /// As [`Self::required`].
    pub fn base64(&self, field: &'static str) -> Result<Vec<u8>, MessageError> {
        let raw = self.raw(field).ok_or(MessageError::Missing { field })?;
        // The usual case, and the only one from a browser: no character of base64 needs an escape in JSON.
        if let Some(Ok(bytes)) = quoted(raw).map(|inner| base64_simd::STANDARD.decode_to_vec(inner)) {
            return Ok(bytes);
        }
        base64_simd::STANDARD
            .decode_to_vec(self.text(field)?.as_bytes())
            .map_err(|_| MessageError::field(field, "not standard base64 with padding"))
    }

    /// The field as it stands in the body; the last one where it stands twice, as JavaScript reads it.
    fn raw(&self, field: &str) -> Option<&'a [u8]> {
        let (_, raw) = self.fields.iter().rfind(|(name, _)| name == field)?;
        (*raw != b"null").then_some(*raw)
    }

    fn read_kind(&self) -> Result<Cow<'a, str>, MessageError> {
        let kind = self.text("type")?;
        if kind.len() > MAX_KIND_BYTES {
            return Err(MessageError::field("type", format!("no type has more than {MAX_KIND_BYTES} bytes")));
        }
        Ok(kind)
    }

    fn read_id(&self) -> Result<Option<RequestId>, MessageError> {
        let Some(raw) = self.raw("id") else {
            return Ok(None);
        };
        let problem =
            || MessageError::field("id", "expected an integer from 0 to 2^53 - 1 or a string of 1 to 64 characters");
        if let Ok(number) = serde_json::from_slice::<u64>(raw) {
            return if number <= MAX_ID_NUMBER { Ok(Some(RequestId::Number(number))) } else { Err(problem()) };
        }
        match unescaped(raw) {
            Ok(text) if (1..=MAX_ID_CHARS).contains(&text.chars().count()) => {
                Ok(Some(RequestId::Text(text.into_owned())))
            }
            Ok(_) | Err(_) => Err(problem()),
        }
    }
}

/// What is between the quotes of a JSON string.
fn quoted(raw: &[u8]) -> Option<&[u8]> {
    raw.strip_prefix(b"\"")?.strip_suffix(b"\"")
}

/// A JSON string's characters.
fn unescaped(raw: &[u8]) -> Result<Cow<'_, str>, serde_json::Error> {
    match quoted(raw).map(str::from_utf8) {
        Some(Ok(inner)) if memchr::memchr(b'\\', inner.as_bytes()).is_none() => Ok(Cow::Borrowed(inner)),
        Some(_) | None => serde_json::from_slice::<String>(raw).map(Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn field_of(body: &str) -> Option<&'static str> {
        Request::parse(body.as_bytes()).unwrap_err().error.field_name()
    }

    #[test]
    fn parse_reads_the_envelope_and_its_fields() {
        let body = br#"{"data":"AQID","id":"a\u0062","type":"frame","width":7,"none":null,"width":8}"#;
        let request = Request::parse(body).unwrap();
        assert_eq!(request.id(), Some(&RequestId::Text("ab".to_owned())));
        assert_eq!(request.kind(), "frame");
        assert_eq!(request.required::<u32>("width"), Ok(8));
        assert_eq!(request.optional::<u32>("none"), Ok(None));
        assert_eq!(request.base64("data"), Ok(vec![1, 2, 3]));
        assert_eq!(request.required::<u32>("height"), Err(MessageError::Missing { field: "height" }));
        assert_eq!(request.required::<u32>("data").unwrap_err().field_name(), Some("data"));
    }

    #[test]
    fn text_borrows_unless_it_is_escaped() {
        let request = Request::parse(br#"{"type":"t","plain":"a/b","escaped":"a\/b"}"#).unwrap();
        assert!(matches!(request.text("plain"), Ok(Cow::Borrowed("a/b"))));
        assert_eq!(request.text("escaped").unwrap(), "a/b");
    }

    #[test]
    fn parse_refuses_what_is_no_object() {
        for body in [&b""[..], b"[]", b"1", b"null", b"\"x\"", b"{", b"{}x", b"\xff\xfe", b"{\"a\":\"\xff\"}", b"{1:2}"]
        {
            let rejected = Request::parse(body).unwrap_err();
            assert_eq!(rejected.id, None);
            assert_eq!(rejected.error.kind(), crate::error::ErrorKind::InvalidArgument);
        }
    }

    #[test]
    fn parse_names_the_wrong_part_of_the_envelope() {
        assert_eq!(field_of("{}"), Some("type"));
        assert_eq!(field_of(r#"{"type":5}"#), Some("type"));
        for id in ["-1", "1.5", "9007199254740992", "[]", "true", "\"\"", &format!("\"{}\"", "x".repeat(65))] {
            assert_eq!(field_of(&format!(r#"{{"id":{id},"type":"ping"}}"#)), Some("id"), "{id}");
        }
        for id in ["0", "9007199254740991", &format!("\"{}\"", "é".repeat(64))] {
            assert!(Request::parse(format!(r#"{{"id":{id},"type":"ping"}}"#).as_bytes()).is_ok(), "{id}");
        }
        for (len, is_known) in [(MAX_KIND_BYTES, true), (MAX_KIND_BYTES + 1, false), (2 << 20, false)] {
            let body = format!(r#"{{"type":"{}"}}"#, "x".repeat(len));
            assert_eq!(Request::parse(body.as_bytes()).is_ok(), is_known, "{len}");
        }
        let rejected = Request::parse(br#"{"id":3}"#).unwrap_err();
        assert_eq!(rejected.id, Some(RequestId::Number(3)));
    }

    #[test]
    fn deep_nesting_is_data_until_somebody_reads_it() {
        let body = format!(r#"{{"type":"t","x":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        let request = Request::parse(body.as_bytes()).unwrap();
        assert_eq!(request.required::<serde_json::Value>("x").unwrap_err().field_name(), Some("x"));
    }

    #[test]
    fn more_fields_than_any_request_has_are_refused() {
        let body = |count: usize| {
            let fields: String = (0..count - 1).map(|n| format!(r#","f{n}":0"#)).collect();
            format!(r#"{{"type":"t"{fields}}}"#)
        };
        assert!(Request::parse(body(MAX_FIELDS).as_bytes()).is_ok());
        let rejected = Request::parse(body(MAX_FIELDS + 1).as_bytes()).unwrap_err();
        assert_eq!(rejected.error, MessageError::TooManyFields { limit: MAX_FIELDS });
    }

    #[test]
    fn errors_repeat_little_of_what_was_sent() {
        let body = format!(r#"{{"type":"t","x":"{}"}}"#, "secret".repeat(100_000));
        let error = Request::parse(body.as_bytes()).unwrap().required::<u32>("x").unwrap_err();
        assert!(error.to_string().chars().count() < 2 * super::super::MAX_ECHO_CHARS);
    }

    #[test]
    fn base64_with_junk_is_refused() {
        for data in ["A", "AQI", "AQ=", "AQ==AQ==", "A Q=", "AQ\\n==", "_-==", "é"] {
            let body = format!(r#"{{"type":"t","data":"{data}"}}"#);
            assert_eq!(Request::parse(body.as_bytes()).unwrap().base64("data").unwrap_err().field_name(), Some("data"));
        }
    }

    proptest! {
        #[test]
        fn junk_never_panics(junk in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Request::parse(&junk);
        }

        #[test]
        fn base64_round_trips(data in prop::collection::vec(any::<u8>(), 0..2000)) {
            let body = serde_json::json!({"type": "t", "data": base64_simd::STANDARD.encode_to_string(&data)});
            let body = serde_json::to_vec(&body).unwrap();
            prop_assert_eq!(Request::parse(&body).unwrap().base64("data").unwrap(), data);
        }
    }
}
