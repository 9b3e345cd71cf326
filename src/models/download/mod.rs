//! Files on their way from upstream into the cache, readable while they arrive.
//!
//! Belongs here: one download for each file however many wait, pieces in parallel, resuming, checking, publishing.
//! Does not belong here: what is asked of upstream (`upstream`), which files (`pull`, `served`).
//!
//! ```text
//! <beside the cache>/framehost-partial/<model folder>.<etag>.part        the bytes so far, locked by who writes
//!                                                           .part.done   how many from the start are there
//! ```
//!
//! Invariants:
//! - Nobody gets a file's last byte before all its bytes have been compared with their digest.
//! - Nothing wrong is ever published, and nothing wrong is kept for the next try.
//! - A download without anybody who waits for it ends; what has arrived is kept, and the next one goes on from there.
//!
//! Data path: `upstream` -> `fetch` (pieces in parallel) -> `write` (one thread, another hashes) -> `publish`;
//! [`Reader`] reads behind them.

mod fetch;
mod partial;
mod write;

use std::{
    collections::BTreeMap,
    fs::File,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit, watch};

use self::partial::{PartialFile, PartialPlace};
use super::{
    Commit, FilePath, ModelError, ModelId, ModelStore,
    digest::{Digests, FileKey},
    publish::{lock, lock_for_publishing, make_cache_dir, make_parent, partial_dir},
    system,
    upstream::Upstream,
};
use crate::frame::Pool;

/// How long whoever holds a file's lock is waited for before it is thought to wait for the file's bytes.
const HOLDER_PATIENCE: Duration = Duration::from_secs(2);

/// How long a download goes on without anybody who waits for it: a client that lost its connection comes back.
const ABANDON_AFTER: Duration = Duration::from_secs(10);

/// How often another process that has the same file in work is looked at.
const OTHERS_INTERVAL: Duration = Duration::from_millis(100);

/// How long that process may make no progress.
const OTHERS_PATIENCE: Duration = Duration::from_secs(30);

/// Files that are fetched at the same time; more wait.
const DOWNLOADS_AT_ONCE: usize = 8;

/// Bytes that have to stay free on the disk (64 MiB).
const SPARE_BYTES: u64 = 64 << 20;

/// A file that upstream has.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) model_id: ModelId,
    pub(super) commit: Commit,
    pub(super) file_path: FilePath,
    /// sha256 or git's sha1, in hex.
    pub(super) etag: String,
    pub(super) size_bytes: u64,
}

/// Every download of this process. Cloning shares them.
#[derive(Debug, Clone)]
pub(super) struct Downloads {
    upstream: Arc<Upstream>,
    store: Arc<ModelStore>,
    running: Arc<Mutex<BTreeMap<Key, Download>>>,
    /// For those that fetch: each has connections and threads of its own.
    places: Arc<Semaphore>,
}

/// The model's folder, the etag, and the size: a listing may be wrong about any of them.
type Key = (String, String, u64);

/// One file on its way.
#[derive(Debug)]
struct Download {
    progress: watch::Receiver<Progress>,
    /// Held by everybody who waits for it.
    interest: Arc<()>,
    /// What those who joined want: the same bytes, of other commits maybe. Upstream may have lost the one it began with.
    others: Vec<Wanted>,
}

/// How far a download is.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// Bytes from the start that are there.
    pub(super) ready: u64,
    /// They are all there, and right: what they were found to be.
    checked: Option<Digests>,
    /// The file that they are in.
    file: Option<Arc<File>>,
    /// It is in the cache, or it has failed.
    end: Option<Result<(), Arc<ModelError>>>,
}

/// Reads a file while it arrives, and keeps its download alive.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    progress: watch::Receiver<Progress>,
    size_bytes: u64,
    _interest: Arc<()>,
}

/// Learns of a download's end without keeping it alive.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    progress: watch::Receiver<Progress>,
}

impl Downloads {
    pub(super) fn new(upstream: Arc<Upstream>, store: Arc<ModelStore>) -> Self {
        Self { upstream, store, running: Arc::default(), places: Arc::new(Semaphore::new(DOWNLOADS_AT_ONCE)) }
    }

