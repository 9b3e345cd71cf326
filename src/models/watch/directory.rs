//! The cache directory: what the operating system tells of it, whether it is there yet or not.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode, ModifyKind},
};

use super::touched::{ToList, Touched};
use crate::models::system::{self, Identity};

/// Windows watches whatever is below a directory by one handle, and lets nobody remove or move a folder that has one of
/// its own.
const WATCHES_ALL: bool = cfg!(windows);

/// Watches a cache.
pub(super) struct Directory {
    path: PathBuf,
    touched: Arc<Touched>,
    watched: Option<Watched>,
    /// What the operating system refused; then everything is looked at now and then.
    is_silent: bool,
}

struct Watched {
    watcher: RecommendedWatcher,
    /// Behind every link.
    root: PathBuf,
    identity: Identity,
    folders: BTreeMap<String, Identity>,
}

impl Directory {
    pub(super) fn new(path: &Path, touched: &Arc<Touched>) -> Self {
        Self { path: path.to_owned(), touched: Arc::clone(touched), watched: None, is_silent: false }
    }

    /// Does the operating system not tell all that happens?
    pub(super) const fn is_silent(&self) -> bool {
        // Windows drops what happens faster than it is taken, which notify does not tell.
        self.is_silent || WATCHES_ALL
    }

    /// Watches what has come, and lets go of what is gone; `true` if it is another directory than before.
    pub(super) fn check(&mut self, touched: &ToList) -> bool {
        let identity = identity(&self.path);
        let is_new = self.watched.as_ref().map(|watched| watched.identity) != identity;
        if is_new {
            self.is_silent = false;
            self.watched = identity.and_then(|identity| self.begin(identity));
            self.is_silent |= identity.is_some() && self.watched.is_none();
        }
        let Some(watched) = &mut self.watched else { return is_new };
        let complete = if is_new || touched.all {
            let names = fs::read_dir(&watched.root).into_iter().flatten();
            let names = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            let folders: Vec<_> = names.filter(|name| name.starts_with("models--")).collect();
            folders.iter().map(|folder| watched.folder(folder)).fold(true, |all, one| all & one)
        } else {
            touched.folders.iter().map(|folder| watched.folder(folder)).fold(true, |all, one| all & one)
        };
        self.is_silent |= !complete;
        is_new
    }

    fn begin(&self, identity: Identity) -> Option<Watched> {
        let root = fs::canonicalize(&self.path).ok()?;
        let (touched, inside) = (Arc::clone(&self.touched), root.clone());
        let told = move |event: notify::Result<Event>| take(&touched, &inside, event);
        let watch = || {
            let mut watcher = notify::recommended_watcher(told)?;
            let mode = if WATCHES_ALL { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
            watcher.watch(&root, mode)?;
            Ok::<_, notify::Error>(watcher)
        };
        match watch() {
            Ok(watcher) => Some(Watched { watcher, root, identity, folders: BTreeMap::new() }),
            Err(error) => {
                tracing::debug!(%error, "the model cache is looked at now and then instead of being watched");
                None
            }
        }
    }
}

impl Watched {
    /// Watches a model's folder, if it is there and not watched yet; `false` if that cannot be.
    fn folder(&mut self, folder: &str) -> bool {
        if WATCHES_ALL {
            return true;
        }
        let path = self.root.join(folder);
        let there = identity(&path);
        if self.folders.get(folder).copied() == there {
            return true;
        }
        if self.folders.remove(folder).is_some() {
            // It went with the folder, as a rule.
            let _ = self.watcher.unwatch(&path);
        }
        let Some(there) = there else { return true };
        match self.watcher.watch(&path, RecursiveMode::Recursive) {
            Ok(()) => {
                self.folders.insert(folder.to_owned(), there);
                true
            }
            // It has gone meanwhile, which is told.
            Err(_) if identity(&path) != Some(there) => true,
            Err(error) => {
                tracing::debug!(%error, folder, "a model is looked at now and then instead of being watched");
                false
            }
        }
    }
}

fn identity(path: &Path) -> Option<Identity> {
    // One that was removed and made again is another one.
    if path.is_dir() { system::identity(path).ok() } else { None }
}

/// Notes which models an event is about.
fn take(touched: &Touched, root: &Path, event: notify::Result<Event>) {
    let event = match event {
        Ok(event) => event,
        Err(error) => {
            tracing::debug!(%error, "something happened in the model cache and was not told");
            return touched.all();
        }
    };
    if event.need_rescan() {
        return touched.all();
    }
    for path in &event.paths {
        let Ok(inside) = path.strip_prefix(root) else { continue };
        let folder = inside.iter().next().and_then(|folder| folder.to_str());
        if let Some(folder) = folder.filter(|folder| folder.starts_with("models--"))
            && is_news(&event.kind, inside)
        {
            touched.folder(folder);
        }
    }
}

/// Could it change what a list says? Reading does not, and listing reads.
fn is_news(kind: &EventKind, path: &Path) -> bool {
    // What has arrived of a download is in no list.
    let is_partial = path.extension().is_some_and(|extension| extension == "incomplete");
    match kind {
        // Windows does not say what of a file has changed.
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any) => !is_partial,
        EventKind::Access(_) | EventKind::Modify(ModifyKind::Metadata(_)) => false,
        EventKind::Any | EventKind::Create(_) | EventKind::Modify(_) | EventKind::Remove(_) | EventKind::Other => true,
    }
}
