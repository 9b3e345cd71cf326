//! A file: its headers, its bytes.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use http_body_util::Full;
use tonic::body::Body;

use super::{
    body::body,
    empty,
    failure::{Failed, REPO_COMMIT},
    header_text,
    range::{Wanted, wanted},
    route::Route,
};
use crate::models::{DescribedFile, FileName, FilePath, SharedModels};

const LINKED_ETAG: HeaderName = HeaderName::from_static("x-linked-etag");
const LINKED_SIZE: HeaderName = HeaderName::from_static("x-linked-size");

pub(super) async fn resolve(
    models: &SharedModels,
    route: &Route,
    file_path: &str,
    parts: &Parts,
) -> Result<Response<Body>, Failed> {
    let name = name(route, file_path)?;
    let described = models.describe_file(name.clone()).await?;
    let etag = format!("\"{}\"", described.etag);
    let mut response = empty(StatusCode::OK);
    if matches_any(parts.headers.get(header::IF_NONE_MATCH), &etag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        describe(response.headers_mut(), &described, &etag);
        return Ok(response);
    }
    // A part of another version would be of no use: then the whole file is sent.
    let if_range = parts.headers.get(header::IF_RANGE);
    let ranged = if_range.is_none_or(|condition| condition.as_bytes() == etag.as_bytes());
    let asked = parts.headers.get(header::RANGE).filter(|_| ranged && parts.method == Method::GET);
    let size = described.size_bytes;
    let range = match wanted(asked.map(HeaderValue::as_bytes), size) {
        Wanted::Whole => 0..size,
        Wanted::Part(range) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let content_range = format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1));
            response.headers_mut().insert(header::CONTENT_RANGE, header_text(&content_range));
            range
        }
        Wanted::Unsatisfiable => {
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            response.headers_mut().insert(header::CONTENT_RANGE, header_text(&format!("bytes */{size}")));
            0..0
        }
    };
    describe(response.headers_mut(), &described, &etag);
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
    // An empty file has no bytes to send, and is to be in the cache all the same.
    if parts.method == Method::GET && (!range.is_empty() || size == 0) {
        let file = models.stream(name).await?;
        if file.resolved.etag != described.etag || file.resolved.size_bytes != size {
            // It was moved in between: what has been said about it is no longer true.
            return Err(Failed::changed());
        }
        *response.body_mut() = body(models.reader(file, range)?);
    }
    Ok(response)
}

/// What git holds: small files as they are, pointers for large ones.
pub(super) async fn raw(
    models: &SharedModels,
    route: &Route,
    file_path: &str,
    parts: &Parts,
) -> Result<Response<Body>, Failed> {
    let name = name(route, file_path)?;
    let described = models.describe_file(name).await?;
    let Some(pointer) = described.pointer() else {
        return resolve(models, route, file_path, parts).await;
    };
    let mut response = empty(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(pointer.len()));
    headers.insert(REPO_COMMIT, header_text(described.commit.as_str()));
    if parts.method == Method::GET {
        *response.body_mut() = Body::new(Full::from(pointer));
    }
    Ok(response)
}

fn name(route: &Route, file_path: &str) -> Result<FileName, Failed> {
    Ok(FileName {
        model_id: route.model_id.clone(),
        revision: route.revision.clone(),
        file_path: FilePath::parse(file_path)?,
    })
}

fn describe(headers: &mut HeaderMap, described: &DescribedFile, etag: &str) {
    headers.insert(header::ETAG, header_text(etag));
    headers.insert(REPO_COMMIT, header_text(described.commit.as_str()));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // A browser may keep it, and has to ask whether it still holds.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if described.pointer().is_some() {
        headers.insert(LINKED_ETAG, header_text(etag));
        headers.insert(LINKED_SIZE, HeaderValue::from(described.size_bytes));
    }
    if !headers.contains_key(header::CONTENT_LENGTH) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(described.size_bytes));
    }
}

/// Is the tag in an `If-None-Match`? Source: RFC 9110, section 13.1.2, which compares weakly.
fn matches_any(header: Option<&HeaderValue>, etag: &str) -> bool {
    let Some(tags) = header.and_then(|header| header.to_str().ok()) else { return false };
    tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}
