//! Finding a file of a model, and making sure of its bytes.

use std::{
    fs::{self, File},
    io::{self, Read},
    ops::Range,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::{
    Commit, DescribedFile, FileName, FilePath, ModelError, ModelId, Revision,
    care::{InUse, Uses},
    digest::{DigestMemory, Digests, FileKey},
    links::{Blobs, WAYS, Way},
    name::is_lower_hex,
    system::{self, open_file},
    tree::Tree,
};
use crate::frame::Pool;

/// Longest file in `refs`, in bytes: 40 digits, and room for a stray newline.
const MAX_REF_BYTES: u64 = 64;

/// Where the store is.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Hugging Face's cache directory, the one with `models--…` in it. It may not exist yet.
    pub cache_dir: PathBuf,
    /// Holds what framehost remembers about the cache. Made when it is first written to.
    pub state_dir: PathBuf,
}

/// The model cache. Its calls block; none keeps a lock of the cache while it reads.
#[derive(Debug)]
pub struct ModelStore {
    cache_dir: PathBuf,
    pub(super) state_dir: PathBuf,
    pub(super) digests: DigestMemory,
    pub(super) uses: Uses,
    /// How a snapshot gets its files.
    pub(super) ways: &'static [Way],
}

/// A file that was found and hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedFile {
    /// In the snapshot directory.
    pub path: PathBuf,
    /// Of the file.
    pub size_bytes: u64,
    /// Of its bytes, 64 hex digits.
    pub sha256: String,
    /// The name of the bytes in the cache.
    pub etag: String,
    /// What the revision stands for.
    pub commit: Commit,
    /// The etag is a digest, and the bytes agree with it.
    pub verified: bool,
}

/// An open file whose bytes are the ones that were hashed.
#[derive(Debug)]
pub struct OpenModelFile {
    file: File,
    key: FileKey,
    /// What it is.
    pub resolved: ResolvedFile,
    /// The model is not cleared away as long as somebody reads it.
    _in_use: Option<InUse>,
}

/// What [`ModelStore::open_if_known`] finds.
#[derive(Debug)]
pub(super) enum Opened {
    Known(OpenModelFile),
    /// It has to be hashed first.
    Unknown {
        file: File,
        key: FileKey,
        in_use: Option<InUse>,
    },
}

/// A file that was found and not been hashed.
struct Candidate {
    file: File,
    /// In the snapshot.
    path: PathBuf,
    /// Behind every link.
    target: PathBuf,
    commit: Commit,
    in_use: Option<InUse>,
}

impl ResolvedFile {
    /// The bytes from `offset` on, at most `length`, as far as the file goes. `offset` may be the file's size.
    ///
    /// # Errors
    ///
    /// [`ModelError::OffsetBeyondEnd`].
    pub fn range(&self, offset: u64, length: u64) -> Result<Range<u64>, ModelError> {
        let size_bytes = self.size_bytes;
        if offset > size_bytes {
            return Err(ModelError::OffsetBeyondEnd { offset, size_bytes });
        }
        Ok(offset..offset.saturating_add(length).min(size_bytes))
    }
}

impl OpenModelFile {
    /// As [`ResolvedFile::range`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn range(&self, offset: u64, length: u64) -> Result<Range<u64>, ModelError> {
        self.resolved.range(offset, length)
    }

    /// Reads `length` bytes from `offset` on, fewer only at the end of the file. `pool`: for the memory.
    ///
    /// # Errors
    ///
    /// [`ModelError::Truncated`] if somebody shortened the file, [`ModelError::Changing`] if somebody wrote to it since
    /// it was hashed, [`ModelError::Io`].
    pub fn read_at(&self, offset: u64, length: usize, pool: &Pool) -> Result<Bytes, ModelError> {
        let ResolvedFile { path, size_bytes, .. } = &self.resolved;
        let left = usize::try_from(size_bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = pool.take(length.min(left));
        match system::read_exact_at(&self.file, &mut bytes, offset) {
            Ok(()) => {
                let key = FileKey::of(&self.file).map_err(ModelError::io("look at the file", path))?;
                let is_unchanged = key.has_same_bytes(&self.key);
                if is_unchanged { Ok(bytes.freeze()) } else { Err(ModelError::Changing { path: path.clone() }) }
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(ModelError::Truncated { offset, size_bytes: *size_bytes, path: path.clone() })
            }
            Err(error) => Err(ModelError::io("read the file", path)(error)),
        }
    }
}

