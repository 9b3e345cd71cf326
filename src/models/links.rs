//! How a snapshot has its files: by links to blobs, or as files of its own.
//!
//! huggingface_hub makes symbolic links. Where those cannot be made (Windows without developer mode, some file systems)
//! it moves a new blob into the snapshot, and copies one that was there before; that is read here as well. What is put
//! here keeps its blob, so that other revisions share it: by a symbolic link, else by a hard link, else by a copy.
//!
//! Belongs here: making them, and telling which blob a file is.
//! Does not belong here: what the system can do (`system`), what may go (`care`).

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, Metadata},
    io,
    path::{Path, PathBuf},
};

use super::{
    Commit, FilePath, ModelError, ModelId, ModelStore,
    digest::{Digests, FileKey},
    list::walk,
    publish::{Partial, make_parent, partial_dir, sync_parent},
    system::{self, Identity, open_file},
};

/// How often a link is tried whose place others take again and again.
const TRIES: u32 = 10;

const ACTION: &str = "link a file into its snapshot";

/// How a snapshot gets a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Relative, as Python makes it.
    Symlink,
    /// Another name of the blob: no bytes more.
    HardLink,
    /// On file systems without any links.
    Copy,
}

/// In the order in which they are tried.
pub(super) const WAYS: &[Way] = &[Way::Symlink, Way::HardLink, Way::Copy];

/// The blobs of a model, for telling which of them a snapshot's file is.
pub(super) struct Blobs {
    directory: PathBuf,
    /// Those with several names; read when the first file comes that has, too.
    many: OnceCell<BTreeMap<Identity, String>>,
}

impl Blobs {
    pub(super) fn of(model_dir: &Path) -> Self {
        Self { directory: model_dir.join("blobs"), many: OnceCell::new() }
    }

    /// The name of the blob that a snapshot's file is, by a link of either kind; `None` if it is a file of its own.
    pub(super) fn name(&self, path: &Path) -> Option<String> {
        match fs::read_link(path) {
            Ok(link) => link.file_name()?.to_str().map(str::to_owned),
            Err(_) => self.hard_name(path),
        }
    }

    /// As [`Self::name`], for what is no symbolic link.
    pub(super) fn hard_name(&self, path: &Path) -> Option<String> {
        let metadata = fs::symlink_metadata(path).ok().filter(Metadata::is_file)?;
        self.many().get(&system::identity_of_many(path, &metadata)?).cloned()
    }

    /// The names of the blobs that a snapshot's files are.
    pub(super) fn names(&self, snapshot: &Path) -> Vec<String> {
        walk(snapshot).into_iter().filter_map(|(_, path)| self.name(&path)).collect()
    }

    /// Bytes below a folder that are in no blob.
    pub(super) fn other_bytes(&self, folder: &Path) -> u64 {
        let mut counted = BTreeSet::new();
        let mut size = |path: &Path| {
            let metadata = fs::symlink_metadata(path).ok().filter(Metadata::is_file)?;
            let is_own = match system::identity_of_many(path, &metadata) {
                Some(identity) => !self.many().contains_key(&identity) && counted.insert(identity),
                None => true,
            };
            is_own.then_some(metadata.len())
        };
        walk(folder).iter().filter_map(|(_, path)| size(path)).sum()
    }

    fn many(&self) -> &BTreeMap<Identity, String> {
        self.many.get_or_init(|| {
            let entries = fs::read_dir(&self.directory).into_iter().flatten().filter_map(Result::ok);
            let with_name = |entry: fs::DirEntry| {
                let (name, path) = (entry.file_name().into_string().ok()?, entry.path());
                let metadata = fs::symlink_metadata(&path).ok().filter(Metadata::is_file)?;
                Some((system::identity_of_many(&path, &metadata)?, name))
            };
            entries.filter_map(with_name).collect()
        })
    }
}

