//! Making room: what nobody can ask for any more, and then the models that were used longest ago.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::SystemTime,
};

use super::{
    in_use::Unused,
    pins::Pins,
    remove::{Do, Removal, blobs_of},
    shared_blobs,
    stale::{SETTLED_AFTER, is_older, size_of},
};
use crate::models::{
    Commit, ModelError, ModelId, ModelStore, links::Blobs, list::walk, name::is_lower_hex, store::read_ref,
};

/// How to clear away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GcOptions {
    /// Bytes that the models may take; without limit if `None`.
    pub max_bytes: Option<u64>,
    /// Only tell what would go.
    pub dry_run: bool,
}

/// What a clearing did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GcReport {
    /// In the order in which it went.
    pub cleared: Vec<Cleared>,
    /// Models of which something could have gone.
    pub kept: Vec<Kept>,
    /// Models that could not be cleared, or only in part.
    pub failed: Vec<ClearFailure>,
    /// Bytes that went.
    pub freed_bytes: u64,
    /// Bytes of all models that are left.
    pub size_bytes: u64,
}

/// Something that went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleared {
    /// What it was.
    pub kind: ClearedKind,
    /// Of which model, where it was of one.
    pub model_id: Option<ModelId>,
    /// Where it was.
    pub path: PathBuf,
    /// Bytes that nothing links to any more.
    pub size_bytes: u64,
}

/// What can go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClearedKind {
    /// A snapshot without a branch or tag.
    Revision,
    /// A branch or tag without a snapshot.
    Name,
    /// Bytes without a snapshot.
    Blob,
    /// Bytes that several models shared.
    SharedBlob,
    /// A download or import that nobody goes on with.
    Partial,
    /// A whole model, for the limit.
    Model,
}

/// A model that stayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Which one.
    pub model_id: ModelId,
    /// And why.
    pub because: KeptBecause,
}

/// A model that the file system would not let go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClearFailure {
    /// Which one.
    pub model_id: ModelId,
    /// What it said.
    pub problem: String,
}

/// Why a model stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptBecause {
    /// A hub serves or fetches it, or another program downloads into it.
    InUse,
    /// The user said so.
    Pinned,
    /// Its owner keeps it elsewhere, by a link.
    Linked,
}

impl ClearedKind {
    /// A word for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Revision => "revision",
            Self::Name => "name",
            Self::Blob => "blob",
            Self::SharedBlob => "shared_blob",
            Self::Partial => "partial",
            Self::Model => "model",
        }
    }
}

impl KeptBecause {
    /// A word for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InUse => "in_use",
            Self::Pinned => "pinned",
            Self::Linked => "linked",
        }
    }
}

/// One clearing.
struct Clearing<'a> {
    store: &'a ModelStore,
    pins: Pins,
    how: Do,
    report: GcReport,
}

impl ModelStore {
    /// Clears away: revisions without a name, names and bytes without a revision, what was begun and never finished, and
    /// then whole models, the one that was used longest ago first, until the rest is within the limit.
    ///
    /// What is in use and what is pinned stays, also beyond the limit.
    ///
    /// # Errors
    ///
    /// [`ModelError`]: the cache or the pins cannot be read. A model that cannot be cleared does not keep the others.
    pub fn gc(&self, options: GcOptions) -> Result<GcReport, ModelError> {
        let how = if options.dry_run { Do::Count } else { Do::It };
        let mut clearing = Clearing { store: self, pins: self.read_pins()?, how, report: GcReport::default() };
        let size_before = self.size_bytes()?;
        clearing.partials()?;
        let of_no_model = clearing.report.freed_bytes;
        for model_id in self.model_ids()? {
            if let Err(error) = clearing.leftovers(&model_id) {
                clearing.fail(model_id, &error);
            }
        }
        clearing.shared()?;
        let of_models = |clearing: &Clearing<'_>| clearing.report.freed_bytes - of_no_model;
        clearing.report.size_bytes = size_before.saturating_sub(of_models(&clearing));
        if let Some(max_bytes) = options.max_bytes.filter(|max_bytes| clearing.report.size_bytes > *max_bytes) {
            clearing.oldest_models(max_bytes)?;
        }
        Ok(clearing.report)
    }

    /// As [`Self::gc`], if the models take more than the limit.
    pub(in crate::models) fn make_room(&self, max_bytes: u64) -> Result<Option<GcReport>, ModelError> {
        if self.size_bytes()? <= max_bytes {
            return Ok(None);
        }
        self.gc(GcOptions { max_bytes: Some(max_bytes), dry_run: false }).map(Some)
    }