    /// Joins the download of a file, or begins it.
    pub(super) fn get(&self, wanted: Wanted) -> Reader {
        let size_bytes = wanted.size_bytes;
        let key = (wanted.model_id.folder_name(), wanted.etag.clone(), size_bytes);
        let mut running = self.running();
        if let Some(download) = running.get_mut(&key) {
            if !download.others.iter().any(|other| is_same(other, &wanted)) {
                download.others.push(wanted);
            }
            return download.reader(size_bytes);
        }
        let (sender, progress) = watch::channel(Progress::default());
        let download = Download { progress, interest: Arc::new(()), others: Vec::new() };
        let (reader, interest) = (download.reader(size_bytes), Arc::downgrade(&download.interest));
        running.insert(key.clone(), download);
        tokio::spawn(self.clone().run(key, wanted, sender, interest));
        reader
    }

    async fn run(self, key: Key, mut wanted: Wanted, progress: watch::Sender<Progress>, interest: std::sync::Weak<()>) {
        let progress = Arc::new(progress);
        let (store, model_id) = (Arc::clone(&self.store), wanted.model_id.clone());
        // What has arrived and has no name yet would look like nobody's.
        let _in_use = blocking(move || Ok(store.uses.begin(&model_id))).await;
        let fetched = loop {
            match self.fetch_while_wanted(&key, &wanted, &progress, &interest).await {
                Err(ModelError::Upstream(error)) => match self.other_or_end(&key, &wanted) {
                    Some(other) => wanted = other,
                    None => break Err(error.into()),
                },
                fetched => break fetched,
            }
        };
        // Then the table has no entry of it any more: one that is there is of whoever has begun anew.
        let is_gone = matches!(fetched, Err(ModelError::Abandoned { .. } | ModelError::Upstream(_)));
        // Whoever comes from here on finds it in the cache, or tries anew.
        let finished = match fetched {
            Ok(part) => self.publish(&wanted, part).await,
            Err(error) => Err(error),
        };
        if !is_gone {
            self.running().remove(&key);
        }
        if let Err(error) = &finished {
            tracing::warn!(%error, model_id = key.0, file_path = wanted.file_path.as_str(), "a file was not fetched");
        }
        progress.send_modify(|progress| progress.end = Some(finished.map_err(Arc::new)));
    }

    /// Where else the same bytes are wanted from: a download that has failed goes on from there with what has arrived.
    /// Where there is none it leaves the table in the same moment, so that nobody joins what has failed.
    fn other_or_end(&self, key: &Key, tried: &Wanted) -> Option<Wanted> {
        let mut running = self.running();
        let others = &mut running.get_mut(key)?.others;
        others.retain(|other| !is_same(other, tried));
        let other = others.pop();
        if other.is_none() {
            running.remove(key);
        }
        other
    }

    /// Fetches and checks a file, as long as anybody waits for it; as [`Downloads::fetch`].
    async fn fetch_while_wanted(
        &self,
        key: &Key,
        wanted: &Wanted,
        progress: &Arc<watch::Sender<Progress>>,
        interest: &std::sync::Weak<()>,
    ) -> Result<Option<PartialFile>, ModelError> {
        let fetch = self.fetch(wanted, progress);
        tokio::pin!(fetch);
        loop {
            tokio::select! {
                fetched = &mut fetch => return fetched,
                () = abandoned(interest) => {}
            }
            // Whoever comes now finds it gone, and begins anew; who has come in this moment keeps it.
            let mut running = self.running();
            if interest.strong_count() <= 1 {
                running.remove(key);
                return Err(ModelError::Abandoned { file_path: wanted.file_path.as_str().to_owned() });
            }
        }
    }

    /// Fetches and checks a file; `None` if somebody else has put it into the cache meanwhile.
    async fn fetch(
        &self,
        wanted: &Wanted,
        progress: &Arc<watch::Sender<Progress>>,
    ) -> Result<Option<PartialFile>, ModelError> {
        let Some((part, _place)) = self.part(wanted, progress).await? else {
            return Ok(None);
        };
        let part = fetch::fetch(&self.upstream, wanted, part, progress).await?;
        progress.send_modify(|progress| progress.checked.clone_from(&part.digests));
        Ok(Some(part))
    }