impl ModelStore {
    /// Puts a blob under a file's name. What is right there already stays.
    pub(super) fn publish_link(
        &self,
        model_id: &ModelId,
        commit: &Commit,
        file_path: &FilePath,
        etag: &str,
    ) -> Result<(), ModelError> {
        let model_dir = self.model_dir(model_id);
        let path = self.snapshot(model_id, commit).join(file_path.relative_path());
        make_parent(&path)?;
        let blob = model_dir.join("blobs").join(etag);
        // huggingface_hub has moved it here, or its blob has been cleared away.
        if is_absent(&blob) && self.whole_copy(&path, etag).is_some() {
            return Ok(());
        }
        let up = file_path.components().count() + 1;
        let target: PathBuf = std::iter::repeat_n("..", up).chain(["blobs", etag]).collect();
        for way in self.ways {
            let made = match way {
                Way::Symlink => {
                    let is_right = || fs::read_link(&path).is_ok_and(|present| present == target);
                    self.put(&path, etag, || system::make_symlink(&target, &path), is_right)
                }
                Way::HardLink => {
                    let is_right = || self.whole_copy(&path, etag).is_some();
                    self.put(&path, etag, || self.hard_link(&blob, &path), is_right)
                }
                Way::Copy => return self.put_copy(&blob, &path, etag, &model_dir),
            };
            match made {
                Ok(()) => return sync_parent(&path),
                Err(error) if system::has_no_links(&error) => {
                    tracing::debug!(%error, ?way, path = %path.display(), "a link cannot be made here");
                }
                Err(error) => return Err(ModelError::io(ACTION, path)(error)),
            }
        }
        Err(ModelError::io(ACTION, path)(io::ErrorKind::Unsupported.into()))
    }

