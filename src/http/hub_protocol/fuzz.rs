//! What must hold of paths, ranges and questions, whatever a client sends. See `fuzzing`.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{
    api,
    range::{Wanted, wanted},
    route::{Asked, Route},
};
use crate::models::{FilePath, ModelId, Revision};

/// A `Range` header. Input: size of the file (`u64`), header.
pub fn http_range(data: &[u8]) {
    let Some((size, header)) = data.split_first_chunk() else { return };
    let size = u64::from_le_bytes(*size);
    match wanted(Some(header), size) {
        Wanted::Part(range) => assert!(range.start < range.end && range.end <= size, "{range:?} of {size}"),
        Wanted::Unsatisfiable => assert!(header.starts_with(b"bytes=")),
        Wanted::Whole => {}
    }
    assert_eq!(wanted(None, size), Wanted::Whole);
}

/// The path of a request.
pub fn http_route(data: &[u8]) {
    let Some(Ok(Some(route))) = str::from_utf8(data).ok().map(Route::of) else { return };
    assert!(ModelId::parse(route.model_id.as_str()).is_ok_and(|same| same == route.model_id));
    assert!(Revision::parse(route.revision.as_str()).is_ok_and(|same| same == route.revision));
    let folder = route.model_id.folder_name();
    assert!(!folder.contains('/') && ModelId::from_folder_name(&folder).as_ref() == Some(&route.model_id));
    let (kind, file_path) = match &route.asked {
        Asked::File(file_path) => ("resolve", file_path),
        Asked::Raw(file_path) => ("raw", file_path),
        Asked::Info | Asked::Tree(_) | Asked::PathsInfo | Asked::Refs => return,
    };
    if let Ok(file_path) = FilePath::parse(file_path) {
        check_inside(&file_path);
    }
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    // Slashes, too: else `refs` and `pr/1/a` would be `refs/pr/1` and `a`.
    let (revision, file_path) = (encoded(route.revision.as_str()), encoded(file_path));
    let again = format!("/{}/{kind}/{revision}/{file_path}", route.model_id.as_str());
    assert!(Route::of(&again).is_ok_and(|same| same.as_ref() == Some(&route)), "{again:?} leads elsewhere");
}

/// No component of it leads up, away or to another name on another system.
fn check_inside(file_path: &FilePath) {
    for component in file_path.components() {
        assert!(!matches!(component, "" | "." | "..") && !component.contains(['/', '\\', '\0', ':']), "{file_path:?}");
    }
}

/// The body of a question about paths, as JSON and as a form.
pub fn http_paths(data: &[u8]) {
    let of_json = api::paths_of_json(data).unwrap_or_default();
    for paths in [of_json, api::paths_of_form(data)] {
        let bytes: usize = paths.iter().map(String::len).sum();
        // A byte that is no UTF-8 becomes a sign of three.
        assert!(paths.len() <= data.len() && bytes <= 3 * data.len(), "{bytes} bytes of {}", data.len());
    }
}
