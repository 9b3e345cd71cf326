//! What a revision consists of: by the cache where it knows, else by upstream, who is not asked about the same twice.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::time::timeout;

use super::{
    Commit, ModelError, ModelId, ModelStore, Revision, SharedModels,
    links::Blobs,
    list::walk,
    publish::{partial_dir, publish_bytes},
    tree::{Tree, TreeFile},
    upstream::{Listing, UpstreamError},
};

/// How long what upstream said about a branch holds: a client asks for many files of one model.
const FRESH: Duration = Duration::from_secs(60);

/// How long a refusal holds: somebody may be setting the network, or the model, right.
const REFUSED: Duration = Duration::from_secs(30);

/// How long upstream is waited for where the cache has something: clients give a HEAD ten seconds in all.
const PATIENCE: Duration = Duration::from_secs(3);

/// Answers that are remembered; with more, the memory begins anew.
const MAX_REMEMBERED: usize = 64;

/// Files of all listings that are remembered; with more, the memory begins anew, too.
const MAX_REMEMBERED_FILES: usize = 200_000;

/// One answer of upstream, or the place of one that is being waited for.
type Answer = Arc<tokio::sync::Mutex<Option<(Instant, Result<Arc<Listing>, UpstreamError>)>>>;

/// What upstream has said. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(super) struct Listings {
    answers: Arc<Mutex<BTreeMap<(ModelId, Revision), Answer>>>,
}

/// A file of a listing.
#[derive(Debug, Clone, Copy)]
pub struct ListedFile<'a> {
    /// Inside the model.
    pub file_path: &'a str,
    /// Of the file, in bytes.
    pub size_bytes: u64,
    /// The name of its bytes in the cache: sha256 of a large file, git's sha1 of a small one.
    pub etag: &'a str,
    /// git's sha1 of the file, or of the pointer that git holds for a large one.
    pub blob_id: &'a str,
    /// git holds a pointer to it, of so many bytes.
    pub pointer_size: Option<u64>,
}

impl Listing {
    /// The files, sorted by path.
    pub fn files(&self) -> impl Iterator<Item = ListedFile<'_>> {
        self.tree.files.iter().map(|(path, file)| listed(path, file))
    }

    /// Is there a folder of that path?
    pub fn has_folder(&self, path: &str) -> bool {
        let prefix = format!("{path}/");
        let next = self.tree.files.range(prefix.clone()..).next();
        next.is_some_and(|(file_path, _)| file_path.starts_with(&prefix))
    }

    /// One file.
    pub fn file(&self, file_path: &str) -> Option<ListedFile<'_>> {
        self.tree.files.get_key_value(file_path).map(|(path, file)| listed(path, file))
    }
}

fn listed<'a>(file_path: &'a str, file: &'a TreeFile) -> ListedFile<'a> {
    let sha256 = file.lfs_sha256.as_deref();
    ListedFile {
        file_path,
        size_bytes: file.true_size(),
        etag: file.etag(),
        blob_id: &file.blob_id,
        pointer_size: sha256.map(|sha256| super::tree::lfs_pointer(sha256, file.true_size()).len() as u64),
    }
}

impl SharedModels {
    /// What a revision consists of. A name that the cache knows stands for what it stands for there, whatever upstream
    /// has by now: only a pull moves it.
    ///
    /// # Errors
    ///
    /// [`ModelError`]: neither the cache nor upstream knows it.
    ///
    /// # Cancel safety
    ///
    /// The question is asked anew.
    pub async fn listing(&self, model_id: &ModelId, revision: &Revision) -> Result<Arc<Listing>, ModelError> {
        let (id, asked) = (model_id.clone(), revision.clone());
        let cached = self.blocking(move |store| store.cached_tree(&id, &asked)).await;
        let commit = match cached {
            Ok((commit, Some(tree))) => {
                return Ok(Arc::new(Listing { commit, tree, is_whole: true, left_out: Vec::new() }));
            }
            Ok((commit, None)) => commit,
            Err(ModelError::ModelNotFound { .. } | ModelError::RevisionNotFound { .. }) if !self.upstream.is_off() => {
                return Ok(self.upstream_listing(model_id, revision, FRESH).await?);
            }
            Err(error) => return Err(error),
        };
        // Somebody else has put it here without its listing, which upstream knows.
        let by_commit = Revision::from(commit.clone());
        let listed = timeout(PATIENCE, self.upstream_listing(model_id, &by_commit, FRESH)).await;
        let silent =
            |_| Err(UpstreamError::Unreachable { problem: "no answer yet".to_owned(), url: self.upstream.to_string() });
        match listed.unwrap_or_else(silent) {
            Ok(listing) => {
                let (id, written) = (model_id.clone(), Arc::clone(&listing));
                let note = move |store: &ModelStore| {
                    let _in_use = store.uses.begin(&id);
                    store.note_tree(&id, &written)
                };
                let noted = self.blocking(note).await;
                if let Err(error) = noted {
                    tracing::debug!(%error, "a listing is not remembered");
                }
                Ok(listing)
            }
            Err(error) => {
                tracing::debug!(%error, model_id = model_id.as_str(), "going by what the cache has");
                let id = model_id.clone();
                self.blocking(move |store| Ok(store.tree_of_snapshot(&id, commit))).await.map(Arc::new)
            }
        }
    }

