//! Putting files under their final names: whole, synced, and under the lock that Python uses, too.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use super::{ModelError, care::clear_abandoned, system};
use crate::hex;

/// How long another process may hold the lock of a file before publishing gives up.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// Pause between two tries for a lock.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// huggingface_hub's mode of a lock.
const LOCK_MODE: u32 = 0o664;

/// Marks the directory for backup programs. Source: huggingface_hub, `CACHEDIR_TAG_CONTENT`.
const CACHEDIR_TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55
# This file is a cache directory tag created by huggingface_hub.
# For information about cache directory tags, see:
#\thttps://bford.info/cachedir/
";

/// Makes the cache directory, with its tag.
pub(super) fn make_cache_dir(cache_dir: &Path) -> Result<(), ModelError> {
    fs::create_dir_all(cache_dir).map_err(ModelError::io("make the cache directory", cache_dir))?;
    let tag = cache_dir.join("CACHEDIR.TAG");
    if tag.exists() {
        return Ok(());
    }
    fs::write(&tag, CACHEDIR_TAG).map_err(ModelError::io("mark the cache directory", tag))
}

/// A directory for partial files, on the cache's file system: beside the cache, or in the model's folder.
pub(super) fn partial_dir(cache_dir: &Path, model_dir: &Path) -> Result<PathBuf, ModelError> {
    let directory = find_partial_dir(cache_dir, model_dir)?;
    clear_abandoned(&directory);
    Ok(directory)
}

/// Where partial files are, as a rule.
pub(super) fn partial_dir_beside(cache_dir: &Path) -> Option<PathBuf> {
    cache_dir.parent().map(|parent| parent.join("framehost-partial"))
}

/// Where they are if they cannot be beside the cache: each user has a directory of his own.
pub(super) fn partial_dir_inside(model_dir: &Path) -> PathBuf {
    model_dir.join(system::partial_dir_name())
}

/// Can files of a model be put into the cache? Told before they are fetched, which may take long.
pub(super) fn check_writable(cache_dir: &Path, model_dir: &Path) -> Result<(), ModelError> {
    let locks = cache_dir.join(".locks").join(model_dir.file_name().unwrap_or_default());
    for place in [model_dir.join("blobs"), model_dir.join("snapshots"), model_dir.join("refs"), locks] {
        // What is not there yet is made in what is.
        let Some(there) = place.ancestors().find(|ancestor| ancestor.exists()) else { continue };
        if system::is_read_only(there) {
            return Err(ModelError::ReadOnlyCache { path: there.to_owned() });
        }
    }
    Ok(())
}

fn find_partial_dir(cache_dir: &Path, model_dir: &Path) -> Result<PathBuf, ModelError> {
    let volume = |path: &Path| system::identity(path).map(|identity| identity.volume);
    if let Some(beside) = partial_dir_beside(cache_dir)
        && system::make_private(&beside).is_ok()
        // Whoever could write into it could change a file after it was checked.
        && system::is_private(&beside)
        // The model's folder may be a link to another disk. What is not there yet is made in what is.
        && let Some(kept_in) = model_dir.ancestors().find(|path| path.exists())
        && matches!((volume(&beside), volume(kept_in)), (Ok(one), Ok(other)) if one == other)
    {
        return Ok(beside);
    }
    let inside = partial_dir_inside(model_dir);
    system::make_private(&inside).map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            ModelError::ReadOnlyCache { path: cache_dir.to_owned() }
        }
        _ => ModelError::io("make a directory for partial files", &inside)(error),
    })?;
    Ok(inside)
}

/// A file that is not visible yet, locked as long as somebody writes to it. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Partial {
    path: PathBuf,
    pub(super) file: File,
    published: bool,
}

impl Partial {
    pub(super) fn create(directory: &Path) -> Result<Self, ModelError> {
        loop {
            let partial = Self::create_once(directory)?;
            let action = "lock a partial file";
            system::lock(&partial.file).map_err(ModelError::io(action, &partial.path))?;
            // Somebody who clears away may have been quicker than the lock.
            if !system::is_removed(&partial.file).map_err(ModelError::io(action, &partial.path))? {
                return Ok(partial);
            }
        }
    }

