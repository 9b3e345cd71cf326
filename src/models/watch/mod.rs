//! Who wants to know is told when a model's commit, files or completeness change, whoever changed them.
//!
//! Belongs here: what has changed for whom.
//! Does not belong here: what a model is (`list`), messages (`grpc`, `session`).
//!
//! Invariants:
//! - Nothing is watched, and no thread is there, while nobody wants to know.
//! - Nothing waits for a client: each remembers what it has been told, and is told what is different now. One that reads
//!   slowly gets the latest state of each model and none of those in between.
//!
//! Data path: `directory` (notify, or looking now and then) -> `touched` -> `scene` (one thread) -> [`ModelWatch`].

mod directory;
mod scene;
mod touched;

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, PoisonError, Weak},
    thread,
};

use tokio::sync::watch;

use self::touched::Touched;
use super::{ModelId, ModelStore, ModelSummary, SharedModels};

/// Files of one model that are told with a change; the list of a model with more is to be asked for.
const MAX_TOLD_FILES: usize = 200;

/// A model and the name of one of its commits.
type Key = (ModelId, String);

/// What the cache holds.
type Scene = BTreeMap<Key, Arc<ModelSummary>>;

/// Whoever watches. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub(super) struct Watching {
    feed: Arc<Mutex<Weak<Feed>>>,
}

/// The thread that watches for all, and ends with the last of them.
#[derive(Debug)]
struct Feed {
    scenes: watch::Receiver<Option<Arc<Scene>>>,
    touched: Arc<Touched>,
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.touched.end();
    }
}

/// Something that is so now, and was not what had been told before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelChange {
    /// What has happened.
    pub kind: ChangeKind,
    /// As a list has it; of one that is gone, what it was.
    pub model: Arc<ModelSummary>,
}

/// What has happened to a name of a model's commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was there when the watch began.
    Present,
    /// It is new, or its commit, its files or its completeness are.
    Changed,
    /// It is gone.
    Removed,
}

impl ChangeKind {
    /// A word for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}

impl ModelChange {
    /// Are there so many files that they are not told with the change?
    pub fn leaves_files_out(&self) -> bool {
        self.kind != ChangeKind::Removed && self.model.files.len() > MAX_TOLD_FILES
    }
}

/// One who wants to know.
#[derive(Debug)]
pub struct ModelWatch {
    scenes: watch::Receiver<Option<Arc<Scene>>>,
    /// Kept until the last who watches is gone.
    _feed: Arc<Feed>,
    model_id: Option<ModelId>,
    /// As this one knows the cache.
    told: Scene,
    /// The last thing that was told: all have their turn.
    last: Option<Key>,
    /// All that was there at the start has been told.
    has_begun: bool,
}

impl SharedModels {
    /// Watches the cache: first tells what is there, then what changes. `model_id`: only this model, which need not be
    /// there yet.
    pub fn watch(&self, model_id: Option<ModelId>) -> ModelWatch {
        let feed = self.watching.feed(&self.store);
        let scenes = feed.scenes.clone();
        ModelWatch { scenes, _feed: feed, model_id, told: Scene::new(), last: None, has_begun: false }
    }
}

impl Watching {
    /// The thread that watches, which is begun for the first.
    fn feed(&self, store: &Arc<ModelStore>) -> Arc<Feed> {
        let mut present = self.feed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(feed) = present.upgrade() {
            return feed;
        }
        let (sender, scenes) = watch::channel(None);
        let touched = Arc::new(Touched::default());
        let feed = Arc::new(Feed { scenes, touched: Arc::clone(&touched) });
        let store = Arc::clone(store);
        let begun = thread::Builder::new().name("model-watch".to_owned()).spawn(move || {
            scene::keep(&store, &touched, &sender);
        });
        if let Err(error) = begun {
            // The sender is gone, so everybody who watches is told the end.
            tracing::error!(%error, "cannot watch the model cache");
        }
        *present = Arc::downgrade(&feed);
        feed
    }
}

impl ModelWatch {
    /// Waits until something is not as it was told; `false` if that will not be.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub async fn changed(&mut self) -> bool {
        loop {
            let scene = self.scenes.borrow_and_update().clone();
            if let Some(scene) = scene {
                if self.difference(&scene).is_some() {
                    return true;
                }
                self.has_begun = true;
            }
            if self.scenes.changed().await.is_err() {
                return false;
            }
        }
    }

    /// One thing that is not as it was told, as it is now; `None` if all is as it was told.
    pub fn take(&mut self) -> Option<ModelChange> {
        let scene = self.scenes.borrow().clone()?;
        let key = self.difference(&scene)?;
        self.last = Some(key.clone());
        let (kind, model) = match scene.get(&key) {
            Some(now) => {
                let before = self.told.insert(key, Arc::clone(now));
                let is_start = before.is_none() && !self.has_begun;
                (if is_start { ChangeKind::Present } else { ChangeKind::Changed }, Arc::clone(now))
            }
            None => (ChangeKind::Removed, self.told.remove(&key)?),
        };
        Some(ModelChange { kind, model })
    }

    /// Which model is not as it was told.
    fn difference(&self, scene: &Scene) -> Option<Key> {
        let is_wanted = |key: &Key| self.model_id.as_ref().is_none_or(|wanted| *wanted == key.0);
        let is_news = |key: &&Key| {
            is_wanted(key)
                && match (self.told.get(*key), scene.get(*key)) {
                    (Some(told), Some(now)) => !Arc::ptr_eq(told, now) && told != now,
                    (None, None) => false,
                    (Some(_), None) | (None, Some(_)) => true,
                }
        };
        // From behind the last one on, so that one that changes all the time keeps no other from its turn.
        let behind = (self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let first = |range: (Bound<&Key>, Bound<&Key>)| {
            let now = scene.range::<Key, _>(range).map(|(key, _)| key).find(is_news);
            let gone = self.told.range::<Key, _>(range).map(|(key, _)| key).find(is_news);
            now.into_iter().chain(gone).min().cloned()
        };
        first(behind).or_else(|| first((Bound::Unbounded, Bound::Unbounded)))
    }
}

#[cfg(test)]
mod tests;
