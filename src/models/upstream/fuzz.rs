//! What must hold of an answer of upstream's API, whatever it is. See `fuzzing`.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderValue, header};
use reqwest::Url;

use super::hub::{Entry, MAX_FILE_BYTES, MAX_FOLDERS, content_range, described, next_page, retry_after};
use crate::models::{
    FilePath,
    name::is_lower_hex,
    tree::{Tree, TreeFile},
};

/// A page of a listing. Input: a line of a header, page.
pub fn hub_listing(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (line, json) = data.split_at(end);
    headers(line);
    let _ = serde_json::from_slice::<Tree>(json);
    let Ok(url) = Url::parse("https://hub.example/api/models/org/name/tree/main") else { return };
    let Ok(entries) = serde_json::from_slice::<Vec<Entry>>(json) else { return };
    let mut files: BTreeMap<String, TreeFile> = BTreeMap::new();
    for (path, file) in entries.into_iter().filter_map(|entry| described(entry, &url).ok()) {
        assert!(FilePath::parse(&path).is_ok() || FilePath::is_unportable(&path), "{path:?}");
        assert!(path.matches('/').count() <= MAX_FOLDERS, "{path:?}");
        assert!(!path.starts_with('/') && !path.split('/').any(|part| part == ".."), "{path:?}");
        assert!(file.true_size() <= MAX_FILE_BYTES);
        assert!(is_lower_hex(file.etag(), 40) || is_lower_hex(file.etag(), 64), "{file:?}");
        files.insert(path, file);
    }
    let json = Tree::new(files).to_json();
    let again = serde_json::from_slice::<Tree>(&json).map(|tree| tree.to_json());
    assert!(again.is_ok_and(|again| again == json), "a tree of our own is read otherwise");
}

fn headers(line: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(line) else { return };
    let with = |name| HeaderMap::from_iter([(name, value.clone())]);
    let _ = content_range(&with(header::CONTENT_RANGE));
    let _ = value.to_str().map(retry_after);
    let endpoint = Url::parse("https://hub.example/prefix");
    let Some((endpoint, url)) = endpoint.ok().and_then(|end| Some((end.clone(), end.join("/api/models/x").ok()?)))
    else {
        return;
    };
    if let Ok(Some(next)) = next_page(&endpoint, &url, &with(header::LINK)) {
        assert_eq!(next.origin(), endpoint.origin(), "the token goes elsewhere");
    }
}