    fn create_once(directory: &Path) -> Result<Self, ModelError> {
        let mut unique = [0; 8];
        let action = "make a partial file";
        getrandom::fill(&mut unique)
            .map_err(|error| ModelError::io(action, directory)(io::Error::other(error.to_string())))?;
        let path = directory.join(format!("{}.incomplete", hex::lower(&unique)));
        let file = system::create_new(&path).map_err(ModelError::io(action, &path))?;
        Ok(Self { path, file, published: false })
    }

    /// Moves the file to its final name, whole and on the disk, whatever was there before.
    pub(super) fn publish(mut self, target: &Path) -> Result<(), ModelError> {
        self.file.sync_all().map_err(ModelError::io("sync a file", &self.path))?;
        system::rename(&self.path, target).map_err(ModelError::io("publish a file", target))?;
        self.published = true;
        sync_parent(target)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.published {
            // It is in the way of nothing; a later clean-up finds it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes a small file whole: `refs`, `trees`.
pub(super) fn publish_bytes(target: &Path, bytes: &[u8], partial_dir: &Path) -> Result<(), ModelError> {
    make_parent(target)?;
    let mut partial = Partial::create(partial_dir)?;
    partial.file.write_all(bytes).map_err(ModelError::io("write a file", target))?;
    partial.publish(target)
}

pub(super) fn make_parent(path: &Path) -> Result<(), ModelError> {
    match path.parent() {
        Some(parent) => fs::create_dir_all(parent).map_err(ModelError::io("make a directory", parent)),
        None => Ok(()),
    }
}

pub(super) fn sync_parent(path: &Path) -> Result<(), ModelError> {
    let Some(parent) = path.parent() else {
        return Ok(());
    };
    system::sync_directory(parent).map_err(ModelError::io("sync a directory", parent))
}

/// The lock around publishing one blob. Its file stays, as Python's does: removing it would let two hold it.
pub(super) fn lock(cache_dir: &Path, model_folder: &str, etag: &str, timeout: Duration) -> Result<File, ModelError> {
    let path = cache_dir.join(".locks").join(model_folder).join(format!("{etag}.lock"));
    make_parent(&path)?;
    let action = "open the lock of a file";
    let is_new = !path.exists();
    let file = system::open_lock(&path, LOCK_MODE).map_err(ModelError::io(action, &path))?;
    // Whatever the umask is, as huggingface_hub: others of the group open the lock for writing, too.
    if is_new && let Err(error) = system::set_mode(&file, LOCK_MODE) {
        tracing::debug!(%error, path = %path.display(), "the lock is not shared with the group");
    }
    let began = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if began.elapsed() < timeout => thread::sleep(LOCK_PAUSE),
            Err(TryLockError::WouldBlock) => return Err(ModelError::Locked { waited_s: timeout.as_secs(), path }),
            Err(TryLockError::Error(error)) => return Err(ModelError::io("lock a file", path)(error)),
        }
    }
}

/// As [`lock`], waiting as long as publishing does.
pub(super) fn lock_for_publishing(cache_dir: &Path, model_folder: &str, etag: &str) -> Result<File, ModelError> {
    lock(cache_dir, model_folder, etag, LOCK_TIMEOUT)
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn partial_files_of_a_cache_that_is_not_there_yet_are_where_they_are_later() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("huggingface/hub");
        let model = cache.join("models--org--name");
        let first = find_partial_dir(&cache, &model).unwrap();
        fs::create_dir_all(&model).unwrap();
        assert_eq!(first, find_partial_dir(&cache, &model).unwrap());
        assert_eq!(Some(first), partial_dir_beside(&cache));
    }

    #[test]
    fn partial_files_are_where_nobody_else_may_write() {
        let dir = tempfile::tempdir().unwrap();
        let (cache, beside) = (dir.path().join("hub"), dir.path().join("framehost-partial"));
        let model = cache.join("models--org--name");
        fs::create_dir_all(&model).unwrap();
        let check = |expected: &Path| assert_eq!(find_partial_dir(&cache, &model).unwrap(), expected);
        check(&beside);
        for (mode, is_own) in [(0o755, true), (0o775, false), (0o702, false), (0o700, true)] {
            fs::set_permissions(&beside, fs::Permissions::from_mode(mode)).unwrap();
            check(if is_own { beside.clone() } else { partial_dir_inside(&model) }.as_path());
        }
        fs::rename(&beside, dir.path().join("moved")).unwrap();
        symlink(dir.path().join("moved"), &beside).unwrap();
        check(&partial_dir_inside(&model));
    }
}