    /// Bytes of all models, those that they share once.
    fn size_bytes(&self) -> Result<u64, ModelError> {
        let models: u64 = self.model_ids()?.iter().map(|id| self.size_of_model(id)).sum();
        let shared: u64 = shared_blobs::files(self.cache_dir()).iter().map(|(_, size)| size).sum();
        Ok(models + shared)
    }

    fn size_of_model(&self, model_id: &ModelId) -> u64 {
        let model_dir = self.model_dir(model_id);
        let is_own = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file());
        let blobs = walk(&model_dir.join("blobs")).into_iter().map(|(_, path)| path);
        blobs.filter(is_own).map(|path| size_of(&path)).sum::<u64>()
            + Blobs::of(&model_dir).other_bytes(&model_dir.join("snapshots"))
    }

    /// When a model was used last; where that was never marked, when its bytes were last written or, as far as the file
    /// system tells, read.
    fn last_used(&self, model_id: &ModelId) -> SystemTime {
        let times = |path: &Path| {
            let metadata = fs::metadata(path).ok()?;
            metadata.modified().ok().max(metadata.accessed().ok())
        };
        let on_disk = || walk(&self.model_dir(model_id).join("blobs")).iter().filter_map(|(_, path)| times(path)).max();
        self.uses.last_used(model_id).or_else(on_disk).unwrap_or(SystemTime::UNIX_EPOCH)
    }
}

