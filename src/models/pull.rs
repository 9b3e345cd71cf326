//! Pulling a model: every file of a revision that is wanted, verified, and then the name moved to it.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use glob::{MatchOptions, Pattern};
use sha1::{Digest as _, Sha1};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::JoinSet,
    time::timeout,
};

use super::{
    Commit, FileName, FilePath, ModelError, ModelId, ModelStore, Revision, SharedModels,
    download::Wanted,
    publish::{check_writable, lock_for_publishing, partial_dir, publish_bytes},
    store::read_ref,
    upstream::{Listing, UpstreamError},
};
use crate::hex;

/// Files that one pull fetches at once.
const FILES_AT_ONCE: usize = 4;

/// How long publishing a file may take before the next one is begun.
const PUBLISH_PATIENCE: Duration = Duration::from_secs(1);

/// How long upstream may take to say what a revision is and consists of, where the cache has all of it that is wanted.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which files of a model are pulled.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// Only those that match one of these; all if there are none. `*` also stands for `/`, as in huggingface_hub.
    pub include: Vec<String>,
    /// None of those that match one of these.
    pub exclude: Vec<String>,
}

/// How far a pull is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PullProgress {
    /// What is being fetched; empty before the first file.
    pub file_path: String,
    /// Bytes that are here, of all files.
    pub bytes_done: u64,
    /// Bytes of all files; 0 before they are known.
    pub bytes_total: u64,
    /// Files that are whole.
    pub files_done: usize,
    /// Files that are wanted.
    pub files_total: usize,
    /// What is pulled; empty before it is known.
    pub commit: String,
}

/// What a pull has brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullReport {
    /// What the revision stands for now.
    pub commit: Commit,
    /// The directory of its files.
    pub snapshot_dir: PathBuf,
    /// Files that were wanted.
    pub files: usize,
    /// Their bytes.
    pub size_bytes: u64,
    /// Upstream could not be asked: this is what the cache has, all of it.
    pub from_cache: bool,
}

/// The files of a revision that a pull is about.
struct Pull {
    listing: Arc<Listing>,
    wanted: Vec<Wanted>,
    from_cache: bool,
}

/// The choice of files, read once.
struct Choice {
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

impl SharedModels {
    /// Brings a revision as upstream has it now into the cache, and moves its name there when all is whole.
    ///
    /// Downloads are shared with whoever wants the same files. `progress` is told as files arrive. Where upstream cannot
    /// be asked and the cache has every wanted file of what the revision stands for there, that is the answer.
    ///
    /// # Errors
    ///
    /// [`ModelError`]: what upstream refuses, a wrong pattern, a full disk, a damaged file that cannot be fetched anew.
    ///
    /// # Cancel safety
    ///
    /// What has arrived is kept; the next pull goes on from there.
    pub async fn pull(
        &self,
        model_id: &ModelId,
        revision: &Revision,
        options: &PullOptions,
        progress: &watch::Sender<PullProgress>,
    ) -> Result<PullReport, ModelError> {
        let choice = Choice::new(options)?;
        let before = self.named(model_id, revision).await;
        let Pull { listing, wanted, from_cache } = self.pull_of(model_id, revision, choice).await?;
        let _in_use = self.mark(model_id).await;
        let (files, size_bytes) =
            (wanted.len(), wanted.iter().fold(0, |sum: u64, file| sum.saturating_add(file.size_bytes)));
        progress.send_replace(PullProgress {
            bytes_total: size_bytes,
            files_total: files,
            commit: listing.commit.as_str().to_owned(),
            ..PullProgress::default()
        });
        if from_cache {
            self.check_files(wanted, progress).await?;
        } else {
            let (id, files) = (model_id.clone(), wanted.clone());
            self.blocking(move |store| store.check_writable(&id, &files)).await?;
            self.pull_files(wanted.clone(), revision, &listing, progress).await?;
            let is_newest = self.is_newest(model_id, revision, before, &listing).await;
            let (id, name, moved) = (model_id.clone(), revision.clone(), Arc::clone(&listing));
            self.blocking(move |store| {
                // This goes on when its caller has gone, so it has a mark of its own.
                let _in_use = store.uses.begin(&id);
                store.check_complete(&id, &moved.commit, &wanted)?;
                // A name leads to files.
                if is_newest && !wanted.is_empty() {
                    store.name_commit(&id, &name, &moved, Move::Always)?;
                }
                Ok(())
            })
            .await?;
        }
        let snapshot_dir = self.store.snapshot(model_id, &listing.commit);
        self.make_room().await;
        Ok(PullReport { commit: listing.commit.clone(), snapshot_dir, files, size_bytes, from_cache })
    }

