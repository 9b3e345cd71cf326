#[cfg(unix)]
mod unix;

use std::{fs, path::Path, time::Duration};

use tempfile::TempDir;

use super::*;
use crate::frame::Pool;

const ID: &str = "org/name";

struct World {
    dir: TempDir,
    store: ModelStore,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store =
            ModelStore::new(StoreOptions { cache_dir: dir.path().join("hub"), state_dir: dir.path().join("s") });
        Self { dir, store }
    }

    fn source(&self, files: &[(&str, &[u8])]) -> PathBuf {
        let source = self.dir.path().join("source");
        let _ = fs::remove_dir_all(&source);
        for (name, bytes) in files {
            let path = source.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        source
    }

    fn import(&self, files: &[(&str, &[u8])]) -> Result<ImportReport, ModelError> {
        self.store.import(&self.source(files), &id(), &ImportOptions::default())
    }

    fn resolve(&self, file_path: &str) -> Result<ResolvedFile, ModelError> {
        self.store.resolve(&name(file_path, "main"))
    }

    /// A snapshot as others write it, under `main`.
    fn snapshot(&self) -> (PathBuf, PathBuf) {
        let model = self.store.model_dir(&id());
        let commit = "c".repeat(40);
        let snapshot = model.join("snapshots").join(&commit);
        for folder in [&snapshot, &model.join("refs"), &model.join("blobs")] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::write(model.join("refs/main"), commit).unwrap();
        (model, snapshot)
    }
}

fn id() -> ModelId {
    ModelId::parse(ID).unwrap()
}

fn name(file_path: &str, revision: &str) -> FileName {
    FileName::parse(ID, file_path, revision).unwrap()
}

fn tree_of(root: &Path) -> Vec<String> {
    let mut paths: Vec<_> = walk(root).collect();
    paths.sort();
    paths
}

fn walk(root: &Path) -> Box<dyn Iterator<Item = String>> {
    let entries: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap()).collect();
    Box::new(entries.into_iter().flat_map(|entry| {
        let name = entry.path().display().to_string();
        match entry.file_type().unwrap().is_dir() {
            true => walk(&entry.path()),
            false => Box::new(std::iter::once(name)),
        }
    }))
}

#[test]
fn an_imported_model_is_listed_resolved_and_read() {
    let world = World::new();
    let report = world.import(&[("config.json", b"{}"), ("onnx/model.onnx", b"weights"), ("empty", b"")]).unwrap();
    assert_eq!((report.files, report.size_bytes, report.already_there), (3, 9, 0));

    let listed = world.store.list(None).unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!((listed[0].model_id.as_str(), listed[0].revision.as_str(), listed[0].complete), (ID, "main", true));
    let names: Vec<_> = listed[0].files.iter().map(|file| file.file_path.as_str()).collect();
    assert_eq!(names, ["config.json", "empty", "onnx/model.onnx"]);

    let resolved = world.resolve("onnx/model.onnx").unwrap();
    assert!(resolved.verified);
    assert_eq!(resolved.etag, resolved.sha256, "a model's weights are stored under their sha256");
    assert_eq!(fs::read(&resolved.path).unwrap(), b"weights");
    let config = world.resolve("config.json").unwrap();
    assert_eq!((config.etag.len(), config.verified), (40, true));
    assert_eq!(world.resolve("empty").unwrap().size_bytes, 0);

    let open = world.store.open(&name("onnx/model.onnx", report.commit.as_str())).unwrap();
    assert_eq!(open.range(2, 3).unwrap(), 2..5);
    assert_eq!(open.range(7, u64::MAX).unwrap(), 7..7);
    assert_eq!(open.range(8, 1).unwrap_err().kind(), ErrorKind::OutOfRange);
    assert_eq!(open.read_at(2, 3, &Pool::default()).unwrap(), &b"igh"[..]);
    assert_eq!(open.read_at(5, 100, &Pool::default()).unwrap(), &b"ts"[..]);
    assert_eq!(open.read_at(7, 1, &Pool::default()).unwrap(), &b""[..]);
}

