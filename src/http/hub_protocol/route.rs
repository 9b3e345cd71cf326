//! Which model, revision and file a path names.

use percent_encoding::percent_decode_str;

use super::failure::Failed;
use crate::models::{ModelId, Revision};

/// A request, as far as its path tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) model_id: ModelId,
    pub(super) revision: Revision,
    pub(super) asked: Asked,
}

/// What is asked about the revision.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    File(String),
    Raw(String),
    Info,
    /// What is in a folder; empty: at the top.
    Tree(String),
    PathsInfo,
    Refs,
}

/// What the Hub has beside models, by the first component of their paths.
const OTHER_KINDS: [&str; 3] = ["datasets", "spaces", "kernels"];

impl Route {
    /// Reads a path, still encoded; `None` if it is none of the Hub's.
    pub(super) fn of(path: &str) -> Result<Option<Self>, Failed> {
        let decoded = path.trim_start_matches('/').split('/').map(|part| percent_decode_str(part).decode_utf8());
        let Ok(parts) = decoded.collect::<Result<Vec<_>, _>>() else {
            return Err(Failed::bad_request("the path is not UTF-8"));
        };
        let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
        match parts.as_slice() {
            ["api", "models", rest @ ..] => api(rest),
            ["api", kind, _, ..] if OTHER_KINDS.contains(kind) => Err(Failed::not_a_model(kind)),
            ["api", ..] => Ok(None),
            [kind, rest @ ..] if OTHER_KINDS.contains(kind) && rest.contains(&"resolve") => {
                Err(Failed::not_a_model(kind))
            }
            // A model may be called so itself: two components come first.
            [org, name, "resolve", rest @ ..] if !rest.is_empty() => file(&format!("{org}/{name}"), rest, Asked::File),
            [name, "resolve", rest @ ..] if !rest.is_empty() => file(name, rest, Asked::File),
            [org, name, "raw", rest @ ..] if !rest.is_empty() => file(&format!("{org}/{name}"), rest, Asked::Raw),
            [name, "raw", rest @ ..] if !rest.is_empty() => file(name, rest, Asked::Raw),
            _ => Ok(None),
        }
    }

    fn new(model_id: &str, revision: &str, asked: Asked) -> Result<Option<Self>, Failed> {
        let revision = if revision.is_empty() { Revision::default() } else { Revision::parse(revision)? };
        Ok(Some(Self { model_id: ModelId::parse(model_id)?, revision, asked }))
    }
}

fn file(model_id: &str, rest: &[&str], asked: impl FnOnce(String) -> Asked) -> Result<Option<Route>, Failed> {
    let (revision, file_path) = revision_and_path(rest);
    if file_path.is_empty() {
        return Ok(None);
    }
    Route::new(model_id, &revision, asked(file_path))
}

fn api(rest: &[&str]) -> Result<Option<Route>, Failed> {
    // One or two components of the model's id, then what is asked.
    let keyword = |at: usize| rest.get(at).copied().unwrap_or_default();
    for at in [1, 2] {
        let (id, after) = rest.split_at(at.min(rest.len()));
        let (id, after) = (id.join("/"), after.get(1..).unwrap_or_default());
        match keyword(at) {
            "revision" if !after.is_empty() => return Route::new(&id, &revision_and_path(after).0, Asked::Info),
            "tree" if !after.is_empty() => {
                let (revision, folder) = revision_and_path(after);
                return Route::new(&id, &revision, Asked::Tree(folder.trim_end_matches('/').to_owned()));
            }
            "paths-info" if !after.is_empty() => {
                return Route::new(&id, &revision_and_path(after).0, Asked::PathsInfo);
            }
            "refs" if after.is_empty() => return Route::new(&id, "", Asked::Refs),
            _ => {}
        }
    }
    match rest {
        [name] | [name, ""] if !name.is_empty() => Route::new(name, "", Asked::Info),
        [org, name] => Route::new(&format!("{org}/{name}"), "", Asked::Info),
        _ => Ok(None),
    }
}

/// A revision is one component, with its slashes encoded; the Hub knows these two kinds with plain ones, too.
fn revision_and_path(parts: &[&str]) -> (String, String) {
    let length = match parts {
        ["refs", "pr" | "convert", _, ..] => 3,
        _ => 1,
    };
    let (revision, path) = parts.split_at(length.min(parts.len()));
    (revision.join("/"), path.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, expected: Option<(&str, &str, Asked)>) {
        let route = Route::of(path).unwrap_or_else(|failed| panic!("{path}: {failed:?}"));
        let expected = expected.map(|(model_id, revision, asked)| Route {
            model_id: ModelId::parse(model_id).unwrap(),
            revision: Revision::parse(revision).unwrap(),
            asked,
        });
        assert_eq!(route, expected, "{path}");
    }

    #[test]
    fn paths_of_files_are_read() {
        let file = |path: &str| Asked::File(path.to_owned());
        check("/gpt2/resolve/main/config.json", Some(("gpt2", "main", file("config.json"))));
        check("/org/name/resolve/main/a/b%20c.bin", Some(("org/name", "main", file("a/b c.bin"))));
        check("/org/name/resolve/refs%2Fpr%2F1/x", Some(("org/name", "refs/pr/1", file("x"))));
        check("/org/name/resolve/refs/pr/1/a/x", Some(("org/name", "refs/pr/1", file("a/x"))));
        check("/org/resolve/resolve/main/x", Some(("org/resolve", "main", file("x"))));
        check("/org/name/raw/v1/x", Some(("org/name", "v1", Asked::Raw("x".to_owned()))));
        check("/org/name/resolve/main", None);
        check("/org/name/resolve/main/", None);
        check("/healthz", None);
        check("/a/b/c/resolve/main/x", None);
    }

    #[test]
    fn paths_of_the_api_are_read() {
        let tree = |folder: &str| Asked::Tree(folder.to_owned());
        check("/api/models/gpt2", Some(("gpt2", "main", Asked::Info)));
        check("/api/models/org/name", Some(("org/name", "main", Asked::Info)));
        check("/api/models/org/name/revision/v%2F1", Some(("org/name", "v/1", Asked::Info)));
        check("/api/models/gpt2/tree/main", Some(("gpt2", "main", tree(""))));
        check("/api/models/org/name/tree/main/a/b", Some(("org/name", "main", tree("a/b"))));
        check("/api/models/org/name/tree/main/a%2Fb", Some(("org/name", "main", tree("a/b"))));
        check("/api/models/org/tree", Some(("org/tree", "main", Asked::Info)));
        check("/api/models/org/name/paths-info/main", Some(("org/name", "main", Asked::PathsInfo)));
        check("/api/models/org/name/refs", Some(("org/name", "main", Asked::Refs)));
        check("/api/models/", None);
        check("/api/agent-harnesses", None);
    }

    #[test]
    fn what_no_model_can_be_is_refused() {
        for path in [
            "/../etc/resolve/main/passwd",
            "/org/name/resolve/../x",
            "/org/name/resolve/%2E%2E/x",
            "/api/models/org/na%00me",
            "/org/%FF/resolve/main/x",
            "/datasets/org/name/resolve/main/x",
            "/api/spaces/org/name",
            "/org/name/resolve/a%2F..%2Fb/x",
        ] {
            assert!(Route::of(path).is_err(), "{path}");
        }
    }
}