    /// What is wanted: of what upstream has now or, where it cannot be asked, of a whole snapshot of the cache.
    async fn pull_of(&self, model_id: &ModelId, revision: &Revision, choice: Choice) -> Result<Pull, ModelError> {
        let choice = Arc::new(choice);
        let (id, name, chosen) = (model_id.clone(), revision.clone(), Arc::clone(&choice));
        let cached = self.blocking(move |store| store.whole(&id, &name, &chosen)).await;
        let asking = self.upstream_listing(model_id, revision, Duration::ZERO);
        let asked = match cached {
            Ok(None) => asking.await,
            Err(missing) => match asking.await {
                // Where nobody may be asked, what is missing is the better answer.
                Err(UpstreamError::Off) => return Err(missing),
                asked => asked,
            },
            Ok(Some(cached)) => {
                let silent = |_| {
                    Err(UpstreamError::Unreachable {
                        problem: format!("no answer in {PATIENCE:?}"),
                        url: self.upstream.to_string(),
                    })
                };
                match timeout(PATIENCE, asking).await.unwrap_or_else(silent) {
                    Err(error) if error.is_offline() => {
                        tracing::info!(%error, model_id = model_id.as_str(), "pulled from what the cache has");
                        return Ok(cached);
                    }
                    asked => asked,
                }
            }
        };
        let listing = asked?;
        let (id, listed) = (model_id.clone(), Arc::clone(&listing));
        // Some hundred patterns and some thousand files are work for a while.
        let wanted = self.blocking(move |_| wanted(&id, &listed, &choice)).await?;
        Ok(Pull { listing, wanted, from_cache: false })
    }

    /// The commit that a revision's name stands for in the cache.
    async fn named(&self, model_id: &ModelId, revision: &Revision) -> Option<Commit> {
        let (id, name) = (model_id.clone(), revision.clone());
        self.blocking(move |store| store.commit(&id, &name)).await.ok()
    }

    /// Is what was pulled still what the name is to stand for? Another pull, of what upstream had later, may have moved it
    /// meanwhile: then upstream is asked once more.
    async fn is_newest(
        &self,
        model_id: &ModelId,
        revision: &Revision,
        before: Option<Commit>,
        pulled: &Listing,
    ) -> bool {
        let now = self.named(model_id, revision).await;
        if now == before || now.as_ref() == Some(&pulled.commit) {
            return true;
        }
        let asked = self.upstream_listing(model_id, revision, Duration::ZERO).await;
        asked.is_ok_and(|listing| listing.commit == pulled.commit)
    }

    /// Fetches what is not here.
    async fn pull_files(
        &self,
        wanted: Vec<Wanted>,
        revision: &Revision,
        listing: &Arc<Listing>,
        progress: &watch::Sender<PullProgress>,
    ) -> Result<(), ModelError> {
        let places = Arc::new(Semaphore::new(FILES_AT_ONCE));
        let mut fetching = JoinSet::new();
        for file in wanted {
            let (models, listing, places) = (self.clone(), Arc::clone(listing), Arc::clone(&places));
            let (progress, revision) = (progress.clone(), revision.clone());
            fetching.spawn(async move {
                // The semaphore is never closed.
                let place = places.acquire_owned().await.ok();
                models.pull_file(file, revision, listing, &progress, place).await
            });
        }
        let mut held = None;
        while let Some(ended) = fetching.join_next().await {
            match ended.map_err(|error| ModelError::io("pull", self.cache_dir())(std::io::Error::other(error)))? {
                // What another process holds is no reason to give up the files that it does not.
                Err(error) if error.is_locked() => held = Some(error),
                other => other?,
            }
        }
        held.map_or(Ok(()), Err)
    }

    /// Compares files of the cache with their digests, and fetches nothing.
    async fn check_files(&self, wanted: Vec<Wanted>, progress: &watch::Sender<PullProgress>) -> Result<(), ModelError> {
        for Wanted { model_id, commit, file_path, size_bytes, .. } in wanted {
            progress.send_modify(|progress| file_path.as_str().clone_into(&mut progress.file_path));
            self.open_cached(FileName { model_id, revision: commit.into(), file_path }).await?;
            progress.send_modify(|progress| {
                progress.bytes_done += size_bytes;
                progress.files_done += 1;
            });
        }
        Ok(())
    }