    /// Makes a link; what is in the way is removed, unless `is_right`.
    fn put(
        &self,
        path: &Path,
        etag: &str,
        make: impl Fn() -> io::Result<()>,
        is_right: impl Fn() -> bool,
    ) -> io::Result<()> {
        for _ in 0..TRIES {
            match make() {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made,
            }
            // Somebody else's link to the same bytes, or something that is in the way.
            if is_right() {
                return Ok(());
            }
            match system::remove_file(path) {
                // Another program has it open, and it is as good.
                Err(error) if system::is_held(&error) && self.whole_copy(path, etag).is_some() => return Ok(()),
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn hard_link(&self, blob: &Path, path: &Path) -> io::Result<()> {
        // The blob may be a link itself, into the store that models share.
        let blob = fs::canonicalize(blob)?;
        let file = open_file(&blob)?;
        let (before, known) = self.digests.known(&file)?;
        fs::hard_link(&blob, path)?;
        // A new name is a change, and the bytes are the same.
        let after = FileKey::of(&file)?;
        if let Some(known) = known.filter(|_| after.has_same_bytes(&before)) {
            self.digests.remember(after, known);
        }
        Ok(())
    }

    fn put_copy(&self, blob: &Path, path: &Path, etag: &str, model_dir: &Path) -> Result<(), ModelError> {
        if self.whole_copy(path, etag).is_some() {
            return Ok(());
        }
        let mut from = open_file(blob).map_err(ModelError::io(ACTION, blob))?;
        let mut partial = Partial::create(&partial_dir(self.cache_dir(), model_dir)?)?;
        io::copy(&mut from, &mut partial.file).map_err(ModelError::io(ACTION, path))?;
        // It is hashed when it is first asked for.
        partial.publish(path)
    }

    /// A snapshot's own file, if its bytes are those of that name.
    pub(super) fn whole_copy(&self, path: &Path, etag: &str) -> Option<(File, Digests)> {
        if !fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file()) {
            return None;
        }
        let file = open_file(path).ok()?;
        let (_, digests) = self.digests.digests(&file).ok()??;
        (digests.sha256 == etag || digests.git_sha1 == etag).then_some((file, digests))
    }
}

fn is_absent(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use tokio::sync::watch;

    use super::*;
    use crate::models::{
        FileName, FileState, GcOptions, ImportOptions, PullOptions, PullProgress, Revision, SharedModels, StoreOptions,
        Upstream, UpstreamOptions,
    };

    /// As on Windows without developer mode, and on file systems without links.
    const WITHOUT_SYMLINKS: [&[Way]; 2] = [&[Way::HardLink, Way::Copy], &[Way::Copy]];

    struct World {
        dir: tempfile::TempDir,
        store: ModelStore,
    }

    impl World {
        fn new(ways: &'static [Way]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let store = store(&dir, ways);
            Self { dir, store }
        }

        fn import(&self, revision: &str, files: &[(&str, &str)]) -> Commit {
            let source = self.dir.path().join("source");
            let _ = fs::remove_dir_all(&source);
            for (name, text) in files {
                let path = source.join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            let options = ImportOptions { revision: Revision::parse(revision).unwrap(), force: true };
            self.store.import(&source, &id(), &options).unwrap().commit
        }

        fn blobs(&self) -> Vec<PathBuf> {
            let blobs = fs::read_dir(self.store.model_dir(&id()).join("blobs"));
            blobs.into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
        }

        fn states(&self) -> Vec<FileState> {
            let snapshots = self.store.verify(Some(&id())).unwrap();
            snapshots.into_iter().flat_map(|snapshot| snapshot.files).map(|file| file.state).collect()
        }

        fn gc(&self) -> crate::models::GcReport {
            let counted = self.store.gc(GcOptions { max_bytes: None, dry_run: true }).unwrap();
            let done = self.store.gc(GcOptions::default()).unwrap();
            assert_eq!(counted, done, "a dry run tells what is done");
            done
        }
    }

    fn store(dir: &tempfile::TempDir, ways: &'static [Way]) -> ModelStore {
        let options = StoreOptions { cache_dir: dir.path().join("hub"), state_dir: dir.path().join("state") };
        let mut store = ModelStore::new(options);
        store.ways = ways;
        store
    }

    fn id() -> ModelId {
        ModelId::parse("org/name").unwrap()
    }

    fn name(file_path: &str, revision: &str) -> FileName {
        FileName::parse("org/name", file_path, revision).unwrap()
    }

    #[test]
    fn a_cache_without_symbolic_links_is_written_read_and_cleared() {
        for ways in WITHOUT_SYMLINKS {
            let is_hard = ways.contains(&Way::HardLink);
            let world = World::new(ways);
            world.import("main", &[("same.bin", "1"), ("sub/own", "22")]);
            world.import("v2", &[("same.bin", "1"), ("sub/own", "333")]);
            for (file, revision, text) in
                [("same.bin", "main", "1"), ("sub/own", "main", "22"), ("sub/own", "v2", "333")]
            {
                let resolved = world.store.resolve(&name(file, revision)).unwrap();
                assert!(resolved.verified && fs::symlink_metadata(&resolved.path).unwrap().is_file());
                assert_eq!(fs::read_to_string(&resolved.path).unwrap(), text);
                let known = world.store.digests.known(&open_file(&resolved.path).unwrap()).unwrap().1;
                assert!(known.is_some(), "a link is no reason to hash again");
            }
            let listed = world.store.list(None).unwrap();
            assert_eq!(
                listed.iter().map(|model| (model.complete, model.size_bytes)).collect::<Vec<_>>(),
                [(true, 3), (true, 4)]
            );
            assert_eq!(world.states(), [FileState::Ok; 4]);
            // Its three blobs and, where they are copied, its four files.
            assert_eq!(world.gc().size_bytes, if is_hard { 6 } else { 6 + 7 });

            let report = world.store.remove(&id(), Some(&Revision::default())).unwrap();
            assert_eq!(report.freed_bytes, if is_hard { 2 } else { 1 + 2 });
            assert_eq!(world.blobs().len(), if is_hard { 2 } else { 3 });
            let old = std::time::SystemTime::now() - std::time::Duration::from_secs(100_000);
            world.blobs().iter().for_each(|blob| system::set_modified(blob, old));
            // What was copied needs its blob no more.
            assert_eq!(world.gc().freed_bytes, if is_hard { 0 } else { 6 });
            assert_eq!(world.states(), [FileState::Ok; 2]);
            assert!(world.store.resolve(&name("same.bin", "v2")).unwrap().verified);
            assert_eq!(world.store.remove(&id(), None).unwrap().freed_bytes, 4);
            assert!(!world.store.model_dir(&id()).exists());
            assert_eq!(fs::read_dir(world.dir.path().join("framehost-partial")).unwrap().count(), 0);
        }
    }

    #[test]
    fn a_hard_link_is_known_by_its_blob_and_a_copy_by_its_commits_listing_alone() {
        for ways in WITHOUT_SYMLINKS {
            let is_hard = ways.contains(&Way::HardLink);
            let world = World::new(ways);
            let commit = world.import("main", &[("a", "1")]);
            fs::remove_dir_all(world.store.model_dir(&id()).join("trees")).unwrap();
            assert_eq!(world.store.resolve(&name("a", "")).unwrap().verified, is_hard);
            assert_eq!(world.states(), [if is_hard { FileState::Ok } else { FileState::Unknown }]);
            let path = world.store.snapshot(&id(), &commit).join("a");
            fs::write(&path, "2").unwrap();
            assert_eq!(world.store.resolve(&name("a", "")).is_err(), is_hard, "other bytes than the blob's name says");
        }
    }

    #[test]
    fn a_file_that_is_right_stays_and_another_one_is_replaced() {
        for ways in WITHOUT_SYMLINKS.into_iter().chain([WAYS]) {
            let world = World::new(ways);
            let files = [("a", "1"), ("b.bin", "2")];
            let commit = world.import("main", &files);
            let path = world.store.snapshot(&id(), &commit).join("b.bin");
            for text in ["2", "3"] {
                fs::remove_file(&path).unwrap();
                fs::write(&path, text).unwrap();
                world.import("main", &files);
                assert_eq!(fs::read_to_string(&path).unwrap(), "2");
                assert_eq!(world.states(), [FileState::Ok; 2]);
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_huggingface_hub_has_moved_into_a_snapshot_is_not_fetched_again() {
        for ways in WITHOUT_SYMLINKS.into_iter().chain([WAYS]) {
            let world = World::new(ways);
            let upstream = world.dir.path().join("upstream");
            fs::create_dir_all(upstream.join("org/name/sub")).unwrap();
            fs::write(upstream.join("org/name/a"), "1").unwrap();
            fs::write(upstream.join("org/name/sub/b.bin"), "22").unwrap();
            let location = Some(upstream.display().to_string());
            let upstream = Upstream::new(&UpstreamOptions { location, ..UpstreamOptions::default() }).unwrap();
            let models = SharedModels::new(store(&world.dir, ways), upstream);
            let (main, options) = (Revision::default(), PullOptions::default());
            let (progress, _) = watch::channel(PullProgress::default());
            let report = models.pull(&id(), &main, &options, &progress).await.unwrap();
            assert_eq!((report.files, report.from_cache), (2, false));
            assert!(models.open(name("sub/b.bin", "")).await.unwrap().resolved.verified);

            // As if it had been there before.
            let files = ["a", "sub/b.bin"].map(|file| report.snapshot_dir.join(file));
            for file in &files {
                let bytes = fs::read(file).unwrap();
                fs::remove_file(file).unwrap();
                fs::write(file, bytes).unwrap();
            }
            world.blobs().iter().for_each(|blob| fs::remove_file(blob).unwrap());
            let identities = || files.each_ref().map(|file| system::identity(file).unwrap());
            let before = identities();
            models.pull(&id(), &main, &options, &progress).await.unwrap();
            assert_eq!((identities(), world.blobs().len()), (before, 0));
            assert_eq!(world.states(), [FileState::Ok; 2]);

            // And what is wrong is, and with its blob.
            fs::write(&files[0], "x").unwrap();
            assert_eq!(world.states(), [FileState::Damaged, FileState::Ok]);
            let repaired = models.repair(&id(), &report.commit, "a").await.unwrap();
            assert_eq!((repaired.state, world.blobs().len()), (FileState::Ok, 1));
            assert_eq!(fs::read(&files[0]).unwrap(), b"1");
            drop(models);
            let copied = u64::from(!ways.contains(&Way::HardLink));
            assert_eq!(world.store.remove(&id(), None).unwrap().freed_bytes, 3 + copied);
        }
    }
}
