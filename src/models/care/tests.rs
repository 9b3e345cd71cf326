#[cfg(unix)]
use std::os::unix::fs::symlink;
use std::{
    fs::{self, File},
    time::{Duration, SystemTime},
};

use tempfile::TempDir;

use super::*;
use crate::models::{
    Commit, FileName, ImportOptions, ModelError, ModelId, ModelStore, Revision, SharedModels, StoreOptions, Upstream,
    UpstreamOptions, publish, system,
};

struct World {
    dir: TempDir,
    store: ModelStore,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = ModelStore::new(options(&dir));
        Self { dir, store }
    }

    fn import(&self, model: &str, revision: &str, files: &[(&str, &[u8])]) -> Commit {
        let source = self.dir.path().join("source");
        let _ = fs::remove_dir_all(&source);
        for (name, bytes) in files {
            let path = source.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let options = ImportOptions { revision: Revision::parse(revision).unwrap(), force: true };
        self.store.import(&source, &id(model), &options).unwrap().commit
    }

    fn model_dir(&self, model: &str) -> PathBuf {
        self.store.model_dir(&id(model))
    }

    fn blobs(&self, model: &str) -> usize {
        fs::read_dir(self.model_dir(model).join("blobs")).into_iter().flatten().count()
    }

    fn states(&self, model: &str) -> Vec<(String, FileState)> {
        let snapshots = self.store.verify(Some(&id(model))).unwrap();
        let files = snapshots.into_iter().flat_map(|snapshot| snapshot.files);
        files.map(|file| (file.file_path, file.state)).collect()
    }

    fn gc(&self, max_bytes: Option<u64>) -> GcReport {
        let counted = self.store.gc(GcOptions { max_bytes, dry_run: true }).unwrap();
        let done = self.store.gc(GcOptions { max_bytes, dry_run: false }).unwrap();
        assert_eq!(counted, done, "a dry run tells what is done");
        done
    }
}

fn options(dir: &TempDir) -> StoreOptions {
    StoreOptions { cache_dir: dir.path().join("hub"), state_dir: dir.path().join("state") }
}

fn id(model: &str) -> ModelId {
    ModelId::parse(model).unwrap()
}

fn revision(name: &str) -> Revision {
    Revision::parse(name).unwrap()
}

/// Last written so many seconds ago.
fn age(path: &Path, seconds: u64) {
    system::set_modified(path, SystemTime::now() - Duration::from_secs(seconds));
}

fn kinds(report: &GcReport) -> Vec<ClearedKind> {
    report.cleared.iter().map(|cleared| cleared.kind).collect()
}

#[test]
fn every_file_is_read_and_named_by_what_is_wrong_with_it() {
    let world = World::new();
    let commit = world.import("org/name", "main", &[("a", b"1"), ("b", b"2"), ("c.bin", b"3"), ("d", b"4")]);
    assert!(world.states("org/name").iter().all(|(_, state)| *state == FileState::Ok));
    let snapshot = world.store.snapshot(&id("org/name"), &commit);
    let blob = |name: &str| fs::canonicalize(snapshot.join(name)).unwrap();
    // As a disk that loses bytes: the times stay.
    let times = fs::metadata(blob("a")).unwrap().modified().unwrap();
    fs::write(blob("a"), "x").unwrap();
    system::set_modified(&blob("a"), times);
    fs::remove_file(blob("c.bin")).unwrap();
    fs::remove_file(snapshot.join("d")).unwrap();
    fs::write(snapshot.join("e"), "5").unwrap();
    let expected = [
        ("a", FileState::Damaged),
        ("b", FileState::Ok),
        ("c.bin", FileState::Missing),
        ("d", FileState::Missing),
        ("e", FileState::Unknown),
    ];
    assert_eq!(world.states("org/name"), expected.map(|(name, state)| (name.to_owned(), state)));
    // What was found is remembered: it is not served any more.
    let error = world.store.open(&FileName::parse("org/name", "a", "").unwrap()).unwrap_err();
    assert!(matches!(error, ModelError::DigestMismatch { .. }));
    assert!(matches!(world.store.verify(Some(&id("none"))), Err(ModelError::ModelNotFound { .. })));
}