    /// Holds to the limit, if there is one. What was pulled is in use, and stays.
    async fn make_room(&self) {
        let Some(max_bytes) = self.max_bytes else { return };
        match self.blocking(move |store| store.make_room(max_bytes)).await {
            Ok(Some(report)) => {
                let (freed, left) = (report.freed_bytes, report.size_bytes);
                tracing::info!(freed, left, max_bytes, "made room in the model cache");
                if left > max_bytes {
                    tracing::warn!(left, max_bytes, "the model cache is above its limit: the rest is in use or pinned");
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "could not make room in the model cache"),
        }
    }

    async fn pull_file(
        &self,
        wanted: Wanted,
        revision: Revision,
        listing: Arc<Listing>,
        progress: &watch::Sender<PullProgress>,
        mut place: Option<OwnedSemaphorePermit>,
    ) -> Result<(), ModelError> {
        let size = wanted.size_bytes;
        let name = FileName { model_id: wanted.model_id.clone(), revision, file_path: wanted.file_path.clone() };
        let mut reader = self.downloads.get(wanted);
        let mut ending = reader.ending();
        let mut counted = 0;
        let mut count = |ready: u64| {
            // A download that goes on elsewhere may begin with less than had arrived.
            let ready = ready.max(counted);
            progress.send_modify(|progress| {
                progress.bytes_done += ready - counted;
                progress.file_path = name.file_path.as_str().to_owned();
            });
            counted = ready;
        };
        let published = ending.published();
        tokio::pin!(published);
        loop {
            tokio::select! {
                ended = &mut published => break ended?,
                () = reader.changed() => count(reader.ready().min(size)),
                // Somebody holds the file's lock: the next file need not wait for that.
                () = tokio::time::sleep(PUBLISH_PATIENCE), if place.is_some() && reader.is_checked() => place = None,
            }
        }
        count(size);
        self.blocking(move |store| {
            let _in_use = store.uses.begin(&name.model_id);
            store.link_file(&name, &listing)
        })
        .await?;
        progress.send_modify(|progress| progress.files_done += 1);
        Ok(())
    }
}

/// May a name that stands for something else be moved?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Move {
    Always,
    OnlyNew,
}

impl ModelStore {
    /// What is wanted of a revision, where all of it is here, by name and size; `None` where it is not known what the
    /// revision consists of. An error says what is missing.
    fn whole(&self, model_id: &ModelId, revision: &Revision, choice: &Choice) -> Result<Option<Pull>, ModelError> {
        let (commit, tree) = self.cached_tree(model_id, revision)?;
        let Some(tree) = tree else { return Ok(None) };
        let snapshot = self.snapshot(model_id, &commit);
        let listing = Listing { commit, tree, is_whole: true, left_out: Vec::new() };
        let wanted = wanted(model_id, &listing, choice)?;
        let is_missing = |file: &&Wanted| {
            let metadata = std::fs::metadata(snapshot.join(file.file_path.relative_path()));
            !metadata.is_ok_and(|metadata| metadata.is_file() && metadata.len() == file.size_bytes)
        };
        match wanted.iter().find(is_missing) {
            Some(missing) => Err(ModelError::FileNotFound {
                model_id: model_id.as_str().to_owned(),
                commit: listing.commit.as_str().to_owned(),
                file_path: missing.file_path.as_str().to_owned(),
            }),
            None => Ok(Some(Pull { listing: Arc::new(listing), wanted, from_cache: true })),
        }
    }

    /// Puts a fetched file under its name, and gives its commit the names that it is known by, if they are new.
    pub(super) fn link_fetched(
        &self,
        name: &FileName,
        known_by: &[Revision],
        listing: &Listing,
    ) -> Result<(), ModelError> {
        self.link_file(name, listing)?;
        for revision in known_by.iter().chain([&name.revision]) {
            self.name_commit(&name.model_id, revision, listing, Move::OnlyNew)?;
        }
        Ok(())
    }

    /// Can what is missing of a pull be put here?
    fn check_writable(&self, model_id: &ModelId, wanted: &[Wanted]) -> Result<(), ModelError> {
        let blobs = self.model_dir(model_id).join("blobs");
        let has_size =
            |path: PathBuf, file: &Wanted| fs::metadata(path).is_ok_and(|metadata| metadata.len() == file.size_bytes);
        let in_snapshot = |file: &Wanted| self.snapshot(model_id, &file.commit).join(file.file_path.relative_path());
        let is_here = |file: &Wanted| has_size(blobs.join(&file.etag), file) || has_size(in_snapshot(file), file);
        if wanted.iter().all(is_here) {
            return Ok(());
        }
        check_writable(self.cache_dir(), &self.model_dir(model_id))
    }

