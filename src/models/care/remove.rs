//! Removing revisions: snapshots, then names, then the bytes that nothing else links to.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    super::{
        links::Blobs,
        publish::{lock, make_parent, partial_dir, sync_parent},
        store::read_ref,
        system,
    },
    pins::Pins,
    shared_blobs,
};
use crate::{
    hex,
    models::{Commit, ModelError, ModelId, ModelStore, Revision},
};

/// Locks of blobs that are held at once.
const LOCKS_AT_ONCE: usize = 64;

/// What a removal did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemoveReport {
    /// Snapshots that are gone.
    pub commits: Vec<Commit>,
    /// Branches and tags that are gone.
    pub revisions: Vec<String>,
    /// Bytes that nothing in the cache links to any more.
    pub freed_bytes: u64,
}

/// What is to go of one model.
#[derive(Debug, Default)]
pub(super) struct Removal {
    pub(super) commits: Vec<Commit>,
    /// Below `refs`.
    pub(super) revisions: Vec<String>,
    /// All of it: what no snapshot links to as well.
    pub(super) is_whole: bool,
}

impl ModelStore {
    /// Removes a model, or what one revision of it stands for.
    ///
    /// A branch or tag goes alone where another one stands for the same commit. Bytes that other revisions, or other
    /// models, link to stay.
    ///
    /// # Errors
    ///
    /// [`ModelError`]: not in the cache, in use ([`ModelError::InUse`]), pinned ([`ModelError::Pinned`]), or the file
    /// system refuses.
    pub fn remove(&self, model_id: &ModelId, revision: Option<&Revision>) -> Result<RemoveReport, ModelError> {
        let names = self.names(model_id)?;
        // Elsewhere, other things may lie in the same folder, or other models link to it: only its owner can tell.
        if let Some(path) = self.linked_folder(model_id) {
            return Err(ModelError::KeptElsewhere { path });
        }
        let removal = match revision {
            None => self.all_of(model_id, names),
            Some(revision) => self.one_of(model_id, revision, &names)?,
        };
        self.check_pins(&self.read_pins()?, model_id, &removal)?;
        let in_use = || ModelError::InUse { model_id: model_id.as_str().to_owned() };
        let unused = self.uses.unused(model_id)?.ok_or_else(in_use)?;
        if self.is_downloaded_into(model_id) {
            return Err(in_use());
        }
        let freed_bytes = self.clear(model_id, &removal, Do::It)?;
        if !self.model_dir(model_id).exists() {
            unused.forget();
        }
        Ok(RemoveReport { commits: removal.commits, revisions: removal.revisions, freed_bytes })
    }

    /// Everything of a model.
    pub(super) fn all_of(&self, model_id: &ModelId, names: Vec<(String, String)>) -> Removal {
        let revisions = names.into_iter().map(|(name, _)| name).collect();
        Removal { commits: self.commits(model_id), revisions, is_whole: true }
    }

    /// A commit and its names, or a name and what only that stands for.
    fn one_of(
        &self,
        model_id: &ModelId,
        revision: &Revision,
        names: &[(String, String)],
    ) -> Result<Removal, ModelError> {
        let commit = self.commit(model_id, revision)?;
        let named: Vec<_> = names.iter().filter(|(_, named)| named == commit.as_str()).map(|(name, _)| name).collect();
        let is_commit = Commit::parse(revision.as_str()).is_some();
        if !is_commit && named.iter().any(|name| *name != revision.as_str()) {
            let revisions = vec![revision.as_str().to_owned()];
            return Ok(Removal { commits: Vec::new(), revisions, is_whole: false });
        }
        let is_whole = self.commits(model_id).iter().all(|present| *present == commit);
        let revisions = named.into_iter().cloned().collect();
        Ok(Removal { commits: vec![commit], revisions, is_whole })
    }

