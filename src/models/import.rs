//! Taking a directory into the cache, as if it had been downloaded.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::Path,
};

use sha1::{Digest as _, Sha1};

use super::{
    Commit, ModelError, ModelId, ModelStore, Revision,
    digest::{FileKey, Hasher},
    publish::{Partial, lock_for_publishing, make_cache_dir, make_parent, partial_dir, publish_bytes},
    sources::{Found, LeftOut, Source, commit_of, find_sources, tree_of},
    store::read_ref,
    system::{free_bytes_in, open_file},
};
use crate::hex;

/// Bytes copied at once.
const COPY_BYTES: usize = 1 << 20;

/// How to import.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// The name that the import gets; `main` unless set.
    pub revision: Revision,
    /// Move a name that stands for something else.
    pub force: bool,
}

/// What an import did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportReport {
    /// Derived from the content: the same files give the same commit.
    pub commit: Commit,
    /// Files of the model.
    pub files: usize,
    /// Their bytes.
    pub size_bytes: u64,
    /// Files whose bytes the cache had already.
    pub already_there: usize,
    /// What is in the directory and not in the import: links that lead nowhere, or neither into the directory nor into
    /// the cache, and files whose names not every system can have.
    pub left_out: Vec<LeftOut>,
}

impl ModelStore {
    /// Takes the files below `directory` into the cache as one revision of `model_id`.
    ///
    /// Passed over: `.git`, `.cache`, `.DS_Store`, `*.incomplete` and the cache itself; what else is not taken is told
    /// ([`ImportReport::left_out`]). Blobs come first and the name last, so that whatever interrupts the import leaves a
    /// cache that everybody can read.
    ///
    /// # Errors
    ///
    /// [`ModelError`]. What is wrong with `directory`, and a [`ModelError::RefConflict`] with a name that was there
    /// before, is found before anything is written; if another import takes the name meanwhile, the commit stays
    /// without one.
    pub fn import(
        &self,
        directory: &Path,
        model_id: &ModelId,
        options: &ImportOptions,
    ) -> Result<ImportReport, ModelError> {
        let revision = options.revision.as_str();
        if Commit::parse(revision).is_some() {
            let problem = "a branch or a tag: a commit is derived from the files";
            return Err(ModelError::Name { field: "revision", value: revision.to_owned(), problem });
        }
        let Found { sources, left_out } = find_sources(directory, Some(self.cache_dir()), &self.digests)?;
        let commit = commit_of(&sources)?;
        let model_dir = self.model_dir(model_id);
        let reference = model_dir.join("refs").join(options.revision.relative_path());
        let check_reference = || match read_ref(&reference)? {
            Some(present) if present != commit && !options.force => Err(ModelError::RefConflict {
                model_id: model_id.as_str().to_owned(),
                revision: options.revision.as_str().to_owned(),
                present: present.as_str().to_owned(),
                imported: commit.as_str().to_owned(),
            }),
            Some(_) | None => Ok(()),
        };
        check_reference()?;
        make_cache_dir(self.cache_dir())?;
        let _in_use = self.uses.begin(model_id);
        // At once with its folder of snapshots: Python warns of a model without one.
        let snapshots = model_dir.join("snapshots");
        fs::create_dir_all(&snapshots).map_err(ModelError::io("make the model's directory", &snapshots))?;
        let partials = partial_dir(self.cache_dir(), &model_dir)?;

        self.check_room(&sources, &model_dir, &partials)?;
        let mut already_there = 0;
        for source in &sources {
            already_there += usize::from(!self.publish_blob(source, model_id, &partials)?);
        }
        let tree = tree_of(&sources).to_json();
        publish_bytes(&model_dir.join("trees").join(format!("{}.json", commit.as_str())), &tree, &partials)?;
        for source in &sources {
            self.publish_link(model_id, &commit, &source.file_path, source.etag())?;
        }
        // Again, now that nobody else can: another import may have been quicker.
        // A revision may be longer than a file's name.
        let lock_name = format!("ref.{}", hex::lower(&Sha1::digest(options.revision.as_str())));
        let _lock = lock_for_publishing(self.cache_dir(), &model_id.folder_name(), &lock_name)?;
        check_reference()?;
        publish_bytes(&reference, commit.as_str().as_bytes(), &partials)?;
        Ok(ImportReport {
            commit,
            files: sources.len(),
            size_bytes: sources.iter().map(|source| source.size_bytes).sum(),
            already_there,
            left_out,
        })
    }

    /// Is there room for what the cache does not have yet?
    fn check_room(&self, sources: &[Source], model_dir: &Path, partials: &Path) -> Result<(), ModelError> {
        let blobs = model_dir.join("blobs");
        let new = sources.iter().filter(|source| !blobs.join(source.etag()).exists());
        let needed: u64 = new.map(|source| source.size_bytes).sum();
        // What cannot be asked is found out by writing.
        let Some(free) = free_bytes_in(partials) else { return Ok(()) };
        if needed <= free { Ok(()) } else { Err(ModelError::NoSpace { needed, free, path: partials.to_owned() }) }
    }

    /// Copies a file's bytes to their final name; `false` if they are there already, whole.
    fn publish_blob(&self, source: &Source, model_id: &ModelId, partials: &Path) -> Result<bool, ModelError> {
        let etag = source.etag();
        let blob = self.model_dir(model_id).join("blobs").join(etag);
        if self.is_whole(&blob, source) {
            return Ok(false);
        }
        make_parent(&blob)?;
        let mut partial = Partial::create(partials)?;
        copy(source, &mut partial.file)?;
        let _lock = lock_for_publishing(self.cache_dir(), &model_id.folder_name(), etag)?;
        // Somebody may have published the same bytes while the lock was theirs.
        if self.is_whole(&blob, source) {
            return Ok(false);
        }
        let action = "look at a published file";
        let published = partial.file.try_clone().map_err(ModelError::io(action, &blob))?;
        partial.publish(&blob)?;
        let key = FileKey::of(&published).map_err(ModelError::io(action, &blob))?;
        self.digests.remember(key, source.digests.clone());
        Ok(true)
    }

    /// Does the blob hold the source's bytes? A damaged one is put right by publishing over it.
    fn is_whole(&self, blob: &Path, source: &Source) -> bool {
        let digests = open_file(blob).and_then(|file| self.digests.digests(&file));
        digests.is_ok_and(|hashed| hashed.is_some_and(|(_, digests)| digests == source.digests))
    }
}

/// Copies a file and makes sure that it is still the one that was hashed.
fn copy(source: &Source, to: &mut File) -> Result<(), ModelError> {
    let action = "copy a file into the cache";
    let mut from = open_file(&source.path).map_err(ModelError::io(action, &source.path))?;
    let mut hasher = Hasher::new(source.size_bytes);
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let read = from.read(&mut buffer).map_err(ModelError::io(action, &source.path))?;
        let bytes = buffer.get(..read).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        hasher.update(bytes);
        to.write_all(bytes).map_err(ModelError::io(action, &source.path))?;
    }
    let key = FileKey::of(&from).map_err(ModelError::io(action, &source.path))?;
    if key.has_same_bytes(&source.key) && hasher.finish() == source.digests {
        return Ok(());
    }
    Err(ModelError::Changing { path: source.path.clone() })
}