#[test]
fn a_snapshot_without_links_or_listing_is_unknown_and_with_one_compared() {
    let world = World::new();
    let commit = "c".repeat(40);
    let snapshot = world.model_dir("name").join("snapshots").join(&commit);
    fs::create_dir_all(&snapshot).unwrap();
    fs::write(snapshot.join("a"), "hello\n").unwrap();
    assert_eq!(world.states("name"), [("a".to_owned(), FileState::Unknown)]);
    let trees = world.model_dir("name").join("trees");
    fs::create_dir_all(&trees).unwrap();
    let tree = |blob_id: &str| {
        let json = format!(
            r#"{{"format_version":1,"files":{{"a":{{"size":6,"blob_id":"{blob_id}"}},"../x":{{"size":1,"blob_id":"{blob_id}"}}}}}}"#
        );
        fs::write(trees.join(format!("{commit}.json")), json).unwrap();
    };
    tree("ce013625030ba8dba906f756967f9e9ca394464a");
    assert_eq!(world.states("name"), [("a".to_owned(), FileState::Ok)]);
    tree(&"0".repeat(40));
    assert_eq!(world.states("name"), [("a".to_owned(), FileState::Damaged)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_fetched_anew() {
    let world = World::new();
    let commit = world.import("org/name", "main", &[("a", b"1"), ("sub/b.bin", b"2")]);
    let upstream = world.dir.path().join("upstream/org");
    fs::create_dir_all(&upstream).unwrap();
    fs::rename(world.dir.path().join("source"), upstream.join("name")).unwrap();
    let location = Some(world.dir.path().join("upstream").display().to_string());
    let upstream = Upstream::new(&UpstreamOptions { location, ..UpstreamOptions::default() }).unwrap();
    let models = SharedModels::new(ModelStore::new(options(&world.dir)), upstream);
    let snapshot = world.store.snapshot(&id("org/name"), &commit);
    fs::write(fs::canonicalize(snapshot.join("a")).unwrap(), "x").unwrap();
    fs::remove_file(fs::canonicalize(snapshot.join("sub/b.bin")).unwrap()).unwrap();
    for file in models.verify(None).await.unwrap().iter().flat_map(|snapshot| &snapshot.files) {
        assert!(file.state.is_wrong());
        let repaired = models.repair(&id("org/name"), &commit, &file.file_path).await.unwrap();
        assert_eq!(repaired.state, FileState::Ok, "{repaired:?}");
    }
    assert!(world.states("org/name").iter().all(|(_, state)| *state == FileState::Ok));
}

#[test]
fn a_revision_goes_with_the_bytes_that_only_it_has() {
    let world = World::new();
    let one = world.import("org/name", "main", &[("same", b"1"), ("own", b"22")]);
    let two = world.import("org/name", "v2", &[("same", b"1"), ("own", b"333")]);
    assert_eq!(world.blobs("org/name"), 3);
    let report = world.store.remove(&id("org/name"), Some(&revision("main"))).unwrap();
    assert_eq!((report.commits, report.freed_bytes), (vec![one.clone()], 2));
    assert_eq!(world.blobs("org/name"), 2);
    let dir = world.model_dir("org/name");
    for gone in [
        dir.join("snapshots").join(one.as_str()),
        dir.join("refs/main"),
        dir.join(format!("trees/{}.json", one.as_str())),
    ] {
        assert!(!gone.exists(), "{gone:?}");
    }
    assert!(world.states("org/name").iter().all(|(_, state)| *state == FileState::Ok));
    let error = world.store.remove(&id("org/name"), Some(&revision("main"))).unwrap_err();
    assert!(matches!(error, ModelError::RevisionNotFound { .. }));
    // The last one takes the model along.
    world.store.remove(&id("org/name"), Some(&Revision::from(two))).unwrap();
    assert!(!dir.exists());
    assert!(matches!(world.store.remove(&id("org/name"), None), Err(ModelError::ModelNotFound { .. })));
    assert_eq!(fs::read_dir(world.dir.path().join("framehost-partial")).unwrap().count(), 0);
}

#[test]
fn one_of_two_names_goes_alone() {
    let world = World::new();
    world.import("org/name", "main", &[("a", b"1")]);
    let commit = world.import("org/name", "refs/pr/1", &[("a", b"1")]);
    let report = world.store.remove(&id("org/name"), Some(&revision("refs/pr/1"))).unwrap();
    assert_eq!((report.commits, report.freed_bytes), (vec![], 0));
    assert!(!world.model_dir("org/name").join("refs/refs").exists());
    assert!(world.store.snapshot_dir(&id("org/name"), &revision("main")).unwrap().ends_with(commit.as_str()));
}

#[test]
fn what_is_used_or_pinned_is_not_removed() {
    let world = World::new();
    world.import("org/name", "main", &[("a", b"1")]);
    let name = FileName::parse("org/name", "a", "").unwrap();
    let remove = || world.store.remove(&id("org/name"), None);
    // As in another process.
    let hub = ModelStore::new(options(&world.dir));
    let open = hub.open(&name).unwrap();
    assert!(matches!(remove(), Err(ModelError::InUse { .. })));
    drop(open);
    let lock = publish::lock(world.store.cache_dir(), "models--org--name", "etag", Duration::ZERO).unwrap();
    assert!(matches!(remove(), Err(ModelError::InUse { .. })), "huggingface_hub downloads");
    drop(lock);
    for revision in [None, Some(revision("main"))] {
        let pin = Pin { model_id: id("org/name"), revision };
        assert!(world.store.pin(pin.clone()).unwrap() && !world.store.pin(pin.clone()).unwrap());
        assert!(matches!(remove(), Err(ModelError::Pinned { .. })));
        assert_eq!(hub.pins().unwrap(), std::slice::from_ref(&pin));
        assert!(world.store.unpin(&pin).unwrap() && !world.store.unpin(&pin).unwrap());
    }
    let none = Pin { model_id: id("none"), revision: None };
    assert!(matches!(world.store.pin(none), Err(ModelError::ModelNotFound { .. })));
    remove().unwrap();
}

#[cfg(windows)]
#[test]
fn what_another_program_has_open_is_named_and_goes_when_it_is_closed() {
    use std::os::windows::fs::OpenOptionsExt;

    let world = World::new();
    let commit = world.import("org/name", "main", &[("a", b"1")]);
    // As Python opens files: others may read, and nobody may remove.
    let path = world.store.snapshot(&id("org/name"), &commit).join("a");
    let held = File::options().read(true).share_mode(1).open(path).unwrap();
    let error = world.store.remove(&id("org/name"), None).unwrap_err();
    assert!(matches!(error, ModelError::HeldOpen { .. }), "{error:?}");
    drop(held);
    world.store.remove(&id("org/name"), None).unwrap();
    world.store.gc(GcOptions::default()).unwrap();
    assert!(!world.model_dir("org/name").exists());
    assert_eq!(fs::read_dir(world.dir.path().join("framehost-partial")).unwrap().count(), 0);
}

#[test]
fn pins_that_cannot_be_read_keep_everything() {
    let world = World::new();
    world.import("org/name", "main", &[("a", b"1")]);
    world.store.pin(Pin { model_id: id("org/name"), revision: None }).unwrap();
    let pins = state_of_cache(&world.dir.path().join("state"), world.store.cache_dir()).join("pins.json");
    fs::write(pins, "{").unwrap();
    assert!(world.store.gc(GcOptions { max_bytes: Some(0), dry_run: false }).is_err());
    assert_eq!(world.blobs("org/name"), 1);
}

#[test]
fn revisions_without_a_name_go_and_pinned_ones_stay() {
    let world = World::new();
    let first = world.import("org/name", "main", &[("same", b"1"), ("own", b"22")]);
    let second = world.import("org/name", "main", &[("same", b"1"), ("own", b"333"), ("twice", b"4444")]);
    world.import("org/name", "main", &[("same", b"1"), ("own", b"55555"), ("twice", b"4444")]);
    world.store.pin(Pin { model_id: id("org/name"), revision: Some(Revision::from(second.clone())) }).unwrap();
    let report = world.gc(None);
    assert_eq!((kinds(&report), report.freed_bytes), (vec![ClearedKind::Revision], 2));
    assert_eq!(report.kept, [Kept { model_id: id("org/name"), because: KeptBecause::Pinned }]);
    assert_eq!(report.size_bytes, 1 + 3 + 4 + 5);
    assert!(world.store.commit(&id("org/name"), &Revision::from(first)).is_err());
    world.store.unpin(&Pin { model_id: id("org/name"), revision: Some(Revision::from(second)) }).unwrap();
    assert_eq!(world.gc(None).freed_bytes, 3);
    assert_eq!(world.gc(None).cleared, []);
}

#[test]
fn two_revisions_that_go_count_what_they_share_once() {
    let world = World::new();
    for content in ["1", "22", "333"] {
        world.import("org/name", "main", &[("same", b"55555"), ("own", content.as_bytes())]);
    }
    world.import("org/name", "main", &[("own", b"4444")]);
    let report = world.gc(None);
    assert_eq!((report.cleared.len(), report.freed_bytes, report.size_bytes), (3, 5 + 1 + 2 + 3, 4));
}

#[test]
fn leftovers_go_when_nobody_goes_on_with_them() {
    let world = World::new();
    world.import("org/name", "main", &[("a", b"1")]);
    let dir = world.model_dir("org/name");
    let partials = world.dir.path().join("framehost-partial");
    let (hour, day) = (60 * 60, 24 * 60 * 60);
    let etag = "e".repeat(64);
    let write = |path: PathBuf, seconds: u64| {
        fs::write(&path, "12").unwrap();
        age(&path, seconds);
        path
    };
    let stay = [
        write(dir.join("blobs").join("f".repeat(40)), hour / 2),
        write(dir.join("blobs").join(format!("{etag}.12345678.incomplete")), day / 2),
        write(dir.join("refs/new"), hour / 2),
        write(partials.join("models--a.b.part"), day / 2),
        write(partials.join("models--a.b.part.done"), day * 2),
        write(partials.join("models--a.locked.part"), day * 2),
        write(partials.join("somebody's"), day * 2),
    ];
    fs::write(dir.join("refs/new"), "a".repeat(40)).unwrap();
    let locked = File::open(&stay[5]).unwrap();
    system::lock(&locked).unwrap();
    fs::create_dir_all(partials.join("x.removed/sub")).unwrap();
    let inside = publish::partial_dir_inside(&dir);
    fs::create_dir(&inside).unwrap();
    let go = [
        write(dir.join("blobs").join("e".repeat(40)), hour * 2),
        write(dir.join("blobs").join(format!("{etag}.87654321.incomplete")), day * 2),
        write(partials.join("models--a.c.part"), day * 2),
        write(partials.join("models--a.d.part.done"), day * 2),
        write(partials.join("dead.incomplete"), 0),
        partials.join("x.removed"),
        dir.join("refs/old/name"),
        write(inside.join("models--org--name.f.part"), day * 2),
    ];
    fs::create_dir(dir.join("refs/old")).unwrap();
    fs::write(&go[6], "b".repeat(40)).unwrap();
    age(&go[6], hour * 2);
    let report = world.gc(None);
    for path in stay {
        assert!(path.exists(), "{path:?}");
    }
    for path in go {
        assert!(!path.exists(), "{path:?}");
    }
    assert!(!dir.join("refs/old").exists());
    let count = |kind: ClearedKind| kinds(&report).into_iter().filter(|other| *other == kind).count();
    assert_eq!((count(ClearedKind::Partial), count(ClearedKind::Blob), count(ClearedKind::Name)), (6, 1, 1));
    assert!(world.states("org/name").iter().all(|(_, state)| *state == FileState::Ok));
}

#[test]
fn the_models_that_were_used_longest_ago_go_first() {
    let world = World::new();
    for (number, model) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        world.import(model, "main", &[("file", &[7; 100]), ("name", model.as_bytes())]);
        let mark = state_of_cache(&world.dir.path().join("state"), world.store.cache_dir())
            .join("used")
            .join(id(model).folder_name());
        age(&mark, 9000 - 1000 * number as u64);
    }
    world.store.pin(Pin { model_id: id("b"), revision: None }).unwrap();
    let hub = ModelStore::new(options(&world.dir));
    let used = hub.open(&FileName::parse("c", "file", "").unwrap()).unwrap();
    assert_eq!(world.gc(Some(505)).cleared, []);
    let report = world.gc(Some(400));
    assert_eq!(
        report.cleared.iter().map(|cleared| cleared.model_id.clone().unwrap()).collect::<Vec<_>>(),
        [id("a"), id("d")]
    );
    assert_eq!(report.size_bytes, 303);
    let kept: Vec<_> = report.kept.iter().map(|kept| (kept.model_id.as_str(), kept.because)).collect();
    assert_eq!(kept, [("c", KeptBecause::InUse), ("b", KeptBecause::Pinned)]);
    let report = world.gc(Some(0));
    assert_eq!((kinds(&report), report.size_bytes), (vec![ClearedKind::Model], 202), "what may not go stays");
    drop(used);
    assert_eq!(world.gc(Some(150)).size_bytes, 101);
    assert!(world.store.list(None).unwrap().iter().all(|model| model.model_id == id("b")));
}

#[test]
fn a_model_that_cannot_be_cleared_does_not_keep_the_others() {
    let world = World::new();
    for model in ["org/bad", "org/good"] {
        world.import(model, "main", &[("a", b"1")]);
        world.import(model, "main", &[("a", b"2")]);
    }
    let revisions = |model: &str| world.store.commits(&id(model)).len();
    // Not to be read as a snapshot's listing, and not to be removed as a file.
    let bad = world.store.commits(&id("org/bad"));
    for commit in &bad {
        let tree = world.model_dir("org/bad").join("trees").join(format!("{}.json", commit.as_str()));
        fs::remove_file(&tree).unwrap();
        fs::create_dir_all(tree.join("x")).unwrap();
    }
    let report = world.store.gc(GcOptions::default()).unwrap();
    assert_eq!(report.failed.iter().map(|failed| failed.model_id.as_str()).collect::<Vec<_>>(), ["org/bad"]);
    assert!(report.failed.iter().all(|failed| failed.problem.contains("trees")), "{report:?}");
    assert_eq!(revisions("org/good"), 1);
}

#[cfg(unix)]
#[test]
fn shared_bytes_go_with_their_last_link() {
    let world = World::new();
    let (hash, etag) = ("ab".repeat(32), "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
    let store = world.store.cache_dir().join("blobs");
    fs::create_dir_all(store.join("ab")).unwrap();
    fs::write(store.join(".huggingface-shared-blobs"), "1\n").unwrap();
    let payload = store.join("ab").join(&hash);
    fs::write(&payload, "hello\n").unwrap();
    let link = |model: &str| {
        let dir = world.model_dir(model);
        let snapshot = dir.join("snapshots").join("c".repeat(40));
        for folder in [&snapshot, &dir.join("refs"), &dir.join("blobs")] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::write(dir.join("refs/main"), "c".repeat(40)).unwrap();
        symlink(format!("../../blobs/ab/{hash}"), dir.join("blobs").join(etag)).unwrap();
        symlink(format!("../../blobs/{etag}"), snapshot.join("a")).unwrap();
        format!("{}/blobs/{etag}\n", id(model).folder_name())
    };
    let list = store.join("ab").join(format!("{hash}.refs"));
    fs::write(&list, format!("{}{}models--gone/blobs/x\n../../etc\n", link("one"), link("two"))).unwrap();
    assert_eq!(world.gc(None).size_bytes, 6, "shared bytes count once");
    assert_eq!(world.store.remove(&id("one"), None).unwrap().freed_bytes, 0);
    assert_eq!(fs::read_to_string(&list).unwrap(), format!("models--two/blobs/{etag}\n"));
    assert!(world.states("two").iter().all(|(_, state)| *state == FileState::Ok));
    assert_eq!(world.gc(Some(0)).freed_bytes, 6);
    assert!(!payload.exists() && !list.exists());

    // Without a list nobody knows who links to it.
    fs::write(&payload, "hello\n").unwrap();
    link("three");
    world.store.remove(&id("three"), None).unwrap();
    assert!(payload.exists());
    age(&payload, 100_000);
    assert_eq!(world.gc(None).cleared, []);
    fs::write(&list, "").unwrap();
    assert_eq!(kinds(&world.gc(None)), [ClearedKind::SharedBlob]);
}

#[test]
fn what_an_interrupted_removal_left_is_cleared_away() {
    let world = World::new();
    let commit = world.import("org/name", "main", &[("a", b"1")]);
    // Its snapshot is gone, its name and bytes are not.
    fs::remove_dir_all(world.store.snapshot(&id("org/name"), &commit)).unwrap();
    assert!(world.store.list(None).unwrap().is_empty());
    assert_eq!(world.states("org/name"), [("a".to_owned(), FileState::Missing)], "its listing is still there");
    let dir = world.model_dir("org/name");
    let blob = fs::read_dir(dir.join("blobs")).unwrap().next().unwrap().unwrap().path();
    for path in [&blob, &dir.join("refs/main")] {
        age(path, 100_000);
    }
    assert_eq!(kinds(&world.gc(None)), [ClearedKind::Name, ClearedKind::Blob]);
    age(&dir, 100_000);
    world.gc(None);
    assert!(!dir.exists());
}

#[test]
fn the_state_of_a_cache_is_found_by_any_of_its_paths() {
    let dir = tempfile::tempdir().unwrap();
    let state = |path: &Path| state_of_cache(Path::new("/state"), path);
    let before = state(&dir.path().join("hub"));
    fs::create_dir(dir.path().join("hub")).unwrap();
    #[cfg(unix)]
    symlink("hub", dir.path().join("link")).unwrap();
    assert_eq!(state(&dir.path().join("hub")), before);
    #[cfg(unix)]
    assert_eq!(state(&dir.path().join("link")), before);
    assert_ne!(state(&dir.path().join("other")), before);
}