    fn check_pins(&self, pins: &Pins, model_id: &ModelId, removal: &Removal) -> Result<(), ModelError> {
        let is_kept = |revision: &Revision| {
            let is_named = removal.revisions.iter().any(|name| name == revision.as_str());
            is_named || self.commit(model_id, revision).is_ok_and(|commit| removal.commits.contains(&commit))
        };
        let is_pinned = pins.has_all_of(model_id) || pins.revisions(model_id).any(is_kept);
        if is_pinned { Err(ModelError::Pinned { model_id: model_id.as_str().to_owned() }) } else { Ok(()) }
    }

    /// The snapshots of a model.
    pub(super) fn commits(&self, model_id: &ModelId) -> Vec<Commit> {
        let entries = fs::read_dir(self.model_dir(model_id).join("snapshots")).into_iter().flatten();
        entries.filter_map(|entry| Commit::parse(entry.ok()?.file_name().to_str()?)).collect()
    }

    /// Does another program, huggingface_hub most likely, hold one of the model's locks?
    pub(super) fn is_downloaded_into(&self, model_id: &ModelId) -> bool {
        let locks = self.cache_dir().join(".locks").join(model_id.folder_name());
        let is_held = |path: PathBuf| {
            let file = super::super::system::open_file(&path);
            file.is_ok_and(|file| matches!(file.try_lock(), Err(fs::TryLockError::WouldBlock)))
        };
        fs::read_dir(locks).into_iter().flatten().filter_map(Result::ok).any(|entry| is_held(entry.path()))
    }

    /// Removes, or counts, and answers with the bytes that it frees. The model is not in use.
    pub(super) fn clear(&self, model_id: &ModelId, removal: &Removal, how: Do) -> Result<u64, ModelError> {
        let model_dir = self.model_dir(model_id);
        let linked = Blobs::of(&model_dir);
        let blobs: BTreeSet<String> = if removal.is_whole {
            blobs_of(&model_dir)
        } else {
            removal.commits.iter().flat_map(|commit| linked.names(&self.snapshot(model_id, commit))).collect()
        };
        // Of snapshots with files of their own, as where links cannot be made.
        let mut freed: u64 =
            removal.commits.iter().map(|commit| linked.other_bytes(&self.snapshot(model_id, commit))).sum();
        if how == Do::It {
            for commit in &removal.commits {
                self.remove_snapshot(&model_dir, commit)?;
            }
            for revision in &removal.revisions {
                self.remove_name(&model_dir, revision, &removal.commits)?;
            }
            for commit in &removal.commits {
                remove_if_there(&model_dir.join("trees").join(format!("{}.json", commit.as_str())))?;
                remove_tree(&model_dir.join(".no_exist").join(commit.as_str()))?;
            }
        }
        freed += self.clear_blobs(model_id, blobs, &removal.commits, how)?;
        // Nothing but folders is left, unless somebody downloads again: then theirs are not empty.
        if how == Do::It && removal.is_whole && blobs_of(&model_dir).is_empty() && self.commits(model_id).is_empty() {
            match remove_tree(&model_dir) {
                Err(ModelError::Io { source, .. }) if source.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                removed => removed?,
            }
        }
        Ok(freed)
    }