    /// What upstream says of a revision, at most `max_age` ago. Many who ask at once ask once.
    pub(super) async fn upstream_listing(
        &self,
        model_id: &ModelId,
        revision: &Revision,
        max_age: Duration,
    ) -> Result<Arc<Listing>, UpstreamError> {
        let asking = self.clone().ask(model_id.clone(), revision.clone(), max_age);
        // In a task of its own: who has no patience leaves, and the answer is remembered all the same.
        tokio::spawn(asking).await.unwrap_or_else(|error| {
            let problem = format!("the question was lost: {error}");
            Err(UpstreamError::Unreachable { problem, url: self.upstream.to_string() })
        })
    }

    async fn ask(
        self,
        model_id: ModelId,
        revision: Revision,
        max_age: Duration,
    ) -> Result<Arc<Listing>, UpstreamError> {
        let answer = self.listings.answer(&model_id, &revision);
        let mut answer = answer.lock().await;
        if let Some((at, said)) = &*answer {
            let holds = match said {
                // A commit does not change.
                Ok(_) if Commit::parse(revision.as_str()).is_some() => Duration::MAX,
                Ok(_) => max_age,
                Err(_) => max_age.min(REFUSED),
            };
            if at.elapsed() < holds {
                return said.clone();
            }
        }
        let said = self.upstream.listing(&model_id, &revision, &self.store.digests).await.map(Arc::new);
        *answer = Some((Instant::now(), said.clone()));
        said
    }
}

impl Listings {
    /// The names that upstream has given a commit.
    pub(super) fn names(&self, model_id: &ModelId, commit: &Commit) -> Vec<Revision> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let of_model = answers.iter().filter(|((id, _), _)| id == model_id);
        let names = of_model.filter(|(_, answer)| {
            let answer = answer.try_lock();
            answer.is_ok_and(|answer| matches!(&*answer, Some((_, Ok(listing))) if listing.commit == *commit))
        });
        names.map(|((_, revision), _)| revision.clone()).collect()
    }

    fn answer(&self, model_id: &ModelId, revision: &Revision) -> Answer {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let files = |answer: &Answer| match answer.try_lock().as_deref() {
            Ok(Some((_, Ok(listing)))) => listing.tree.files.len(),
            // Being asked for, or refused.
            _ => 0,
        };
        let is_known = answers.contains_key(&(model_id.clone(), revision.clone()));
        let is_full =
            answers.len() >= MAX_REMEMBERED || answers.values().map(files).sum::<usize>() >= MAX_REMEMBERED_FILES;
        if !is_known && is_full {
            answers.clear();
        }
        Arc::clone(answers.entry((model_id.clone(), revision.clone())).or_default())
    }
}

impl ModelStore {
    /// What a revision stands for here, and what it consists of where that is known.
    pub(super) fn cached_tree(
        &self,
        model_id: &ModelId,
        revision: &Revision,
    ) -> Result<(Commit, Option<Tree>), ModelError> {
        let commit = self.commit(model_id, revision)?;
        let tree = Tree::read(&self.model_dir(model_id), commit.as_str());
        Ok((commit, tree))
    }

    /// Writes down what a commit consists of, as huggingface_hub does, where all of it is known.
    pub(super) fn note_tree(&self, model_id: &ModelId, listing: &Listing) -> Result<(), ModelError> {
        let model_dir = self.model_dir(model_id);
        let path = model_dir.join("trees").join(format!("{}.json", listing.commit.as_str()));
        if !listing.is_whole || !listing.left_out.is_empty() || path.exists() {
            return Ok(());
        }
        publish_bytes(&path, &listing.tree.to_json(), &partial_dir(self.cache_dir(), &model_dir)?)
    }

    /// The files that a snapshot has, by the names of their blobs.
    fn tree_of_snapshot(&self, model_id: &ModelId, commit: Commit) -> Listing {
        let blobs = Blobs::of(&self.model_dir(model_id));
        let files = walk(&self.snapshot(model_id, &commit)).into_iter().filter_map(|(name, path)| {
            let size = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?.len();
            let etag = blobs.name(&path)?;
            let file = if etag.len() == 64 { TreeFile::large(etag, size) } else { TreeFile::small(etag, size) };
            Some((name, file))
        });
        let tree = Tree::new(files.collect());
        Listing { commit, tree, is_whole: false, left_out: Vec::new() }
    }
}
