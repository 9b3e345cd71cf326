use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use tempfile::TempDir;
use tokio::time::timeout;

use super::*;
use crate::models::{ImportOptions, Revision, StoreOptions, Upstream};

struct World {
    dir: TempDir,
    models: SharedModels,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions { cache_dir: dir.path().join("hub"), state_dir: dir.path().join("state") };
        let models = SharedModels::new(ModelStore::new(options), Upstream::off());
        Self { dir, models }
    }

    fn import(&self, model: &str, content: &str) {
        let source = self.dir.path().join("source");
        let _ = fs::remove_dir_all(&source);
        fs::create_dir(&source).unwrap();
        fs::write(source.join("a"), content).unwrap();
        let options = ImportOptions { force: true, ..ImportOptions::default() };
        self.models.store.import(&source, &id(model), &options).unwrap();
    }

    fn model_dir(&self, model: &str) -> PathBuf {
        self.models.store.model_dir(&id(model))
    }

    fn cache(&self) -> &Path {
        self.models.cache_dir()
    }
}

fn id(model: &str) -> ModelId {
    ModelId::parse(model).unwrap()
}

/// The next change: kind, model, revision is main, bytes.
async fn next(watch: &mut ModelWatch) -> (ChangeKind, String, bool, u64) {
    loop {
        assert!(timeout(Duration::from_secs(20), watch.changed()).await.expect("nothing was told"));
        if let Some(ModelChange { kind, model }) = watch.take() {
            return (kind, model.model_id.as_str().to_owned(), model.revision == "main", model.size_bytes);
        }
    }
}

/// Waits until that is told; others may be told before.
async fn until(watch: &mut ModelWatch, expected: (ChangeKind, &str, bool, u64)) {
    loop {
        let (kind, model, is_main, size) = next(watch).await;
        if (kind, model.as_str(), is_main, size) == expected {
            return;
        }
    }
}

async fn is_silent(watch: &mut ModelWatch) -> bool {
    timeout(Duration::from_millis(1500), watch.changed()).await.is_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_there_is_told_and_then_what_changes() {
    let world = World::new();
    world.import("org/one", "1");
    world.import("two", "22");
    let mut watch = world.models.watch(None);
    assert_eq!(next(&mut watch).await, (ChangeKind::Present, "org/one".to_owned(), true, 1));
    assert_eq!(next(&mut watch).await, (ChangeKind::Present, "two".to_owned(), true, 2));
    assert!(is_silent(&mut watch).await, "listing is no change");

    world.import("three", "333");
    until(&mut watch, (ChangeKind::Changed, "three", true, 3)).await;
    // The name moves, and the old snapshot stays without one.
    world.import("three", "4444");
    until(&mut watch, (ChangeKind::Changed, "three", true, 4)).await;
    world.models.store.remove(&id("two"), None).unwrap();
    until(&mut watch, (ChangeKind::Removed, "two", true, 2)).await;
    assert!(is_silent(&mut watch).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_others_add_or_damage_is_told() {
    let world = World::new();
    world.import("org/one", "1");
    let mut watch = world.models.watch(Some(id("org/one")));
    assert_eq!(next(&mut watch).await.3, 1);
    let snapshot = world.models.store.snapshot_dir(&id("org/one"), &Revision::default()).unwrap();
    fs::create_dir_all(snapshot.join("deep/er")).unwrap();
    fs::write(snapshot.join("deep/er/b"), "22").unwrap();
    until(&mut watch, (ChangeKind::Changed, "org/one", true, 3)).await;
    fs::write(fs::canonicalize(snapshot.join("a")).unwrap(), "55555").unwrap();
    until(&mut watch, (ChangeKind::Changed, "org/one", true, 7)).await;
    let changed = watch.told.values().next().unwrap();
    assert!(!changed.complete);
    world.import("other", "1");
    assert!(is_silent(&mut watch).await, "only that one was asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_that_is_not_there_yet_or_goes_and_comes_is_watched() {
    let world = World::new();
    let mut watch = world.models.watch(None);
    assert!(is_silent(&mut watch).await);
    world.import("one", "1");
    until(&mut watch, (ChangeKind::Changed, "one", true, 1)).await;
    fs::remove_dir_all(world.cache()).unwrap();
    until(&mut watch, (ChangeKind::Removed, "one", true, 1)).await;
    world.import("one", "22");
    until(&mut watch, (ChangeKind::Changed, "one", true, 2)).await;
    // A model's folder, too.
    fs::rename(world.model_dir("one"), world.dir.path().join("aside")).unwrap();
    until(&mut watch, (ChangeKind::Removed, "one", true, 2)).await;
    fs::rename(world.dir.path().join("aside"), world.model_dir("one")).unwrap();
    until(&mut watch, (ChangeKind::Changed, "one", true, 2)).await;
    world.import("one", "333");
    until(&mut watch, (ChangeKind::Changed, "one", true, 3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_slowly_is_told_the_latest() {
    let world = World::new();
    world.import("a", "1");
    let (mut slow, mut quick) = (world.models.watch(None), world.models.watch(None));
    assert!(slow.changed().await);
    for size in 2..6 {
        world.import("b", &"x".repeat(size));
        until(&mut quick, (ChangeKind::Changed, "b", true, size as u64)).await;
    }
    let mut told = Vec::new();
    while let Some(change) = slow.take() {
        told.push((change.model.revision.clone(), change.model.size_bytes));
    }
    let of_main: Vec<_> = told.iter().filter(|(revision, _)| revision == "main").map(|(_, size)| *size).collect();
    assert_eq!(of_main, [1, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_watched_for_nobody() {
    let world = World::new();
    let (one, other) = (world.models.watch(None), world.models.watch(None));
    let feed = Arc::downgrade(&one._feed);
    assert!(Arc::ptr_eq(&one._feed, &other._feed), "one thread is enough");
    drop(one);
    assert!(feed.upgrade().is_some());
    drop(other);
    assert!(feed.upgrade().is_none());
    world.import("one", "1");
    let mut again = world.models.watch(None);
    assert_eq!(next(&mut again).await.0, ChangeKind::Present);
}
