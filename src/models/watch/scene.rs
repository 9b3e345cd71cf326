//! The thread that watches: lists what has been touched, and shows it to everybody.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::{
    Key, Scene,
    directory::Directory,
    touched::{ToList, Touched},
};
use crate::models::{ModelId, ModelStore, ModelSummary};

/// How often it is looked whether the cache directory is still the one that is watched.
const CHECK_INTERVAL: Duration = Duration::from_millis(500);

/// How often everything is listed where the file system does not tell: too many folders for it, or none that it can.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Watches until nobody wants to know.
pub(super) fn keep(store: &ModelStore, touched: &Arc<Touched>, scenes: &watch::Sender<Option<Arc<Scene>>>) {
    let mut directory = Directory::new(store.cache_dir(), touched);
    let mut scene = Scene::new();
    let mut to_list = ToList { all: true, folders: BTreeSet::new() };
    // Listed once more: what happens in a folder while it is new is not told.
    let mut again = BTreeSet::new();
    let mut listed = Instant::now();
    loop {
        // Watched first, so that nothing is missed in between.
        to_list.all |= directory.check(&to_list);
        to_list.all |= directory.is_silent() && listed.elapsed() >= POLL_INTERVAL;
        if to_list.all {
            listed = Instant::now();
        }
        let (all, folders) = (to_list.all, std::mem::take(&mut to_list.folders));
        let is_quiet = !all && folders.is_empty();
        let now = if is_quiet { std::mem::take(&mut again) } else { folders };
        if let Some(changed) = listed_anew(store, &scene, all, &now) {
            scene = changed;
            scenes.send_replace(Some(Arc::new(scene.clone())));
        } else if scenes.borrow().is_none() {
            scenes.send_replace(Some(Arc::default()));
        }
        if !is_quiet {
            again.extend(now);
        }
        match touched.wait(CHECK_INTERVAL) {
            Some(next) => to_list = next,
            None => return,
        }
    }
}

/// The scene with what is different now; `None` if nothing is.
fn listed_anew(store: &ModelStore, scene: &Scene, all: bool, folders: &BTreeSet<String>) -> Option<Scene> {
    let list = |model_id: Option<&ModelId>| match store.list(model_id) {
        Ok(models) => Some(models),
        Err(error) => {
            tracing::debug!(%error, "a changed cache could not be listed");
            None
        }
    };
    let mut changed = None;
    if all {
        replace(scene, &mut changed, |_| true, list(None)?);
    } else {
        for model_id in folders.iter().filter_map(|folder| ModelId::from_folder_name(folder)) {
            let models = list(Some(&model_id))?;
            replace(scene, &mut changed, |(id, _)| *id == model_id, models);
        }
    }
    changed
}

/// Puts `models` in the place of what `is_theirs`, and leaves what is the same as it is.
fn replace(scene: &Scene, changed: &mut Option<Scene>, is_theirs: impl Fn(&Key) -> bool, models: Vec<ModelSummary>) {
    let before = changed.as_ref().unwrap_or(scene);
    let found: Scene = models
        .into_iter()
        .map(|model| {
            let key = (model.model_id.clone(), model.revision.clone());
            let same = before.get(&key).filter(|known| ***known == model).cloned();
            let model = same.unwrap_or_else(|| Arc::new(model));
            (key, model)
        })
        .collect();
    let is_same = |key: &Key, now: &Arc<ModelSummary>| before.get(key).is_some_and(|known| Arc::ptr_eq(known, now));
    let is_all_there = before.keys().filter(|key| is_theirs(key)).all(|key| found.contains_key(key));
    if is_all_there && found.iter().all(|(key, model)| is_same(key, model)) {
        return;
    }
    let kept = before.iter().filter(|(key, _)| !is_theirs(key)).map(|(key, model)| (key.clone(), Arc::clone(model)));
    *changed = Some(kept.chain(found).collect());
}