impl ModelStore {
    /// A store; nothing is read or made yet.
    pub fn new(options: StoreOptions) -> Self {
        let StoreOptions { cache_dir, state_dir } = options;
        let (digests, uses) = (DigestMemory::new(&state_dir), Uses::new(&state_dir, &cache_dir));
        Self { cache_dir, state_dir, digests, uses, ways: WAYS }
    }

    /// The cache directory.
    pub fn cache_dir(&self) -> &Path {
        &self.cache_dir
    }

    pub(super) fn model_dir(&self, model_id: &ModelId) -> PathBuf {
        self.cache_dir.join(model_id.folder_name())
    }

    /// Which of a model's folders is a link, by which its owner keeps it elsewhere, perhaps together with other things.
    pub(super) fn linked_folder(&self, model_id: &ModelId) -> Option<PathBuf> {
        let model_dir = self.model_dir(model_id);
        let folders = ["blobs", "refs", "snapshots"].map(|name| model_dir.join(name));
        [model_dir].into_iter().chain(folders).find(|folder| folder.is_symlink())
    }

    /// Finds a file and hashes it if it is new here.
    ///
    /// # Errors
    ///
    /// [`ModelError`]: not found, leading out of the cache, damaged, changing, or unreadable.
    pub fn resolve(&self, name: &FileName) -> Result<ResolvedFile, ModelError> {
        Ok(self.open(name)?.resolved)
    }

    /// Finds, hashes and opens a file. What is read from it later is what was hashed, whatever happens to its name.
    ///
    /// # Errors
    ///
    /// As [`Self::resolve`].
    pub fn open(&self, name: &FileName) -> Result<OpenModelFile, ModelError> {
        let candidate = self.find(name)?;
        let hashed = self.hashed(&candidate.file, &candidate.path)?;
        self.finish(name, candidate, hashed)
    }

    /// As [`Self::open`], without hashing: a file whose digest is not known yet comes back as it is.
    pub(super) fn open_if_known(&self, name: &FileName) -> Result<Opened, ModelError> {
        let candidate = self.find(name)?;
        let (key, known) =
            self.digests.known(&candidate.file).map_err(ModelError::io("look at the file", &candidate.path))?;
        match known {
            Some(digests) => self.finish(name, candidate, (key, digests)).map(Opened::Known),
            None => Ok(Opened::Unknown { file: candidate.file, key, in_use: candidate.in_use }),
        }
    }

    /// What the cache promises of a file, whose bytes are not looked at; `None` if it promises nothing.
    pub(super) fn describe(&self, name: &FileName) -> Result<Option<DescribedFile>, ModelError> {
        let Candidate { file, path, target, commit, .. } = self.find(name)?;
        let size_bytes = file.metadata().map_err(ModelError::io("look at the file", &path))?.len();
        let promised = etag_of(&path, &target, &self.model_dir(&name.model_id), &commit, &name.file_path);
        let digest = promised.filter(|etag| is_lower_hex(etag, 64) || is_lower_hex(etag, 40));
        // One of another size is damaged, and what is said of it here would make it look whole.
        let tree = Tree::read(&self.model_dir(&name.model_id), commit.as_str());
        let listed = tree.as_ref().and_then(|tree| tree.files.get(name.file_path.as_str()));
        if let Some(listed) = listed.filter(|listed| listed.true_size() != size_bytes) {
            let (expected, actual) = (listed.etag().to_owned(), format!("{size_bytes} bytes"));
            return Err(ModelError::DigestMismatch { expected, actual, path });
        }
        Ok(digest.map(|etag| DescribedFile { size_bytes, etag, commit }))
    }

