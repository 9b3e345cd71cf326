//! The store for many who ask at once: hashing a large file takes a while, and nobody who waits for it holds a thread.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::{Semaphore, watch};

use super::{
    FileName, ModelError, ModelId, ModelStore, ModelSummary, OpenModelFile, Upstream, care::InUse, digest::FileKey,
    download::Downloads, listing::Listings, read_ahead::ReadAhead, store::Opened, watch::Watching,
};
use crate::frame::Pool;

/// Files that are hashed at the same time: more would only share the disk and the cores.
const MAX_HASHING: usize = 2;

/// How often a file is looked at again that was hashed and is still not known: somebody writes to it.
const MAX_TRIES: usize = 3;

/// Files that are being hashed; who waits for one is told when it is done.
type Hashing = Arc<Mutex<BTreeMap<FileKey, watch::Receiver<()>>>>;

/// The model cache for async code. Cloning shares it.
#[derive(Debug, Clone)]
pub struct SharedModels {
    pub(super) store: Arc<ModelStore>,
    pub(super) upstream: Arc<Upstream>,
    pub(super) listings: Listings,
    pub(super) downloads: Downloads,
    /// Bytes that the models may take; made room for after a pull.
    pub(super) max_bytes: Option<u64>,
    pub(super) watching: Watching,
    pub(super) read_ahead: ReadAhead,
    hashing: Hashing,
    places: Arc<Semaphore>,
}

impl SharedModels {
    /// Shares a store, and fetches from `upstream` what it does not have.
    pub fn new(store: ModelStore, upstream: Upstream) -> Self {
        let (store, upstream) = (Arc::new(store), Arc::new(upstream));
        Self {
            downloads: Downloads::new(Arc::clone(&upstream), Arc::clone(&store)),
            store,
            upstream,
            listings: Listings::default(),
            max_bytes: None,
            watching: Watching::default(),
            read_ahead: ReadAhead::default(),
            hashing: Hashing::default(),
            places: Arc::new(Semaphore::new(MAX_HASHING)),
        }
    }

    /// Holds to so many bytes of models: a pull that leaves more clears away what was used longest ago.
    #[must_use]
    pub const fn with_limit(mut self, max_bytes: Option<u64>) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// Is what is missing fetched? Not where upstream is `off`.
    pub fn fetches(&self) -> bool {
        !self.upstream.is_off()
    }

    /// The cache directory.
    pub fn cache_dir(&self) -> &Path {
        self.store.cache_dir()
    }

    /// As [`ModelStore::list`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// The work goes on for nobody.
    pub async fn list(&self, model_id: Option<ModelId>) -> Result<Vec<ModelSummary>, ModelError> {
        self.blocking(move |store| store.list(model_id.as_ref())).await
    }

    /// As [`ModelStore::open`]. However many wait for a file, it is hashed once, on one thread.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// A hash that has begun goes on, so that the next who asks has it sooner.
    pub async fn open_cached(&self, name: FileName) -> Result<Arc<OpenModelFile>, ModelError> {
        let name = Arc::new(name);
        for _ in 0..MAX_TRIES {
            let wanted = Arc::clone(&name);
            match self.blocking(move |store| store.open_if_known(&wanted)).await? {
                Opened::Known(file) => return Ok(Arc::new(file)),
                Opened::Unknown { file, key, in_use } => self.hash(file, key, in_use).await,
            }
        }
        // Its bytes cannot be read, or change all the time: what is wrong is the store's to say.
        let _place = self.places.acquire().await;
        self.blocking(move |store| store.open(&name)).await.map(Arc::new)
    }

    /// Waits until somebody has hashed the file, if need be by beginning it.
    async fn hash(&self, file: File, key: FileKey, in_use: Option<InUse>) {
        let mut done = {
            let mut hashing = lock(&self.hashing);
            match hashing.get(&key) {
                Some(done) => done.clone(),
                None => {
                    let (begun, done) = watch::channel(());
                    hashing.insert(key, done.clone());
                    tokio::spawn(self.clone().hash_for_all((file, in_use), key, begun));
                    done
                }
            }
        };
        // The other end is only ever dropped.
        drop(done.changed().await);
    }