    /// The partial file, once no other process writes to it, and a place to fetch it in; `None` if that has finished.
    async fn part(
        &self,
        wanted: &Wanted,
        progress: &Arc<watch::Sender<Progress>>,
    ) -> Result<Option<(PartialFile, Option<SemaphorePermit<'_>>)>, ModelError> {
        let mut seen = (0, Instant::now());
        loop {
            // The semaphore is never closed.
            let permit = self.places.acquire().await.ok();
            let (looked_for, by) = (wanted.clone(), Arc::clone(&self.store));
            let taken = blocking(move || {
                let whole = || by.whole_file(&looked_for);
                if let Some((blob, digests)) = whole() {
                    // Another program may have brought it.
                    if let Ok(place) = PartialPlace::of(&by, &looked_for) {
                        place.clear();
                    }
                    return Ok(Taken::Whole(blob, digests));
                }
                let place = PartialPlace::of(&by, &looked_for)?;
                let Some(part) = place.take()? else {
                    return Ok(Taken::Others(place));
                };
                // Again, now that nobody else can be at it.
                Ok(match whole() {
                    Some((blob, digests)) => {
                        part.remove();
                        Taken::Whole(blob, digests)
                    }
                    None => Taken::Partial(part),
                })
            });
            match taken.await? {
                Taken::Partial(part) => {
                    part.check_space(wanted.size_bytes, SPARE_BYTES)?;
                    progress.send_modify(|progress| {
                        progress.file = Some(Arc::clone(&part.file));
                    });
                    return Ok(Some((part, permit)));
                }
                Taken::Whole(blob, digests) => {
                    progress.send_modify(|progress| {
                        progress.file = Some(Arc::new(blob));
                        progress.ready = wanted.size_bytes;
                        progress.checked = Some(digests);
                    });
                    return Ok(None);
                }
                Taken::Others(place) => {
                    let there = place.bytes_there();
                    if there != seen.0 {
                        seen = (there, Instant::now());
                    } else if seen.1.elapsed() > OTHERS_PATIENCE {
                        return Err(place.held(OTHERS_PATIENCE));
                    }
                    // Whoever waits for another process holds up nobody who could fetch.
                    drop(permit);
                    tokio::time::sleep(OTHERS_INTERVAL).await;
                }
            }
        }
    }

    /// Moves a checked file to its final name.
    async fn publish(&self, wanted: &Wanted, part: Option<PartialFile>) -> Result<(), ModelError> {
        let Some(part) = part else { return Ok(()) };
        let (wanted, store) = (wanted.clone(), Arc::clone(&self.store));
        blocking(move || {
            make_cache_dir(store.cache_dir())?;
            let model_dir = store.model_dir(&wanted.model_id);
            // At once with its folder of snapshots: Python warns of a model without one.
            make_parent(&model_dir.join("snapshots").join("any"))?;
            let blob = model_dir.join("blobs").join(&wanted.etag);
            make_parent(&blob)?;
            let folder = wanted.model_id.folder_name();
            // A Python process that fetches this very file from us holds the lock until it has it.
            let _lock = match lock(store.cache_dir(), &folder, &wanted.etag, HOLDER_PATIENCE) {
                // Or it fetches it from another hub, which waits for this part: that may have it now.
                Err(error) if error.is_locked() => {
                    part.let_go();
                    let lock = lock_for_publishing(store.cache_dir(), &folder, &wanted.etag)?;
                    let is_there = store.whole_file(&wanted).is_some();
                    match (is_there, part.take_back()) {
                        (true, true) => {
                            part.remove();
                            return Ok(());
                        }
                        (true, false) => return Ok(()),
                        (false, true) => lock,
                        (false, false) => return Err(error),
                    }
                }
                taken => taken?,
            };
            let (file, digests) = part.publish(&blob)?;
            let key = FileKey::of(&file).map_err(ModelError::io("look at a published file", &blob))?;
            store.digests.remember(key, digests);
            Ok(())
        })
        .await
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<Key, Download>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ModelStore {
    /// The bytes of a file, if they are here: its blob or, where huggingface_hub could not make links, the snapshot's own.
    fn whole_file(&self, wanted: &Wanted) -> Option<(File, Digests)> {
        let Wanted { model_id, commit, file_path, etag, size_bytes } = wanted;
        let in_snapshot = || {
            let path = self.snapshot(model_id, commit).join(file_path.relative_path());
            let has_size = std::fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.len() == *size_bytes);
            has_size.then(|| self.whole_copy(&path, etag)).flatten()
        };
        self.whole_blob(model_id, etag, *size_bytes).or_else(in_snapshot)
    }
}

/// Are both the same file of the same commit?
fn is_same(one: &Wanted, other: &Wanted) -> bool {
    (&one.commit, &one.file_path) == (&other.commit, &other.file_path)
}

enum Taken {
    Partial(PartialFile),
    Whole(File, Digests),
    /// Another process writes to it.
    Others(PartialPlace),
}

/// Waits until nobody has waited for a while.
async fn abandoned(interest: &std::sync::Weak<()>) {
    // One is the table's own.
    let is_wanted = || interest.strong_count() > 1;
    let mut quiet = 0;
    let steps = 10;
    while quiet < steps {
        tokio::time::sleep(ABANDON_AFTER / steps).await;
        quiet = if is_wanted() { 0 } else { quiet + 1 };
    }
}

impl Download {
    fn reader(&self, size_bytes: u64) -> Reader {
        Reader { progress: self.progress.clone(), size_bytes, _interest: Arc::clone(&self.interest) }
    }
}

impl Reader {
    /// From 1 to `length` bytes from `offset` on, as soon as some are there.
    ///
    /// `offset`: less than the file's size.
    pub(super) async fn read(&mut self, offset: u64, length: usize, pool: Pool) -> Result<Bytes, ModelError> {
        let size_bytes = self.size_bytes;
        // Until all is compared, the last byte is held back.
        let limit = |progress: &Progress| {
            if progress.checked.is_some() { size_bytes } else { progress.ready.min(size_bytes.saturating_sub(1)) }
        };
        let is_news =
            |progress: &Progress| limit(progress) > offset || (progress.end.is_some() && progress.checked.is_none());
        let progress = self.progress.wait_for(is_news).await.map_err(|_| ended())?.clone();
        let Some(file) = progress.file.clone().filter(|_| limit(&progress) > offset) else {
            return Err(failure(&progress));
        };
        // What fails in the meantime fails at the next read at the latest: the last byte is held back.
        let available = usize::try_from(limit(&progress) - offset).unwrap_or(usize::MAX);
        blocking(move || {
            let mut bytes = pool.take(length.min(available));
            system::read_exact_at(&file, &mut bytes, offset)
                .map_err(ModelError::io("read a partial file", "framehost-partial"))?;
            Ok(bytes.freeze())
        })
        .await
    }