    /// A file of the cache, for who looks at its headers only.
    pub(super) fn open_unread(&self, name: &FileName) -> Result<File, ModelError> {
        self.find(name).map(|candidate| candidate.file)
    }

    /// The file of that name, open, whatever its bytes are.
    fn find(&self, name: &FileName) -> Result<Candidate, ModelError> {
        let FileName { model_id, revision, file_path } = name;
        // Before it is looked for: what is found then stays.
        let in_use = self.model_dir(model_id).is_dir().then(|| self.uses.begin(model_id)).flatten();
        let commit = self.commit(model_id, revision)?;
        let path = self.snapshot(model_id, &commit).join(file_path.relative_path());
        let not_found = || ModelError::FileNotFound {
            model_id: model_id.as_str().to_owned(),
            commit: commit.as_str().to_owned(),
            file_path: file_path.as_str().to_owned(),
        };
        let target = self.inside_cache(model_id, &path, not_found)?;
        let file = match open_file(&target) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => return Err(not_found()),
            Err(error) => return Err(ModelError::io("open the file", path)(error)),
        };
        let metadata = file.metadata().map_err(ModelError::io("look at the file", &path))?;
        if !metadata.is_file() {
            return Err(not_found());
        }
        Ok(Candidate { file, path, target, commit, in_use })
    }

    /// Compares what was found with what the cache promises of it.
    fn finish(
        &self,
        name: &FileName,
        candidate: Candidate,
        (key, digests): (FileKey, Digests),
    ) -> Result<OpenModelFile, ModelError> {
        let Candidate { file, path, target, commit, in_use } = candidate;
        let promised = etag_of(&path, &target, &self.model_dir(&name.model_id), &commit, &name.file_path);
        let (etag, verified) = agree(promised, &digests, &path)?;
        let resolved = ResolvedFile { path, size_bytes: key.size, sha256: digests.sha256, etag, commit, verified };
        Ok(OpenModelFile { file, key, resolved, _in_use: in_use })
    }

    /// The directory of a revision's files, which is there.
    ///
    /// # Errors
    ///
    /// [`ModelError::ModelNotFound`], [`ModelError::RevisionNotFound`].
    pub fn snapshot_dir(&self, model_id: &ModelId, revision: &Revision) -> Result<PathBuf, ModelError> {
        let snapshot = self.snapshot(model_id, &self.commit(model_id, revision)?);
        // A name may have come before its first file, or have been left by a removal.
        if snapshot.is_dir() { Ok(snapshot) } else { Err(revision_not_found(model_id, revision)) }
    }

    pub(super) fn snapshot(&self, model_id: &ModelId, commit: &Commit) -> PathBuf {
        self.model_dir(model_id).join("snapshots").join(commit.as_str())
    }

    /// What a revision stands for: a name in `refs`, or a commit that is here.
    pub(super) fn commit(&self, model_id: &ModelId, revision: &Revision) -> Result<Commit, ModelError> {
        let model_dir = self.model_dir(model_id);
        if !model_dir.is_dir() {
            return Err(ModelError::ModelNotFound {
                model_id: model_id.as_str().to_owned(),
                cache_dir: self.cache_dir.clone(),
            });
        }
        let not_found = || revision_not_found(model_id, revision);
        // A commit stands for itself whatever `refs` holds, as huggingface_hub has it.
        let Some(commit) = Commit::parse(revision.as_str()) else {
            return read_ref(&model_dir.join("refs").join(revision.relative_path()))?.ok_or_else(not_found);
        };
        let is_here = model_dir.join("snapshots").join(commit.as_str()).is_dir();
        if is_here { Ok(commit) } else { Err(not_found()) }
    }

    /// The file behind every link, which has to be inside the cache, or where its owner keeps the model or its bytes: a
    /// model's folder, and `blobs` in it, may be links to another disk.
    fn inside_cache(
        &self,
        model_id: &ModelId,
        path: &Path,
        not_found: impl Fn() -> ModelError,
    ) -> Result<PathBuf, ModelError> {
        let target = match fs::canonicalize(path) {
            Ok(target) => target,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(not_found());
            }
            Err(error) => return Err(ModelError::io("find the file", path)(error)),
        };
        let cache_dir =
            fs::canonicalize(&self.cache_dir).map_err(ModelError::io("find the cache directory", &self.cache_dir))?;
        if target.starts_with(&cache_dir) {
            return Ok(target);
        }
        let model_dir = self.model_dir(model_id);
        let is_kept_in = |folder: PathBuf| fs::canonicalize(folder).is_ok_and(|folder| target.starts_with(folder));
        if is_kept_in(model_dir.join("blobs")) || is_kept_in(model_dir) {
            return Ok(target);
        }
        Err(ModelError::OutsideCache { path: path.to_owned() })
    }

    /// A blob of that name whose bytes are what the name promises.
    pub(super) fn whole_blob(&self, model_id: &ModelId, etag: &str, size_bytes: u64) -> Option<(File, Digests)> {
        let file = open_file(&self.model_dir(model_id).join("blobs").join(etag)).ok()?;
        let has_size = file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() == size_bytes);
        let (_, digests) = has_size.then(|| self.digests.digests(&file).ok()?)??;
        (digests.sha256 == etag || digests.git_sha1 == etag).then_some((file, digests))
    }

    fn hashed(&self, file: &File, path: &Path) -> Result<(FileKey, Digests), ModelError> {
        for _ in 0..2 {
            if let Some(hashed) = self.digests.digests(file).map_err(ModelError::io("hash the file", path))? {
                return Ok(hashed);
            }
        }
        Err(ModelError::Changing { path: path.to_owned() })
    }
}

