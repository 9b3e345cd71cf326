//! Marks of use: which models a hub has in its hands at this moment, and when each was used last.

use std::{
    collections::BTreeMap,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak},
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    super::{publish::make_parent, system},
    state_of_cache,
};
use crate::models::{ModelError, ModelId};

/// How often the time of a model's last use is written.
const TOUCH_INTERVAL: Duration = Duration::from_secs(60);

/// How long whoever wants to use a model waits for a clearing of that model to end.
const CLEARING_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause between two tries for a mark.
const PAUSE: Duration = Duration::from_millis(20);

/// Marks that are looked through for those that nobody holds any more.
const MANY_MARKS: usize = 256;

/// The marks of one cache. Cloning shares those that this process holds.
#[derive(Debug, Clone)]
pub(in crate::models) struct Uses {
    state_dir: Arc<Path>,
    cache_dir: Arc<Path>,
    directory: Arc<OnceLock<PathBuf>>,
    held: Arc<Mutex<BTreeMap<ModelId, Weak<Held>>>>,
}

/// Keeps a model from being cleared away until the last clone is dropped.
#[derive(Debug, Clone)]
pub struct InUse {
    _held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    file: File,
}

/// Nobody uses the model, and nobody begins to until this is dropped.
#[derive(Debug)]
pub(super) struct Unused {
    _file: File,
    path: PathBuf,
}

impl Uses {
    pub(in crate::models) fn new(state_dir: &Path, cache_dir: &Path) -> Self {
        let (state_dir, cache_dir) = (state_dir.into(), cache_dir.into());
        Self { state_dir, cache_dir, directory: Arc::default(), held: Arc::default() }
    }

    fn path(&self, model_id: &ModelId) -> PathBuf {
        let directory = self.directory.get_or_init(|| state_of_cache(&self.state_dir, &self.cache_dir).join("used"));
        directory.join(model_id.folder_name())
    }

    /// Marks a model as being used. `None` if it cannot be marked: it is served all the same.
    pub(in crate::models) fn begin(&self, model_id: &ModelId) -> Option<InUse> {
        let present = self.held().get(model_id).and_then(Weak::upgrade);
        if let Some(held) = present {
            held.touch();
            return Some(InUse { _held: held });
        }
        let path = self.path(model_id);
        let began = Instant::now();
        // Not under the lock: others use other models meanwhile. Two marks of one model are as good as one.
        let file = loop {
            let taken = open(&path).and_then(|file| match file.try_lock_shared() {
                // Who has cleared the model away may have removed its mark.
                Ok(()) => Ok(is_at(&file, &path)?.then_some(file)),
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(error)) => Err(error),
            });
            match taken {
                Ok(Some(file)) => break file,
                Ok(None) if began.elapsed() < CLEARING_TIMEOUT => thread::sleep(PAUSE),
                Ok(None) => {
                    tracing::warn!(path = %path.display(), "a model is used while somebody clears it away");
                    return None;
                }
                Err(error) => {
                    tracing::debug!(%error, path = %path.display(), "a model is used without a mark");
                    return None;
                }
            }
        };
        let held = Arc::new(Held { file });
        held.touch();
        let mut table = self.held();
        if table.len() >= MANY_MARKS {
            table.retain(|_, held| held.strong_count() > 0);
        }
        table.insert(model_id.clone(), Arc::downgrade(&held));
        Some(InUse { _held: held })
    }

    /// Makes sure that nobody uses a model; `None` if somebody does.
    pub(super) fn unused(&self, model_id: &ModelId) -> Result<Option<Unused>, ModelError> {
        let path = self.path(model_id);
        let action = "open the mark of a model";
        loop {
            let file = open(&path).map_err(ModelError::io(action, &path))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(ModelError::io(action, path)(error)),
            }
            if is_at(&file, &path).map_err(ModelError::io(action, &path))? {
                return Ok(Some(Unused { _file: file, path }));
            }
        }
    }

    /// When a model was used last, as far as it has been marked.
    pub(super) fn last_used(&self, model_id: &ModelId) -> Option<SystemTime> {
        fs::metadata(self.path(model_id)).and_then(|metadata| metadata.modified()).ok()
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<ModelId, Weak<Held>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Is an open file still the one at `path`? Wine does not say of one that it goes with its last handle, and opens it no more.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    if system::is_removed(file)? {
        return Ok(false);
    }
    match File::open(path) {
        Ok(_) => Ok(true),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(false),
        Err(error) => Err(error),
    }
}

impl Unused {
    /// Forgets when the model was used: it is gone.
    pub(super) fn forget(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, "the mark of a model that is gone stays behind");
        }
    }
}

impl Held {
    /// Notes the time, unless that was done a moment ago.
    fn touch(&self) {
        let noted = self.file.metadata().and_then(|metadata| metadata.modified());
        let is_fresh = noted.is_ok_and(|noted| noted.elapsed().is_ok_and(|age| age < TOUCH_INTERVAL));
        // A new file is fresh, too: it has been made for this use.
        if !is_fresh && let Err(error) = self.file.set_modified(SystemTime::now()) {
            tracing::debug!(%error, "the last use of a model is not noted");
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.touch();
    }
}

fn open(path: &Path) -> io::Result<File> {
    let open = || system::open_mark(path);
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make_parent(path).map_err(io::Error::other)?;
            open()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_in_use_is_not_unused_and_both_end_with_their_marks() {
        let dir = tempfile::tempdir().unwrap();
        let uses = || Uses::new(&dir.path().join("state"), &dir.path().join("hub"));
        let (one, other) = (ModelId::parse("org/one").unwrap(), ModelId::parse("org/other").unwrap());
        let (mine, others) = (uses(), uses());
        let mark = mine.begin(&one).unwrap();
        let again = mine.begin(&one).unwrap();
        drop(mark);
        assert!(others.unused(&one).unwrap().is_none());
        assert!(others.unused(&other).unwrap().is_some());
        drop(again);
        let unused = others.unused(&one).unwrap().unwrap();
        let waiting = thread::spawn(move || mine.begin(&one).is_some());
        unused.forget();
        assert!(waiting.join().unwrap(), "who waited has a mark that others see");
        assert!(others.last_used(&ModelId::parse("org/one").unwrap()).is_some());
    }

    #[test]
    fn the_last_use_is_noted_once_a_minute() {
        let dir = tempfile::tempdir().unwrap();
        let uses = Uses::new(dir.path(), &dir.path().join("hub"));
        let model_id = ModelId::parse("name").unwrap();
        drop(uses.begin(&model_id));
        let noted = |ago: u64| {
            let then = SystemTime::now() - Duration::from_secs(ago);
            open(&uses.path(&model_id)).unwrap().set_modified(then).unwrap();
            drop(uses.begin(&model_id));
            uses.last_used(&model_id).unwrap() != then
        };
        assert!(!noted(30));
        assert!(noted(3600));
    }
}
