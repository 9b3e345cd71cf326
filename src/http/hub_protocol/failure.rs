//! Errors as the Hub's clients know them.

use std::io;

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use tonic::body::Body;

use super::header_text;
use crate::{
    error::{ErrorKind, is_lack},
    models::{ModelError, UpstreamError},
};

const ERROR_CODE: HeaderName = HeaderName::from_static("x-error-code");
const ERROR_MESSAGE: HeaderName = HeaderName::from_static("x-error-message");
pub(super) const REPO_COMMIT: HeaderName = HeaderName::from_static("x-repo-commit");

/// When a client that found all places taken may come again, in seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// Why a request is not answered as asked.
#[derive(Debug)]
pub(super) struct Failed {
    status: StatusCode,
    /// The Hub's own word for it, where it has one.
    code: Option<&'static str>,
    message: String,
    /// The commit that is certain to have no such file.
    commit: Option<String>,
    /// It may go well in a moment.
    is_busy: bool,
}

impl Failed {
    fn new(status: StatusCode, code: Option<&'static str>, message: impl ToString) -> Self {
        Self { status, code, message: message.to_string(), commit: None, is_busy: false }
    }

    pub(super) fn bad_request(message: impl ToString) -> Self {
        Self::new(StatusCode::BAD_REQUEST, None, message)
    }

    pub(super) fn changed() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, None, "the revision was moved meanwhile: try again")
    }

    pub(super) fn method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, None, "models are read here: GET and HEAD; POST for paths-info")
    }

    /// `kind`: in the plural.
    pub(super) fn not_a_model(kind: &str) -> Self {
        let message = format!("framehost serves models only, no {kind}");
        Self::new(StatusCode::NOT_FOUND, Some("RepoNotFound"), message)
    }

    pub(super) fn no_such_folder(folder: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, Some("EntryNotFound"), format!("there is no folder {folder:?}"))
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let json = serde_json::json!({"error": self.message}).to_string();
        let mut response = Response::new(Body::new(Full::from(json)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ERROR_MESSAGE, header_text(&self.message));
        if let Some(code) = self.code {
            headers.insert(ERROR_CODE, HeaderValue::from_static(code));
        }
        if let Some(commit) = self.commit {
            headers.insert(REPO_COMMIT, header_text(&commit));
        }
        if self.is_busy {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        if self.status == StatusCode::METHOD_NOT_ALLOWED {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
        }
        response
    }
}

impl From<ModelError> for Failed {
    fn from(error: ModelError) -> Self {
        let mut failed = Self::new(status(&error), code(&error), &error);
        if let ModelError::FileAbsent { commit, .. } = &error {
            failed.commit = Some(commit.clone());
        }
        failed.is_busy = is_busy(&error);
        failed
    }
}

fn code(error: &ModelError) -> Option<&'static str> {
    match error {
        ModelError::Shared(error) => code(error),
        ModelError::ModelNotFound { .. }
        | ModelError::Upstream(UpstreamError::ModelNotFound { .. } | UpstreamError::Off) => Some("RepoNotFound"),
        ModelError::RevisionNotFound { .. } | ModelError::Upstream(UpstreamError::RevisionNotFound { .. }) => {
            Some("RevisionNotFound")
        }
        ModelError::FileNotFound { .. }
        | ModelError::FileAbsent { .. }
        | ModelError::Upstream(UpstreamError::FileNotFound { .. }) => Some("EntryNotFound"),
        ModelError::Upstream(UpstreamError::Gated { .. }) => Some("GatedRepo"),
        _ => None,
    }
}

/// Is it a lack that passes by itself, unlike that of room on the disk?
fn is_busy(error: &ModelError) -> bool {
    match error {
        ModelError::TooManyReaders { .. } => true,
        ModelError::Io { source, .. } => {
            is_lack(source) && !matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        }
        ModelError::Shared(error) => is_busy(error),
        _ => false,
    }
}

fn status(error: &ModelError) -> StatusCode {
    // Clients try again on their own after this one.
    if is_busy(error) {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    match error.kind() {
        ErrorKind::InvalidArgument => StatusCode::BAD_REQUEST,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::PermissionDenied | ErrorKind::Unauthenticated => StatusCode::FORBIDDEN,
        ErrorKind::OutOfRange => StatusCode::RANGE_NOT_SATISFIABLE,
        // What is damaged here or comes wrong from upstream is no answer that a client may keep.
        ErrorKind::DataLoss | ErrorKind::Aborted => StatusCode::BAD_GATEWAY,
        ErrorKind::Unavailable | ErrorKind::Cancelled | ErrorKind::DeadlineExceeded => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::ResourceExhausted => StatusCode::INSUFFICIENT_STORAGE,
        ErrorKind::Unknown
        | ErrorKind::AlreadyExists
        | ErrorKind::FailedPrecondition
        | ErrorKind::Unimplemented
        | ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