    /// Removes the blobs that no snapshot but `gone` links to, and says how many bytes that freed.
    pub(super) fn clear_blobs(
        &self,
        model_id: &ModelId,
        blobs: BTreeSet<String>,
        gone: &[Commit],
        how: Do,
    ) -> Result<u64, ModelError> {
        let (model_dir, folder) = (self.model_dir(model_id), model_id.folder_name());
        let mut freed = 0;
        let mut shared = BTreeSet::new();
        let mut going = BTreeSet::new();
        let mut left = blobs.into_iter().peekable();
        while left.peek().is_some() {
            let some: Vec<_> = left.by_ref().take(LOCKS_AT_ONCE).collect();
            // Whoever puts a link to a blob there holds its lock; what is being put there now stays.
            let held: Vec<_> = match how {
                Do::It => some.into_iter().filter_map(|blob| self.lock_blob(&folder, blob)).collect(),
                Do::Count => some.into_iter().map(|blob| (blob, None)).collect(),
            };
            let others = self.commits(model_id).into_iter().filter(|commit| !gone.contains(commit));
            let names = Blobs::of(&model_dir);
            let linked: BTreeSet<_> =
                others.flat_map(|commit| names.names(&self.snapshot(model_id, &commit))).collect();
            for (blob, _lock) in held.iter().filter(|(blob, _)| !linked.contains(blob)) {
                let path = model_dir.join("blobs").join(blob);
                let target =
                    shared_blobs::target(&path, self.cache_dir()).map_err(ModelError::io("look at a blob", &path))?;
                let size = fs::symlink_metadata(&path).map_or(0, |metadata| metadata.len());
                if how == Do::It {
                    remove_if_there(&path)?;
                }
                match target {
                    Some(target) => drop(shared.insert(target)),
                    None => freed += size,
                }
                going.insert(path);
            }
        }
        for payload in shared {
            freed += match how {
                Do::It => shared_blobs::sweep(&payload, self.cache_dir())?,
                Do::Count if shared_blobs::is_free(&payload, self.cache_dir(), &going) => {
                    fs::metadata(&payload).map_or(0, |metadata| metadata.len())
                }
                Do::Count => 0,
            };
        }
        Ok(freed)
    }

    fn lock_blob(&self, folder: &str, blob: String) -> Option<(String, Option<fs::File>)> {
        // What is no plain etag, as a partial file, has no lock of its own.
        let etag = blob.split('.').next().unwrap_or(&blob);
        match lock(self.cache_dir(), folder, etag, Duration::ZERO) {
            Ok(file) => Some((blob, Some(file))),
            Err(error) => {
                tracing::debug!(%error, "a blob stays: somebody is at it");
                None
            }
        }
    }

    /// All at once: half a snapshot would look like a whole one.
    fn remove_snapshot(&self, model_dir: &Path, commit: &Commit) -> Result<(), ModelError> {
        let snapshot = model_dir.join("snapshots").join(commit.as_str());
        let action = "take a snapshot away";
        let mut unique = [0; 8];
        getrandom::fill(&mut unique)
            .map_err(|error| ModelError::io(action, &snapshot)(io::Error::other(error.to_string())))?;
        let aside = partial_dir(self.cache_dir(), model_dir)?.join(format!("{}.removed", hex::lower(&unique)));
        make_parent(&aside)?;
        match system::rename(&snapshot, &aside) {
            Ok(()) => sync_parent(&snapshot)?,
            // Somebody else was quicker.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(ModelError::io(action, snapshot)(error)),
        }
        remove_tree(&aside)
    }

    /// Unless it has come to stand for something else meanwhile.
    fn remove_name(&self, model_dir: &Path, revision: &str, commits: &[Commit]) -> Result<(), ModelError> {
        let refs = model_dir.join("refs");
        let path = refs.join(revision);
        let has_moved = |commit: Commit| !commits.contains(&commit) && is_snapshot(model_dir, &commit);
        if !commits.is_empty() && read_ref(&path)?.is_some_and(has_moved) {
            return Ok(());
        }
        remove_if_there(&path)?;
        // `refs/pr/1` has folders of its own.
        for folder in path.ancestors().skip(1).take_while(|folder| *folder != refs) {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// Is it done, or only counted?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Do {
    It,
    Count,
}

fn is_snapshot(model_dir: &Path, commit: &Commit) -> bool {
    model_dir.join("snapshots").join(commit.as_str()).is_dir()
}

/// The names of a model's blobs, partial ones left out: their writers remove them.
pub(super) fn blobs_of(model_dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(model_dir.join("blobs")).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.filter(|name| !name.ends_with(".incomplete")).collect()
}

pub(super) fn remove_if_there(path: &Path) -> Result<(), ModelError> {
    match system::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ModelError::io("remove a file", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

pub(super) fn remove_tree(path: &Path) -> Result<(), ModelError> {
    match system::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ModelError::io("remove a folder", path)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
