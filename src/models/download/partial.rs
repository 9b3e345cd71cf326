//! The partial file of a download, which the next one goes on from.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{ModelError, ModelStore, Wanted, partial_dir};
use crate::models::{
    digest::Digests,
    publish::sync_parent,
    system::{self, is_still_there},
};

/// Digits of the number in the file beside it.
const DONE_DIGITS: usize = 20;

/// Where a download's partial file is.
pub(super) struct PartialPlace {
    path: PathBuf,
}

/// A partial file that nobody else writes to.
#[derive(Debug)]
pub(super) struct PartialFile {
    path: PathBuf,
    pub(super) file: Arc<File>,
    done: File,
    /// Of all its bytes, once they are there.
    pub(super) digests: Option<Digests>,
}

impl PartialPlace {
    pub(super) fn of(store: &ModelStore, wanted: &Wanted) -> Result<Self, ModelError> {
        let folder = wanted.model_id.folder_name();
        let directory = partial_dir(store.cache_dir(), &store.model_dir(&wanted.model_id))?;
        Ok(Self { path: directory.join(format!("{folder}.{}.part", wanted.etag)) })
    }

    /// How much is there, and how often it was written: something that changes while somebody writes.
    pub(super) fn bytes_there(&self) -> u64 {
        system::signs_of_writing(&self.path, &done_path(&self.path))
    }

    /// Another process has it and does not go on.
    pub(super) fn held(self, waited: Duration) -> ModelError {
        ModelError::Locked { waited_s: waited.as_secs(), path: self.path }
    }

    /// Removes what has arrived, as it is not needed any more, unless another process has it.
    pub(super) fn clear(&self) {
        if (self.path.exists() || done_path(&self.path).exists())
            && let Ok(Some(part)) = self.take()
        {
            part.remove();
        }
    }

    /// The file, new or with what has arrived before; `None` while another process has it.
    pub(super) fn take(&self) -> Result<Option<PartialFile>, ModelError> {
        let action = "open a partial file";
        let open = |path: &Path| system::open_part(path).map_err(ModelError::io(action, path));
        let file = open(&self.path)?;
        match system::try_lock(&file) {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Ok(None),
            Err(fs::TryLockError::Error(error)) => return Err(ModelError::io(action, &self.path)(error)),
        }
        // Who had the lock before may have published the file: then this is no partial file any more.
        let is_theirs = system::is_somebody_elses(&file).map_err(ModelError::io(action, &self.path))?;
        // One that somebody else has put there stays theirs, and writable for them, under its final name.
        if is_theirs {
            let theirs = io::Error::new(io::ErrorKind::PermissionDenied, "it is another user's, or has other names");
            return Err(ModelError::io(action, &self.path)(theirs));
        }
        if !is_still_there(&self.path, &file) {
            return Ok(None);
        }
        let done = open(&done_path(&self.path))?;
        Ok(Some(PartialFile { path: self.path.clone(), file: Arc::new(file), done, digests: None }))
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        // Whoever reads behind it may keep the file open for long, and the lock with it.
        self.let_go();
    }
}

impl PartialFile {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes from the start that have arrived, at most `size`.
    pub(super) fn done(&self, size: u64) -> u64 {
        let mut text = String::new();
        let read = (&self.done).take(DONE_DIGITS as u64).read_to_string(&mut text);
        let noted = read.ok().and_then(|_| text.parse().ok()).unwrap_or(0);
        // Noted after it was written; still a crash may have taken what was written.
        let there = self.file.metadata().map_or(0, |metadata| metadata.len());
        if noted <= there && noted <= size { noted } else { 0 }
    }

    /// Notes how many bytes from the start have arrived.
    pub(super) fn note_done(&self, done: u64) {
        if let Err(error) = system::write_all_at(&self.done, format!("{done:0DONE_DIGITS$}").as_bytes(), 0) {
            tracing::debug!(%error, "a download could not be resumed from here");
        }
    }

    /// Is there room for the rest?
    pub(super) fn check_space(&self, size: u64, spare: u64) -> Result<(), ModelError> {
        let there = self.file.metadata().map_or(0, |metadata| system::bytes_on_disk(&self.path, &metadata));
        let needed = size.saturating_sub(there);
        // What cannot be asked is found out by writing.
        let Some(free) = system::free_bytes(&self.file, &self.path) else { return Ok(()) };
        if needed == 0 || free >= needed.saturating_add(spare) {
            return Ok(());
        }
        Err(ModelError::NoSpace { needed, free, path: self.path.clone() })
    }

    /// Lets another process have the file, which is whole.
    pub(super) fn let_go(&self) {
        if let Err(error) = system::unlock(&self.file) {
            tracing::debug!(%error, "a partial file stays locked");
        }
    }

    /// Has the file again, unless another process has it or has published it.
    pub(super) fn take_back(&self) -> bool {
        system::try_lock(&self.file).is_ok() && is_still_there(&self.path, &self.file)
    }

    /// Throws away what is there: it is wrong, or not needed.
    pub(super) fn remove(self) {
        let _ = fs::remove_file(done_path(&self.path));
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "a wrong partial file stays behind");
        }
    }

    /// Moves the file to its final name, whole and on the disk, whatever was there before.
    pub(super) fn publish(self, target: &Path) -> Result<(Arc<File>, Digests), ModelError> {
        let unhashed = || ModelError::io("publish a file", target)(io::Error::other("it was not hashed"));
        let digests = self.digests.clone().ok_or_else(unhashed)?;
        self.file.sync_all().map_err(ModelError::io("sync a file", &self.path))?;
        system::rename(&self.path, target).map_err(ModelError::io("publish a file", target))?;
        sync_parent(target)?;
        let _ = fs::remove_file(done_path(&self.path));
        Ok((Arc::clone(&self.file), digests))
    }
}

fn done_path(part: &Path) -> PathBuf {
    part.with_extension("part.done")
}
