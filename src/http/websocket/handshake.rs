//! The upgrade from HTTP/1.1, and why it is refused.

use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, header, request::Parts};
use http_body_util::Full;
use sha1::{Digest, Sha1};
use tonic::body::Body;

use crate::{
    access::{SUBPROTOCOL, Scope, subprotocols},
    error::ErrorKind,
    frame::FrameError,
    streams::{StreamError, WishError},
};

/// What is hashed behind the client's key. Source: RFC 6455, section 1.3.
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The version of the protocol. Source: RFC 6455, section 4.1.
const VERSION: HeaderValue = HeaderValue::from_static("13");

/// Why there will be no socket. Browsers show nobody more than that.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    message: String,
}

impl Refused {
    pub(super) fn new(status: StatusCode, message: impl ToString) -> Self {
        Self { status, message: message.to_string() }
    }

    pub(super) fn no_session() -> Self {
        Self::new(StatusCode::FORBIDDEN, "the token is no session's of this origin")
    }

    pub(super) fn not_allowed(extension: Option<&str>, scope: Scope) -> Self {
        Self::new(StatusCode::FORBIDDEN, scope.missing(extension).advice)
    }

    pub(super) fn too_many() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "this session has too many sockets open already")
    }

    pub(super) fn no_upgrade() -> Self {
        Self::new(StatusCode::UPGRADE_REQUIRED, "a stream is reached by a WebSocket")
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let json = serde_json::json!({"error": self.message}).to_string();
        let mut response = Response::new(Body::new(Full::from(json)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.status == StatusCode::UPGRADE_REQUIRED {
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, VERSION);
        }
        response
    }
}

impl From<StreamError> for Refused {
    fn from(error: StreamError) -> Self {
        let status = match error.kind() {
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
            ErrorKind::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::BAD_REQUEST,
        };
        Self::new(status, error)
    }
}

impl From<WishError> for Refused {
    fn from(error: WishError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }
}

impl From<FrameError> for Refused {
    fn from(error: FrameError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }
}

/// The answer that accepts an upgrade.
///
/// # Errors
///
/// If the request asks for none, or for one of another kind.
pub(super) fn accept(parts: &Parts) -> Result<Response<Body>, Refused> {
    let headers = &parts.headers;
    let is_upgrade = parts.version == Version::HTTP_11
        && parts.method == Method::GET
        && names(headers, &header::CONNECTION, "upgrade")
        && names(headers, &header::UPGRADE, "websocket")
        && headers.get(header::SEC_WEBSOCKET_VERSION) == Some(&VERSION);
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|_| is_upgrade).ok_or_else(Refused::no_upgrade)?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = response.headers_mut();
    answer.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(header::SEC_WEBSOCKET_ACCEPT, accept_key(key.as_bytes())?);
    let mut offered = subprotocols(headers).peekable();
    // A client that offers some has to be answered with one of them; the one with the token is no answer.
    if offered.peek().is_some() {
        if !offered.any(|name| name == SUBPROTOCOL.as_bytes()) {
            let problem = format!("of the subprotocols none is {SUBPROTOCOL:?}");
            return Err(Refused::new(StatusCode::BAD_REQUEST, problem));
        }
        answer.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    Ok(response)
}

fn accept_key(key: &[u8]) -> Result<HeaderValue, Refused> {
    let digest = Sha1::new().chain_update(key).chain_update(KEY_SUFFIX).finalize();
    HeaderValue::try_from(base64_simd::STANDARD.encode_to_string(digest))
        .map_err(|error| Refused::new(StatusCode::INTERNAL_SERVER_ERROR, error))
}

/// Is the word in a list of words?
fn names(headers: &HeaderMap, header: &header::HeaderName, word: &str) -> bool {
    let lines = headers.get_all(header).into_iter();
    let mut words = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    words.any(|other| other.trim_ascii().eq_ignore_ascii_case(word.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_answered_as_the_standard_says() {
        // Source: RFC 6455, section 1.3.
        assert_eq!(accept_key(b"dGhlIHNhbXBsZSBub25jZQ==").unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }
}