    async fn hash_for_all(self, (file, _in_use): (File, Option<InUse>), key: FileKey, _begun: watch::Sender<()>) {
        // The semaphore is never closed.
        let _place = self.places.acquire().await;
        let hashed = self.blocking(move |store| Ok(store.digests.digests(&file))).await;
        if let Err(error) = hashed {
            tracing::error!(%error, "a file was not hashed");
        }
        lock(&self.hashing).remove(&key);
    }

    /// Clears away what killed downloads left and nobody has gone on with for a week.
    ///
    /// # Errors
    ///
    /// [`ModelError`]: the cache cannot be read.
    ///
    /// # Cancel safety
    ///
    /// The work goes on for nobody.
    pub async fn clear_abandoned(&self) -> Result<(), ModelError> {
        self.blocking(ModelStore::clear_abandoned).await
    }

    /// Keeps a model from being cleared away.
    pub(super) async fn mark(&self, model_id: &ModelId) -> Option<InUse> {
        let model_id = model_id.clone();
        self.blocking(move |store| Ok(store.uses.begin(&model_id))).await.ok().flatten()
    }

    /// Disk work, away from the tasks that carry pictures.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ModelStore) -> Result<T, ModelError> + Send + 'static,
    ) -> Result<T, ModelError> {
        let store = Arc::clone(&self.store);
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        done.unwrap_or_else(|error| Err(ModelError::io("work", self.cache_dir())(io::Error::other(error))))
    }
}

impl OpenModelFile {
    /// As [`Self::read_at`], for what may be held at once.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// The read goes on for nobody.
    pub async fn read(self: Arc<Self>, offset: u64, length: usize, pool: Pool) -> Result<Bytes, ModelError> {
        let path = self.resolved.path.clone();
        let done = tokio::task::spawn_blocking(move || self.read_at(offset, length, &pool)).await;
        done.unwrap_or_else(|error| Err(ModelError::io("read the file", path)(io::Error::other(error))))
    }
}

fn lock(hashing: &Hashing) -> MutexGuard<'_, BTreeMap<FileKey, watch::Receiver<()>>> {
    hashing.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::models::{ImportOptions, StoreOptions};

    #[tokio::test(flavor = "multi_thread")]
    async fn whoever_waits_for_a_hash_holds_no_thread() {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::create_dir_all(&source).unwrap();
        fs::write(source.join("large"), vec![1; 20_000_000]).unwrap();
        let options =
            |state: &str| StoreOptions { cache_dir: dir.path().join("hub"), state_dir: dir.path().join(state) };
        let model_id = ModelId::parse("org/name").unwrap();
        ModelStore::new(options("one")).import(&source, &model_id, &ImportOptions::default()).unwrap();

        // With another memory the file is new.
        let models = SharedModels::new(ModelStore::new(options("two")), Upstream::off());
        let name = || FileName::parse("org/name", "large", "").unwrap();
        let waiting: Vec<_> = (0..600)
            .map(|_| {
                let models = models.clone();
                tokio::spawn(async move { models.open(name()).await })
            })
            .collect();
        // Far more than the blocking threads that there are, and still something else is done meanwhile.
        assert_eq!(models.list(None).await.unwrap().len(), 1);
        for (number, waiting) in waiting.into_iter().enumerate() {
            if number % 2 == 0 {
                waiting.abort();
            } else {
                assert!(waiting.await.unwrap().unwrap().resolved.verified);
            }
        }
        assert!(lock(&models.hashing).is_empty());
    }

    #[tokio::test]
    async fn errors_are_the_stores() {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions { cache_dir: dir.path().join("hub"), state_dir: dir.path().join("state") };
        let models = SharedModels::new(ModelStore::new(options), Upstream::off());
        let error = models.open(FileName::parse("org/name", "a", "").unwrap()).await.unwrap_err();
        assert!(matches!(error, ModelError::ModelNotFound { .. }));
    }
}
