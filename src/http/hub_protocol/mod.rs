//! The Hugging Face Hub's read protocol, so that unmodified clients use the cache: `HF_ENDPOINT` for Python,
//! `env.remoteHost` for transformers.js.
//!
//! ```text
//! GET, HEAD  /{model_id}/resolve/{revision}/{file}         bytes; Range, If-None-Match, If-Range
//! GET, HEAD  /{model_id}/raw/{revision}/{file}             as git has it: the pointer of a large file
//! GET        /api/models/{model_id}[/revision/{revision}]  what it consists of
//! GET        /api/models/{model_id}/tree/{revision}[/{folder}]
//! POST       /api/models/{model_id}/paths-info/{revision}
//! GET        /api/models/{model_id}/refs
//! ```
//!
//! Belongs here: routes, headers, JSON, and errors as the Hub has them.
//! Does not belong here: files and listings (`models`), who may ask (`access`).
//!
//! Invariants:
//! - Never `X-Xet-*` and `Link: …; rel="xet-auth"`: clients would then go past the cache.
//! - A body that cannot be finished is cut, so that its length is short: no client takes it for whole.
//! - `X-Repo-Commit` stands at an error only where it is certain that the commit has no such file: clients remember.
//!
//! Source: huggingface_hub 2.4, `file_download.py`, `hf_api.py`, `utils/_http.py`; transformers.js 4.3, `utils/hub.js`.

mod api;
mod body;
mod failure;
#[cfg(all(feature = "fuzzing", target_os = "linux"))]
pub(crate) mod fuzz;
mod range;
mod resolve;
mod route;

use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};
use http_body_util::Full;
use hyper::body::Incoming;
use tonic::body::Body;

use self::{
    failure::Failed,
    route::{Asked, Route},
};
use crate::models::SharedModels;

/// Is it this protocol's?
pub(super) fn is_asked(parts: &Parts) -> bool {
    !matches!(Route::of(parts.uri.path()), Ok(None))
}

/// Answers a request; `None` if it is none of this protocol's.
pub(super) async fn answer(models: &SharedModels, parts: &Parts, body: Incoming) -> Option<Response<Body>> {
    let route = match Route::of(parts.uri.path()) {
        Ok(route) => route?,
        Err(failed) => return Some(failed.into_response()),
    };
    let is_read = parts.method == Method::GET || parts.method == Method::HEAD;
    let is_right = if matches!(route.asked, Asked::PathsInfo) { parts.method == Method::POST } else { is_read };
    if !is_right {
        return Some(Failed::method().into_response());
    }
    let query = parts.uri.query().unwrap_or_default();
    let answered = match &route.asked {
        Asked::File(file_path) => resolve::resolve(models, &route, file_path, parts).await,
        Asked::Raw(file_path) => resolve::raw(models, &route, file_path, parts).await,
        Asked::Info => api::info(models, &route, query).await,
        Asked::Tree(folder) => api::tree(models, &route, folder, query).await,
        Asked::PathsInfo => api::paths_info(models, &route, parts, body).await,
        Asked::Refs => api::refs(models, &route).await,
    };
    Some(answered.unwrap_or_else(Failed::into_response))
}

fn json(value: &serde_json::Value) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::from(value.to_string())));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A text that may stand in a header: what is no plain ASCII becomes `?`.
fn header_text(text: &str) -> HeaderValue {
    let plain: String = text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect();
    HeaderValue::from_str(&plain).unwrap_or_else(|_| HeaderValue::from_static("?"))
}

/// Without a body, for HEAD.
fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}