fn revision_not_found(model_id: &ModelId, revision: &Revision) -> ModelError {
    let (model_id, revision) = (model_id.as_str().to_owned(), revision.as_str().to_owned());
    ModelError::RevisionNotFound { model_id, revision }
}

/// The commit in a file under `refs`.
///
/// `None` if there is no such file, or no commit in it.
pub(super) fn read_ref(path: &Path) -> Result<Option<Commit>, ModelError> {
    let mut text = Vec::new();
    let read = open_file(path).and_then(|file| file.take(MAX_REF_BYTES).read_to_end(&mut text));
    match read {
        Ok(_) => Ok(str::from_utf8(&text).ok().and_then(|text| Commit::parse(text.trim()))),
        // What is not there, or is a folder of longer names.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(ModelError::io("read a revision", path)(error)),
    }
}

/// What the cache promises about a file's bytes: the name of its blob or, where the snapshot holds the file itself,
/// the commit's tree.
fn etag_of(path: &Path, target: &Path, model_dir: &Path, commit: &Commit, file_path: &FilePath) -> Option<String> {
    // The first link is the one into `blobs`; behind it may be another, to a store shared between models.
    let link = fs::read_link(path).ok();
    let blob = link.as_deref().unwrap_or(target);
    let parent_is_blobs = blob.parent().and_then(Path::file_name).is_some_and(|parent| parent == "blobs");
    if link.is_some() && parent_is_blobs {
        return blob.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    }
    let tree = Tree::read(model_dir, commit.as_str());
    let listed = tree.and_then(|tree| tree.files.get(file_path.as_str()).map(|file| file.etag().to_owned()));
    // A hard link does not tell the blob's name, which may be long to look for.
    listed.or_else(|| Blobs::of(model_dir).hard_name(path))
}

/// Compares what was promised with what was found.
fn agree(promised: Option<String>, digests: &Digests, path: &Path) -> Result<(String, bool), ModelError> {
    let Some(etag) = promised else {
        return Ok((digests.sha256.clone(), false));
    };
    let actual = if is_lower_hex(&etag, 64) {
        &digests.sha256
    } else if is_lower_hex(&etag, 40) {
        &digests.git_sha1
    } else {
        return Ok((etag, false));
    };
    if *actual == etag {
        return Ok((etag, true));
    }
    Err(ModelError::DigestMismatch { expected: etag, actual: actual.clone(), path: path.to_owned() })
}