#[test]
fn an_import_has_the_layout_of_huggingface_hub() {
    let world = World::new();
    let commit = world.import(&[("a/b.txt", b"text"), ("m.onnx", b"x")]).unwrap().commit;
    let cache = world.store.cache_dir();
    let model = cache.join("models--org--name");
    assert_eq!(fs::read_to_string(model.join("refs/main")).unwrap(), commit.as_str());
    let file = model.join("snapshots").join(commit.as_str()).join("a/b.txt");
    assert_eq!(links::Blobs::of(&model).name(&file), Some(world.resolve("a/b.txt").unwrap().etag));
    #[cfg(unix)]
    assert!(fs::read_link(file).unwrap().starts_with("../../../blobs"));
    let tree: serde_json::Value =
        serde_json::from_slice(&fs::read(model.join(format!("trees/{}.json", commit.as_str()))).unwrap()).unwrap();
    assert_eq!(tree["format_version"], 1);
    assert_eq!(tree["files"]["a/b.txt"]["size"], 4);
    assert_eq!(tree["files"]["m.onnx"]["lfs_size"], 1);
    let leftovers: Vec<_> = tree_of(world.dir.path()).into_iter().filter(|path| path.contains("incomplete")).collect();
    assert_eq!(leftovers, [""; 0]);
    assert!(cache.join("CACHEDIR.TAG").exists());
}

#[test]
fn a_revision_may_be_as_long_as_a_file_name() {
    let world = World::new();
    let revision = Revision::parse(&format!("{}/{}", "r".repeat(255), "s".repeat(255))).unwrap();
    let options = ImportOptions { revision, force: false };
    world.store.import(&world.source(&[("a", b"1")]), &id(), &options).unwrap();
    assert!(world.store.resolve(&name("a", options.revision.as_str())).is_ok());
}

#[test]
fn the_same_content_gives_the_same_commit_and_copies_nothing() {
    let world = World::new();
    let files: [(&str, &[u8]); 2] = [("a", b"1"), ("b", b"2")];
    let first = world.import(&files).unwrap();
    let second = world.import(&files).unwrap();
    assert_eq!((second.commit, second.already_there), (first.commit, 2));
}

#[test]
fn a_name_is_moved_only_with_force() {
    let world = World::new();
    let first = world.import(&[("a", b"1")]).unwrap();
    let before = tree_of(world.store.cache_dir());
    let error = world.import(&[("a", b"2")]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.to_string().contains("--force"), "{error}");
    assert_eq!(tree_of(world.store.cache_dir()), before, "nothing was written");
    let options = ImportOptions { force: true, ..Default::default() };
    let moved = world.store.import(&world.source(&[("a", b"2")]), &id(), &options).unwrap();
    assert_ne!(moved.commit, first.commit);
    let listed = world.store.list(Some(&id())).unwrap();
    assert_eq!(listed.len(), 2, "the old commit is still there, under its own name");
}

#[test]
fn what_cannot_be_imported_is_named_before_anything_is_written() {
    let world = World::new();
    let import = |path: &Path| world.store.import(path, &id(), &ImportOptions::default()).unwrap_err();
    assert_eq!(import(&world.dir.path().join("absent")).kind(), ErrorKind::NotFound);
    let empty = world.source(&[]);
    fs::create_dir_all(empty.join(".git")).unwrap();
    fs::write(empty.join(".git/config"), "x").unwrap();
    assert!(matches!(import(&empty), ModelError::NothingToImport { .. }));
    assert!(!world.store.cache_dir().exists());
}

#[test]
fn imports_at_once_all_succeed_or_say_why_not() {
    let world = World::new();
    let source = |number: usize, content: &str| {
        let source = world.dir.path().join(format!("source{number}"));
        fs::create_dir_all(source.join("sub")).unwrap();
        for name in ["a.txt", "b.txt", "sub/c.bin"] {
            fs::write(source.join(name), content).unwrap();
        }
        source
    };
    let store = &world.store;
    let at_once = |sources: &[(PathBuf, &str)]| -> Vec<_> {
        std::thread::scope(|scope| {
            let import = |(source, id): &(PathBuf, &str)| {
                let (source, id) = (source.clone(), ModelId::parse(id).unwrap());
                scope.spawn(move || store.import(&source, &id, &ImportOptions::default()))
            };
            let threads: Vec<_> = sources.iter().map(import).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        })
    };
    for round in 0..10 {
        let same = format!("org/same{round}");
        let names = [same.as_str(), same.as_str(), same.as_str(), "org/other1", "org/other2"];
        let sources: Vec<_> = names.iter().enumerate().map(|(n, name)| (source(n, "same"), *name)).collect();
        for result in at_once(&sources) {
            result.unwrap();
        }
        let contested = format!("org/contested{round}");
        let sources: Vec<_> = (0..4).map(|n| (source(n, &n.to_string()), contested.as_str())).collect();
        let results = at_once(&sources);
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "one name, one content");
        assert!(results.iter().flat_map(|result| result.as_ref().err()).all(|e| e.kind() == ErrorKind::AlreadyExists));
    }
}

