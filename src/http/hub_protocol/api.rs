//! What a model consists of, as JSON.

use std::collections::BTreeSet;

use http::{Response, header, request::Parts};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};
use tonic::body::Body;

use super::{failure::Failed, route::Route};
use crate::{
    hex,
    models::{ListedFile, SharedModels},
};

/// Longest body of a question, in bytes (1 MiB).
const MAX_QUESTION_BYTES: usize = 1 << 20;

/// Paths in one question.
const MAX_PATHS: usize = 1000;

/// The model, and the names of its files; with `blobs=true` sizes and digests too.
pub(super) async fn info(models: &SharedModels, route: &Route, query: &str) -> Result<Response<Body>, Failed> {
    let listing = models.listing(&route.model_id, &route.revision).await?;
    let with_blobs = flag(query, "blobs");
    let sibling = |file: ListedFile<'_>| {
        let mut sibling = json!({"rfilename": file.file_path});
        if with_blobs && let Some(sibling) = sibling.as_object_mut() {
            sibling.insert("size".to_owned(), file.size_bytes.into());
            sibling.insert("blobId".to_owned(), file.blob_id.into());
            if let Some(pointer_size) = file.pointer_size {
                let lfs = json!({"sha256": file.etag, "size": file.size_bytes, "pointerSize": pointer_size});
                sibling.insert("lfs".to_owned(), lfs);
            }
        }
        sibling
    };
    let id = route.model_id.as_str();
    Ok(super::json(&json!({
        "id": id,
        "modelId": id,
        "author": id.split_once('/').map(|(author, _)| author),
        "sha": listing.commit.as_str(),
        "private": false,
        "gated": false,
        "disabled": false,
        "tags": [],
        "siblings": listing.files().map(sibling).collect::<Vec<_>>(),
    })))
}

/// The files and folders in a folder; with `recursive=true` all below it.
pub(super) async fn tree(
    models: &SharedModels,
    route: &Route,
    folder: &str,
    query: &str,
) -> Result<Response<Body>, Failed> {
    let listing = models.listing(&route.model_id, &route.revision).await?;
    let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
    let recursive = flag(query, "recursive");
    let mut entries = Vec::new();
    let mut folders = BTreeSet::new();
    for file in listing.files() {
        let Some(below) = file.file_path.strip_prefix(&prefix) else { continue };
        let depth = below.matches('/').count();
        for (at, _) in below.match_indices('/').take(if recursive { depth } else { 1 }) {
            folders.insert(format!("{prefix}{}", below.get(..at).unwrap_or_default()));
        }
        if recursive || depth == 0 {
            entries.push(entry(file));
        }
    }
    if entries.is_empty() && folders.is_empty() && !folder.is_empty() {
        return Err(Failed::no_such_folder(folder));
    }
    entries.extend(folders.iter().map(|path| folder_entry(listing.commit.as_str(), path)));
    Ok(super::json(&entries.into()))
}

/// The files and folders of the names given.
pub(super) async fn paths_info(
    models: &SharedModels,
    route: &Route,
    parts: &Parts,
    body: Incoming,
) -> Result<Response<Body>, Failed> {
    let body = Limited::new(body, MAX_QUESTION_BYTES).collect().await;
    let body = body.map_err(|_| Failed::bad_request("a list of paths, at most 1 MiB"))?.to_bytes();
    let is_json =
        parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
    let paths = if is_json { paths_of_json(&body)? } else { paths_of_form(&body) };
    let listing = models.listing(&route.model_id, &route.revision).await?;
    let mut seen = BTreeSet::new();
    let paths = paths.iter().map(|path| path.trim_matches('/')).filter(|path| seen.insert(*path)).collect::<Vec<_>>();
    if paths.len() > MAX_PATHS {
        return Err(Failed::bad_request(format!("at most {MAX_PATHS} paths")));
    }
    let mut entries = Vec::new();
    for path in paths {
        match listing.file(path) {
            Some(file) => entries.push(entry(file)),
            None if listing.has_folder(path) => entries.push(folder_entry(listing.commit.as_str(), path)),
            None => {}
        }
    }
    Ok(super::json(&entries.into()))
}

/// The names that the cache knows, with their commits.
pub(super) async fn refs(models: &SharedModels, route: &Route) -> Result<Response<Body>, Failed> {
    let names = models.names(&route.model_id).await?;
    let one = |(name, commit): (String, String)| match name.strip_prefix("refs/") {
        Some(_) => json!({"name": name, "ref": name, "targetCommit": commit}),
        None => json!({"name": name, "ref": format!("refs/heads/{name}"), "targetCommit": commit}),
    };
    let (converts, branches): (Vec<_>, Vec<_>) = names.into_iter().partition(|(name, _)| name.starts_with("refs/"));
    let list = |names: Vec<(String, String)>| names.into_iter().map(one).collect::<Vec<_>>();
    Ok(super::json(&json!({"branches": list(branches), "tags": [], "converts": list(converts)})))
}

fn entry(file: ListedFile<'_>) -> Value {
    let mut entry = json!({
        "type": "file",
        "oid": file.blob_id,
        "size": file.size_bytes,
        "path": file.file_path,
    });
    if let Some(pointer_size) = file.pointer_size
        && let Some(entry) = entry.as_object_mut()
    {
        let lfs = json!({"oid": file.etag, "size": file.size_bytes, "pointerSize": pointer_size});
        entry.insert("lfs".to_owned(), lfs);
    }
    entry
}

/// git's own digest of a folder is not known here; clients want one, and one that stays the same.
fn folder_entry(commit: &str, path: &str) -> Value {
    let oid = Sha1::digest(format!("{commit} {path}"));
    json!({"type": "directory", "oid": hex::lower(&oid), "size": 0, "path": path})
}

fn flag(query: &str, name: &str) -> bool {
    form_urlencoded::parse(query.as_bytes()).any(|(key, value)| key == name && value.eq_ignore_ascii_case("true"))
}

pub(super) fn paths_of_form(body: &[u8]) -> Vec<String> {
    form_urlencoded::parse(body).filter(|(key, _)| key == "paths").map(|(_, path)| path.into_owned()).collect()
}

pub(super) fn paths_of_json(body: &[u8]) -> Result<Vec<String>, Failed> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Paths {
        Many(Vec<String>),
        One(String),
    }
    #[derive(serde::Deserialize)]
    struct Question {
        paths: Paths,
    }
    let question: Question =
        serde_json::from_slice(body).map_err(|error| Failed::bad_request(format!("paths: {error}")))?;
    Ok(match question.paths {
        Paths::Many(paths) => paths,
        Paths::One(path) => vec![path],
    })
}