impl Clearing<'_> {
    fn note(&mut self, kind: ClearedKind, model_id: Option<&ModelId>, path: PathBuf, size_bytes: u64) {
        self.report.freed_bytes += size_bytes;
        self.report.cleared.push(Cleared { kind, model_id: model_id.cloned(), path, size_bytes });
    }

    fn keep(&mut self, model_id: &ModelId, because: KeptBecause) {
        if self.report.kept.iter().all(|kept| kept.model_id != *model_id) {
            self.report.kept.push(Kept { model_id: model_id.clone(), because });
        }
    }

    fn fail(&mut self, model_id: ModelId, error: &ModelError) {
        self.report.failed.push(ClearFailure { model_id, problem: error.to_string() });
    }

    /// Nobody uses the model, and nobody begins to; `None` if somebody does.
    fn unused(&mut self, model_id: &ModelId) -> Result<Option<Unused>, ModelError> {
        let unused = self.store.uses.unused(model_id)?;
        Ok(unused.filter(|_| !self.store.is_downloaded_into(model_id)))
    }

    fn partials(&mut self) -> Result<(), ModelError> {
        for (path, size) in self.store.clear_partials(self.how)? {
            self.note(ClearedKind::Partial, None, path, size);
        }
        Ok(())
    }

    /// What of a model nobody can ask for any more.
    fn leftovers(&mut self, model_id: &ModelId) -> Result<(), ModelError> {
        let store = self.store;
        // What lies there besides is not known here.
        if store.linked_folder(model_id).is_some() {
            self.keep(model_id, KeptBecause::Linked);
            return Ok(());
        }
        let Some(unused) = self.unused(model_id)? else {
            self.keep(model_id, KeptBecause::InUse);
            return Ok(());
        };
        for (path, size) in store.clear_incomplete(model_id, self.how)? {
            self.note(ClearedKind::Partial, Some(model_id), path, size);
        }
        let model_dir = store.model_dir(model_id);
        let names: Vec<_> = walk(&model_dir.join("refs"))
            .into_iter()
            .filter_map(|(name, path)| Some((name, read_ref(&path).ok().flatten()?, path)))
            .collect();
        let commits = store.commits(model_id);
        let pinned: Vec<_> =
            self.pins.revisions(model_id).filter_map(|revision| store.commit(model_id, revision).ok()).collect();
        let has_name = |commit: &Commit| names.iter().any(|(_, named, _)| named == commit);
        let mut gone = Removal::default();
        let mut counted = 0;
        for commit in commits.iter().filter(|commit| !has_name(commit)) {
            if self.pins.has_all_of(model_id) || pinned.contains(commit) {
                self.keep(model_id, KeptBecause::Pinned);
                continue;
            }
            gone.commits.push(commit.clone());
            // Two that go may share bytes: those are the second one's.
            let before = if self.how == Do::Count { counted } else { 0 };
            counted = match self.how {
                Do::Count => store.clear(model_id, &gone, Do::Count)?,
                Do::It => {
                    let only = Removal { commits: vec![commit.clone()], ..Removal::default() };
                    store.clear(model_id, &only, Do::It)?
                }
            };
            self.note(ClearedKind::Revision, Some(model_id), store.snapshot(model_id, commit), counted - before);
        }
        for (name, commit, path) in &names {
            // huggingface_hub writes a name first, and its snapshot with the first file.
            if commits.contains(commit) || !is_older(path, SETTLED_AFTER) {
                continue;
            }
            if self.how == Do::It {
                store.clear(model_id, &Removal { revisions: vec![name.clone()], ..Removal::default() }, Do::It)?;
            }
            self.note(ClearedKind::Name, Some(model_id), path.clone(), 0);
        }
        self.orphans(model_id)?;
        // What is left of a model that was being removed: folders.
        let is_empty = store.commits(model_id).is_empty()
            && blobs_of(&model_dir).is_empty()
            && walk(&model_dir.join("refs")).is_empty()
            && walk(&model_dir.join("blobs")).is_empty();
        if self.how == Do::It && is_empty && is_older(&model_dir, SETTLED_AFTER) {
            store.clear(model_id, &Removal { is_whole: true, ..Removal::default() }, Do::It)?;
            unused.forget();
        }
        Ok(())
    }

    /// Blobs that no snapshot links to.
    fn orphans(&mut self, model_id: &ModelId) -> Result<(), ModelError> {
        let store = self.store;
        let model_dir = store.model_dir(model_id);
        let names = Blobs::of(&model_dir);
        let linked: BTreeSet<_> =
            store.commits(model_id).iter().flat_map(|commit| names.names(&store.snapshot(model_id, commit))).collect();
        for blob in blobs_of(&model_dir) {
            let path = model_dir.join("blobs").join(&blob);
            // What has another name than bytes have is nobody's here.
            if !(is_lower_hex(&blob, 40) || is_lower_hex(&blob, 64)) {
                continue;
            }
            if linked.contains(&blob) || !is_older(&path, SETTLED_AFTER) {
                continue;
            }
            let size = store.clear_blobs(model_id, BTreeSet::from([blob]), &[], self.how)?;
            if self.how == Do::Count || !path.exists() {
                self.note(ClearedKind::Blob, Some(model_id), path, size);
            }
        }
        Ok(())
    }

    /// Shared bytes whose last link somebody removed without looking at them.
    fn shared(&mut self) -> Result<(), ModelError> {
        let cache_dir = self.store.cache_dir();
        for (payload, size) in shared_blobs::files(cache_dir) {
            if !shared_blobs::is_free(&payload, cache_dir, &BTreeSet::new()) || !is_older(&payload, SETTLED_AFTER) {
                continue;
            }
            let freed = if self.how == Do::It { shared_blobs::sweep(&payload, cache_dir)? } else { size };
            self.note(ClearedKind::SharedBlob, None, payload, freed);
        }
        Ok(())
    }

    /// Whole models, the one that was used longest ago first.
    fn oldest_models(&mut self, max_bytes: u64) -> Result<(), ModelError> {
        let store = self.store;
        let mut models: Vec<_> = store.model_ids()?.into_iter().map(|id| (store.last_used(&id), id)).collect();
        models.sort();
        for (_, model_id) in models {
            if self.report.size_bytes <= max_bytes {
                break;
            }
            if store.linked_folder(&model_id).is_some() {
                self.keep(&model_id, KeptBecause::Linked);
                continue;
            }
            if self.pins.has(&model_id) {
                self.keep(&model_id, KeptBecause::Pinned);
                continue;
            }
            let Some(unused) = self.unused(&model_id)? else {
                self.keep(&model_id, KeptBecause::InUse);
                continue;
            };
            let Ok(names) = store.names(&model_id) else { continue };
            let removal = store.all_of(&model_id, names);
            let counted = store.clear(&model_id, &removal, Do::Count)?;
            // What went of it before, which a dry run has left there.
            let is_its = |cleared: &&Cleared| {
                cleared.model_id.as_ref() == Some(&model_id) && cleared.kind != ClearedKind::Partial
            };
            let before: u64 = self.report.cleared.iter().filter(is_its).map(|cleared| cleared.size_bytes).sum();
            let would_free = if self.how == Do::Count { counted.saturating_sub(before) } else { counted };
            // It only links to what others have, too.
            if would_free == 0 {
                continue;
            }
            let size = match self.how {
                Do::Count => would_free,
                Do::It => match store.clear(&model_id, &removal, Do::It) {
                    Ok(size) => size,
                    Err(error) => {
                        self.fail(model_id, &error);
                        continue;
                    }
                },
            };
            self.note(ClearedKind::Model, Some(&model_id), store.model_dir(&model_id), size);
            self.report.size_bytes = self.report.size_bytes.saturating_sub(size);
            if self.how == Do::It && !store.model_dir(&model_id).exists() {
                unused.forget();
            }
        }
        Ok(())
    }
}