    /// Waits until there is a file that the bytes go to, or the download has failed.
    pub(super) async fn begun(&mut self) -> Result<(), ModelError> {
        let has_begun = |progress: &Progress| progress.file.is_some() || progress.end.is_some();
        let progress = self.progress.wait_for(has_begun).await.map_err(|_| ended())?;
        if progress.file.is_some() { Ok(()) } else { Err(failure(&progress)) }
    }

    /// Are all bytes there, and right?
    pub(super) fn is_checked(&self) -> bool {
        self.progress.borrow().checked.is_some()
    }

    /// Bytes that have arrived.
    pub(super) fn ready(&self) -> u64 {
        self.progress.borrow().ready
    }

    /// Waits for more bytes, or the end.
    pub(super) async fn changed(&mut self) {
        // An error is the end, which `ended` tells.
        let _ = self.progress.changed().await;
    }

    /// Learns of the end only.
    pub(super) fn ending(&self) -> Ending {
        Ending { progress: self.progress.clone() }
    }
}

impl Ending {
    /// Waits until all bytes are there and have been compared, whether or not they are in the cache yet.
    pub(super) async fn checked(&mut self) -> Result<Digests, ModelError> {
        let is_over = |progress: &Progress| progress.checked.is_some() || progress.end.is_some();
        let progress = self.progress.wait_for(is_over).await.map_err(|_| ended())?;
        progress.checked.clone().ok_or_else(|| failure(&progress))
    }

    /// Waits until the file is in the cache.
    pub(super) async fn published(&mut self) -> Result<(), ModelError> {
        let ended_progress = self.progress.wait_for(|progress| progress.end.is_some()).await.map_err(|_| ended())?;
        match &ended_progress.end {
            Some(Err(error)) => Err(ModelError::Shared(Arc::clone(error))),
            Some(Ok(())) | None => Ok(()),
        }
    }
}

fn failure(progress: &Progress) -> ModelError {
    match &progress.end {
        Some(Err(error)) => ModelError::Shared(Arc::clone(error)),
        Some(Ok(())) | None => ended(),
    }
}

/// The hub is ending, and its tasks with it.
fn ended() -> ModelError {
    ModelError::Abandoned { file_path: String::new() }
}

/// Disk work, away from the tasks that carry pictures.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ModelError> + Send + 'static,
) -> Result<T, ModelError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(ModelError::io("work", "framehost-partial")(std::io::Error::other(error))))
}
