//! huggingface_hub's store of bytes that several models share: `<cache>/blobs/<xx>/<xet hash>`, with a list of the links
//! to each beside it.
//!
//! The list is a hint: every line of it is compared with the links themselves, and where it is missing or cannot be read
//! the bytes stay. Source: huggingface_hub 2.4, `utils/_shared_blobs.py`.

use std::{
    collections::BTreeSet,
    fs::{self, File, TryLockError},
    io::{self, Read},
    path::{Component, Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::super::{
    name::is_lower_hex,
    publish::publish_bytes,
    system::{self, open_file},
};
use crate::models::ModelError;

/// How long another process may hold the lock of a shared file.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause between two tries for a lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// huggingface_hub's mode of a list and of its lock: other users link to the same bytes.
const SHARED_MODE: u32 = 0o666;

/// Longest list of links that is read, in bytes (16 MiB).
const MAX_LIST_BYTES: u64 = 16 << 20;

/// Marks a store of the layout that is known here.
const MARKER: &str = ".huggingface-shared-blobs";
const MARKER_CONTENT: &[u8] = b"1\n";

/// Folders of a cache that may link into the store.
const REPOSITORIES: [&str; 4] = ["models--", "datasets--", "spaces--", "kernels--"];

/// Is there a store that is understood here?
pub(super) fn exists(cache_dir: &Path) -> bool {
    let store = cache_dir.join("blobs");
    let is_dir = fs::symlink_metadata(&store).is_ok_and(|metadata| metadata.is_dir());
    is_dir && is_regular(&store.join(MARKER)) && fs::read(store.join(MARKER)).is_ok_and(|text| text == MARKER_CONTENT)
}

/// What `<model>/blobs/<etag>` stands for in the store; `None` if it is a file of its own.
pub(super) fn target(blob: &Path, cache_dir: &Path) -> io::Result<Option<PathBuf>> {
    let link = match fs::read_link(blob) {
        Ok(link) => link,
        // No link, or nothing at all.
        Err(error) if system::is_no_link(&error) || error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let whole = if link.is_absolute() { link } else { blob.parent().unwrap_or(blob).join(link) };
    let whole = plain(&whole);
    let inside = whole.strip_prefix(plain(&cache_dir.join("blobs"))).ok().map(Path::to_owned);
    Ok(inside.filter(|inside| is_payload(inside)).map(|inside| cache_dir.join("blobs").join(inside)))
}

/// Every file of the store, with its size.
pub(super) fn files(cache_dir: &Path) -> Vec<(PathBuf, u64)> {
    if !exists(cache_dir) {
        return Vec::new();
    }
    let store = cache_dir.join("blobs");
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    let folders = entries(&store).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let paths = folders.flat_map(|folder| entries(&folder.path()).map(|entry| entry.path()).collect::<Vec<_>>());
    let is_ours = |path: &PathBuf| path.strip_prefix(&store).is_ok_and(is_payload) && is_regular(path);
    paths
        .filter(is_ours)
        .filter_map(|path| Some((fs::symlink_metadata(&path).ok()?.len(), path)))
        .map(|(size, path)| (path, size))
        .collect()
}

/// Does the list of a shared file say for certain that nobody but those in `except` links to it?
pub(super) fn is_free(payload: &Path, cache_dir: &Path, except: &BTreeSet<PathBuf>) -> bool {
    links(payload, cache_dir).is_some_and(|links| links.is_subset(except))
}

/// Removes a shared file if nobody links to it any more, and says how many bytes that freed.
pub(super) fn sweep(payload: &Path, cache_dir: &Path) -> Result<u64, ModelError> {
    if !exists(cache_dir) {
        return Ok(0);
    }
    let _lock = lock(payload)?;
    // What cannot be told stays.
    let Some(links) = links(payload, cache_dir) else { return Ok(0) };
    let list = list_of(payload);
    if !links.is_empty() {
        let relative = links.iter().filter_map(|link| link.strip_prefix(cache_dir).ok()?.to_str());
        let text: String = relative.map(|link| format!("{link}\n")).collect();
        publish_bytes(&list, text.as_bytes(), payload.parent().unwrap_or(cache_dir))?;
        let open_to_all = open_file(&list).and_then(|list| system::set_mode(&list, SHARED_MODE));
        if let Err(error) = open_to_all {
            tracing::debug!(%error, "the list of a shared file is not open to others");
        }
        return Ok(0);
    }
    if !is_regular(payload) {
        return Ok(0);
    }
    let action = "remove a shared file";
    let size = fs::symlink_metadata(payload).map_err(ModelError::io(action, payload))?.len();
    system::remove_file(payload).map_err(ModelError::io(action, payload))?;
    // Without its bytes the list means nothing.
    let _ = fs::remove_file(&list);
    Ok(size)
}

/// Who links to a shared file; `None` if that cannot be told.
fn links(payload: &Path, cache_dir: &Path) -> Option<BTreeSet<PathBuf>> {
    let list = list_of(payload);
    if !is_regular(&list) {
        return None;
    }
    let mut text = String::new();
    let read = open_file(&list).ok()?.take(MAX_LIST_BYTES + 1).read_to_string(&mut text).ok()?;
    if read as u64 > MAX_LIST_BYTES {
        return None;
    }
    let mut links = BTreeSet::new();
    for line in text.lines() {
        let Some(link) = listed(line).map(|link| cache_dir.join(link)) else { continue };
        if target(&link, cache_dir).ok()?.as_deref() == Some(payload) {
            links.insert(link);
        }
    }
    Some(links)
}

/// `models--org--name/blobs/<etag>` of a list.
fn listed(line: &str) -> Option<PathBuf> {
    let parts: Vec<_> = line.split('/').collect();
    let [repository, "blobs", etag] = parts[..] else { return None };
    let is_repository = REPOSITORIES.iter().any(|kind| repository.strip_prefix(kind).is_some_and(|id| !id.is_empty()));
    let is_name = !etag.is_empty() && etag != "." && etag != "..";
    (is_repository && is_name).then(|| parts.iter().collect())
}

/// `<xx>/<xet hash>` of the store?
fn is_payload(inside: &Path) -> bool {
    let parts: Vec<_> = inside.iter().filter_map(|part| part.to_str()).collect();
    match parts[..] {
        [prefix, hash] => is_lower_hex(hash, 64) && hash.get(..2) == Some(prefix),
        _ => false,
    }
}

fn list_of(payload: &Path) -> PathBuf {
    beside(payload, ".refs")
}

fn beside(payload: &Path, suffix: &str) -> PathBuf {
    let mut name = payload.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn is_regular(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// A path without `.` and `..`, by its letters alone, as Python's `abspath`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

/// huggingface_hub's lock of one shared file. It stays, as there.
fn lock(payload: &Path) -> Result<File, ModelError> {
    let path = beside(payload, ".lock");
    let action = "lock a shared file";
    let file = system::open_lock(&path, SHARED_MODE).map_err(ModelError::io(action, &path))?;
    // Another user's; then it has this mode already.
    let _ = system::set_mode(&file, SHARED_MODE);
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if began.elapsed() < LOCK_TIMEOUT => thread::sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => return Err(ModelError::Locked { waited_s: LOCK_TIMEOUT.as_secs(), path }),
            Err(TryLockError::Error(error)) => return Err(ModelError::io(action, path)(error)),
        }
    }
}