#[test]
fn the_cache_is_not_imported_into_itself_but_its_snapshots_are() {
    let world = World::new();
    let first = world.import(&[("a", b"1")]).unwrap();
    fs::remove_dir_all(world.dir.path().join("source")).unwrap();
    let snapshot = world.store.snapshot_dir(&id(), &Revision::default()).unwrap();
    let copy = ModelId::parse("org/copy").unwrap();
    let report = world.store.import(&snapshot, &copy, &ImportOptions::default()).unwrap();
    assert_eq!((report.commit, report.files), (first.commit, 1));
    fs::remove_dir_all(world.dir.path().join("s")).unwrap();
    let error = world.store.import(world.dir.path(), &copy, &ImportOptions::default()).unwrap_err();
    assert!(matches!(error, ModelError::NothingToImport { .. }), "{error}");
}

#[test]
fn what_is_not_there_is_named() {
    let world = World::new();
    assert!(world.store.list(None).unwrap().is_empty());
    assert_eq!(world.resolve("a").unwrap_err().field(), Some("model_id"));
    world.import(&[("a", b"1")]).unwrap();
    assert_eq!(world.resolve("b").unwrap_err().field(), Some("file_path"));
    assert_eq!(world.resolve("a/b").unwrap_err().field(), Some("file_path"));
    for revision in ["other", &"0".repeat(40)] {
        let error = world.store.resolve(&name("a", revision)).unwrap_err();
        assert_eq!((error.kind(), error.field()), (ErrorKind::NotFound, Some("revision")));
    }
}

#[test]
fn a_name_without_a_snapshot_has_no_directory() {
    let world = World::new();
    world.import(&[("a", b"1")]).unwrap();
    let snapshot = world.store.snapshot_dir(&id(), &Revision::default()).unwrap();
    fs::remove_dir_all(snapshot).unwrap();
    let error = world.store.snapshot_dir(&id(), &Revision::default()).unwrap_err();
    assert!(matches!(error, ModelError::RevisionNotFound { .. }), "{error}");
}

#[test]
fn a_damaged_blob_is_never_served_and_an_import_repairs_it() {
    let world = World::new();
    world.import(&[("a", b"1234"), ("m.onnx", b"5678")]).unwrap();
    for file in ["a", "m.onnx"] {
        let blob = fs::canonicalize(world.resolve(file).unwrap().path).unwrap();
        fs::write(&blob, b"12").unwrap();
        let error = world.resolve(file).unwrap_err();
        assert!(matches!(error, ModelError::DigestMismatch { .. }), "{error}");
        assert_eq!(error.kind(), ErrorKind::DataLoss);
    }
    assert!(!world.store.list(None).unwrap()[0].complete);
    world.import(&[("a", b"1234"), ("m.onnx", b"5678")]).unwrap();
    assert!(world.resolve("a").is_ok() && world.resolve("m.onnx").is_ok());
}

#[test]
fn a_file_that_is_shortened_while_it_is_read_is_data_loss() {
    let world = World::new();
    world.import(&[("a", b"1234")]).unwrap();
    let open = world.store.open(&name("a", "main")).unwrap();
    fs::write(fs::canonicalize(&open.resolved.path).unwrap(), b"1").unwrap();
    assert_eq!(open.read_at(0, 4, &Pool::default()).unwrap_err().kind(), ErrorKind::DataLoss);
    fs::write(fs::canonicalize(&open.resolved.path).unwrap(), b"5678").unwrap();
    assert!(
        matches!(open.read_at(0, 4, &Pool::default()), Err(ModelError::Changing { .. })),
        "other bytes of the same length"
    );
}

#[test]
fn a_file_that_is_removed_while_it_is_read_is_read_to_its_end() {
    let world = World::new();
    world.import(&[("a", b"1234")]).unwrap();
    let open = world.store.open(&name("a", "main")).unwrap();
    // Not its folders: some file systems keep those until the file is closed.
    tree_of(world.store.cache_dir()).iter().for_each(|path| fs::remove_file(path).unwrap());
    assert_eq!(open.read_at(1, 9, &Pool::default()).unwrap(), &b"234"[..]);
}