    /// Is everything that was pulled still here? Others may clear away what has no name yet.
    fn check_complete(&self, model_id: &ModelId, commit: &Commit, pulled: &[Wanted]) -> Result<(), ModelError> {
        let snapshot = self.snapshot(model_id, commit);
        let is_here = |file: &&Wanted| fs::metadata(snapshot.join(file.file_path.relative_path())).is_ok();
        match pulled.iter().find(|file| !is_here(file)) {
            Some(file) => Err(ModelError::RemovedMeanwhile {
                model_id: model_id.as_str().to_owned(),
                file_path: file.file_path.as_str().to_owned(),
            }),
            None => Ok(()),
        }
    }

    fn link_file(&self, name: &FileName, listing: &Listing) -> Result<(), ModelError> {
        let Some(listed) = listing.file(name.file_path.as_str()) else { return Ok(()) };
        self.publish_link(&name.model_id, &listing.commit, &name.file_path, listed.etag)
    }

    fn name_commit(
        &self,
        model_id: &ModelId,
        revision: &Revision,
        listing: &Listing,
        may_move: Move,
    ) -> Result<(), ModelError> {
        let model_dir = self.model_dir(model_id);
        self.note_tree(model_id, listing)?;
        if Commit::parse(revision.as_str()).is_some() {
            return Ok(());
        }
        let reference = model_dir.join("refs").join(revision.relative_path());
        let is_done = |present: Option<Commit>| match present {
            Some(present) => present == listing.commit || may_move == Move::OnlyNew,
            None => false,
        };
        if is_done(read_ref(&reference)?) {
            return Ok(());
        }
        // A revision may be longer than a file's name.
        let lock_name = format!("ref.{}", hex::lower(&Sha1::digest(revision.as_str())));
        let _lock = lock_for_publishing(self.cache_dir(), &model_id.folder_name(), &lock_name)?;
        if is_done(read_ref(&reference)?) {
            return Ok(());
        }
        publish_bytes(&reference, listing.commit.as_str().as_bytes(), &partial_dir(self.cache_dir(), &model_dir)?)
    }
}

/// The files of a listing that are to be pulled.
fn wanted(model_id: &ModelId, listing: &Listing, choice: &Choice) -> Result<Vec<Wanted>, ModelError> {
    let chosen = listing.files().filter(|file| choice.has(file.file_path));
    chosen
        .map(|file| {
            Ok(Wanted {
                model_id: model_id.clone(),
                commit: listing.commit.clone(),
                file_path: FilePath::parse(file.file_path)?,
                etag: file.etag.to_owned(),
                size_bytes: file.size_bytes,
            })
        })
        .collect()
}

impl Choice {
    fn new(options: &PullOptions) -> Result<Self, ModelError> {
        let read = |field: &'static str, patterns: &[String]| {
            let pattern = |text: &String| {
                // A folder stands for what is in it. Source: huggingface_hub, `filter_repo_objects`.
                let mut whole = if text.ends_with('/') { format!("{text}*") } else { text.clone() };
                // `*` stands for `/`, too, so that more of them say nothing more.
                while whole.contains("**") {
                    whole = whole.replace("**", "*");
                }
                Pattern::new(&whole).map_err(|error| ModelError::Name {
                    field,
                    value: text.clone(),
                    problem: error.msg,
                })
            };
            patterns.iter().map(pattern).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self { include: read("include", &options.include)?, exclude: read("exclude", &options.exclude)? })
    }

    fn has(&self, file_path: &str) -> bool {
        let options = MatchOptions { require_literal_separator: false, ..MatchOptions::new() };
        let matches = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches_with(file_path, options));
        (self.include.is_empty() || matches(&self.include)) && !matches(&self.exclude)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_choose_as_in_huggingface_hub() {
        let check = |include: &[&str], exclude: &[&str], path: &str| {
            let owned = |patterns: &[&str]| patterns.iter().map(|&text| text.to_owned()).collect();
            Choice::new(&PullOptions { include: owned(include), exclude: owned(exclude) }).unwrap().has(path)
        };
        assert!(check(&[], &[], "a/b.json"));
        assert!(check(&["*.json"], &[], "a/b.json"), "* stands for / too");
        assert!(check(&["onnx/"], &[], "onnx/model.onnx"));
        assert!(check(&["a**.json", "***/d"], &[], "a/b/c.json") && check(&["**/d"], &[], "a/b/d"));
        assert!(!check(&["**/d"], &[], "d"), "fnmatch has the slash there, too");
        assert!(!check(&["onnx/"], &[], "model.onnx"));
        assert!(!check(&[], &["*.bin"], "pytorch_model.bin"));
        assert!(!check(&["*.bin"], &["*_model*"], "pytorch_model.bin"));
        assert!(Choice::new(&PullOptions { include: vec!["[".to_owned()], ..PullOptions::default() }).is_err());
    }
}