#[test]
fn what_a_killed_import_left_is_cleared_away_by_the_next() {
    let world = World::new();
    world.import(&[("a", b"1")]).unwrap();
    let partials = world.dir.path().join("framehost-partial");
    fs::create_dir_all(&partials).unwrap();
    fs::write(partials.join("dead.incomplete"), "half").unwrap();
    let living = publish::Partial::create(&partials).unwrap();
    world.import(&[("a", b"1")]).unwrap();
    assert!(!partials.join("dead.incomplete").exists());
    assert_eq!(fs::read_dir(&partials).unwrap().count(), 1, "one that is being written stays");
    drop(living);
}

#[test]
fn unfinished_downloads_make_a_model_incomplete() {
    let world = World::new();
    let (model, snapshot) = world.snapshot();
    fs::write(snapshot.join("whole"), "1").unwrap();
    assert!(world.store.list(None).unwrap()[0].complete);
    fs::write(model.join("blobs/abc.12345678.incomplete"), "1").unwrap();
    assert!(!world.store.list(None).unwrap()[0].complete);
}

#[test]
fn a_snapshot_without_links_is_read_and_its_tree_is_believed() {
    let world = World::new();
    let (model, snapshot) = world.snapshot();
    fs::write(snapshot.join("a"), "hello\n").unwrap();
    let resolved = world.resolve("a").unwrap();
    assert_eq!((resolved.etag.as_str(), resolved.verified), (resolved.sha256.as_str(), false));

    let tree = |blob_id: &str| format!(r#"{{"format_version":1,"files":{{"a":{{"size":6,"blob_id":"{blob_id}"}}}}}}"#);
    let path = model.join("trees").join(format!("{}.json", "c".repeat(40)));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, tree("ce013625030ba8dba906f756967f9e9ca394464a")).unwrap();
    assert!(world.resolve("a").unwrap().verified);
    fs::write(&path, tree(&"0".repeat(40))).unwrap();
    assert_eq!(world.resolve("a").unwrap_err().kind(), ErrorKind::DataLoss);
    fs::write(&path, "{broken").unwrap();
    assert!(!world.resolve("a").unwrap().verified);
}

#[test]
fn a_commit_is_no_name_to_import_under_and_stands_for_itself() {
    let world = World::new();
    let first = world.import(&[("a", b"1")]).unwrap();
    let options = ImportOptions { revision: Revision::parse(first.commit.as_str()).unwrap(), force: true };
    let error = world.store.import(&world.source(&[("a", b"2")]), &id(), &options).unwrap_err();
    assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidArgument, Some("revision")));
    // One that somebody else put there changes nothing.
    let refs = world.store.model_dir(&id()).join("refs");
    fs::write(refs.join(first.commit.as_str()), "c".repeat(40)).unwrap();
    assert_eq!(world.store.resolve(&name("a", first.commit.as_str())).unwrap().commit, first.commit);
}

#[test]
fn folders_are_no_files() {
    let world = World::new();
    world.import(&[("a/b", b"1")]).unwrap();
    assert!(matches!(world.resolve("a"), Err(ModelError::FileNotFound { .. })));
}

#[test]
fn a_lock_that_somebody_holds_is_waited_for_and_then_named() {
    let world = World::new();
    let cache = world.store.cache_dir();
    let held = publish::lock(cache, "models--org--name", "etag", Duration::ZERO).unwrap();
    let error = publish::lock(cache, "models--org--name", "etag", Duration::from_millis(50)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let path: PathBuf = [".locks", "models--org--name", "etag.lock"].iter().collect();
    assert!(error.to_string().ends_with(path.to_str().unwrap()), "{error}");
    drop(held);
    assert!(publish::lock(cache, "models--org--name", "etag", Duration::ZERO).is_ok());
}

#[test]
fn a_cache_that_cannot_be_written_is_an_error_with_its_path() {
    let world = World::new();
    fs::write(world.store.cache_dir(), "a file where the directory should be").unwrap();
    let error = world.import(&[("a", b"1")]).unwrap_err();
    assert!(error.to_string().contains("hub"), "{error}");
}

#[test]
fn many_who_ask_for_a_new_file_at_once_get_the_same_answer() {
    let world = World::new();
    let (_, snapshot) = world.snapshot();
    fs::write(snapshot.join("a"), vec![7; 3 << 20]).unwrap();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| world.resolve("a").unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
}
