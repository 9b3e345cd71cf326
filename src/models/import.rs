//! Taking a directory into the cache, as if it had been downloaded.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
};

use sha1::{Digest as _, Sha1};

use super::{
    Commit, FilePath, ModelError, ModelId, ModelStore, Revision,
    digest::{Digests, FileKey, Hasher, hex},
    publish::{Partial, lock_for_publishing, make_cache_dir, make_parent, partial_dir, publish_bytes, publish_link},
    store::{open_file, read_ref},
    tree::{Tree, TreeFile},
};

/// Files above this are stored under their sha256, like the Hub's large files, in bytes (10 MiB: the Hub's own limit).
const LARGE_FILE_BYTES: u64 = 10 << 20;

/// Files of these kinds are stored so whatever their size. Source: the `.gitattributes` that the Hub gives new models.
const LARGE_FILE_SUFFIXES: [&str; 27] = [
    "7z",
    "arrow",
    "bin",
    "bz2",
    "ckpt",
    "ftz",
    "gguf",
    "gz",
    "h5",
    "joblib",
    "lite",
    "mlmodel",
    "model",
    "msgpack",
    "npy",
    "npz",
    "onnx",
    "onnx_data",
    "parquet",
    "pb",
    "pickle",
    "pkl",
    "pt",
    "pth",
    "safetensors",
    "tflite",
    "zip",
];

/// Folders and files that are no part of a model, on whatever level.
const LEFT_OUT: [&str; 3] = [".git", ".cache", ".DS_Store"];

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
}

/// A file to import.
struct Source {
    path: PathBuf,
    file_path: FilePath,
    key: FileKey,
    size_bytes: u64,
    digests: Digests,
}

impl Source {
    fn is_large(&self) -> bool {
        let suffix = self.file_path.as_str().rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        self.size_bytes > LARGE_FILE_BYTES || LARGE_FILE_SUFFIXES.contains(&suffix.as_str())
    }

    /// The name of the bytes in the cache.
    fn etag(&self) -> &str {
        if self.is_large() { &self.digests.sha256 } else { &self.digests.git_sha1 }
    }

    fn tree_file(&self) -> TreeFile {
        if !self.is_large() {
            let blob_id = self.digests.git_sha1.clone();
            return TreeFile { size: self.size_bytes, blob_id, lfs_sha256: None, lfs_size: None };
        }
        // In git a large file is a pointer, and that is what its blob id names.
        let Digests { sha256, .. } = &self.digests;
        let pointer =
            format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {}\n", self.size_bytes);
        let mut hasher = Hasher::new(pointer.len() as u64);
        hasher.update(pointer.as_bytes());
        TreeFile {
            size: self.size_bytes,
            blob_id: hasher.finish().git_sha1,
            lfs_sha256: Some(sha256.clone()),
            lfs_size: Some(self.size_bytes),
        }
    }
}

impl ModelStore {
    /// Takes the files below `directory` into the cache as one revision of `model_id`.
    ///
    /// Left out: `.git`, `.cache`, `.DS_Store`, `*.incomplete`, the cache itself, and links that lead neither into
    /// `directory` nor into the cache (as a snapshot's do). Blobs come
    /// first and the name last, so that whatever interrupts the import leaves a cache that everybody can read.
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
        let sources = self.sources(directory)?;
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
        // At once with its folder of snapshots: Python warns of a model without one.
        let snapshots = model_dir.join("snapshots");
        fs::create_dir_all(&snapshots).map_err(ModelError::io("make the model's directory", &snapshots))?;
        let partials = partial_dir(self.cache_dir(), &model_dir)?;

        let mut already_there = 0;
        for source in &sources {
            already_there += usize::from(!self.publish_blob(source, model_id, &partials)?);
        }
        let files = sources.iter().map(|source| (source.file_path.as_str().to_owned(), source.tree_file()));
        let tree = serde_json::to_vec(&Tree::new(files.collect::<BTreeMap<_, _>>())).unwrap_or_default();
        publish_bytes(&model_dir.join("trees").join(format!("{}.json", commit.as_str())), &tree, &partials)?;
        let snapshot = snapshots.join(commit.as_str());
        for source in &sources {
            let depth = source.file_path.components().count();
            publish_link(&snapshot.join(source.file_path.relative_path()), depth, source.etag())?;
        }
        // Again, now that nobody else can: another import may have been quicker.
        // A revision may be longer than a file's name.
        let lock_name = format!("ref.{}", hex(&Sha1::digest(options.revision.as_str())));
        let _lock = lock_for_publishing(self.cache_dir(), &model_id.folder_name(), &lock_name)?;
        check_reference()?;
        publish_bytes(&reference, commit.as_str().as_bytes(), &partials)?;
        Ok(ImportReport {
            commit,
            files: sources.len(),
            size_bytes: sources.iter().map(|source| source.size_bytes).sum(),
            already_there,
        })
    }

    /// The files to import, hashed and sorted by path.
    fn sources(&self, directory: &Path) -> Result<Vec<Source>, ModelError> {
        let root = fs::canonicalize(directory).map_err(ModelError::io("find the directory to import", directory))?;
        // One that is not there yet holds nothing.
        let cache_dir = fs::canonicalize(self.cache_dir()).ok();
        let is_in_cache = |path: &Path| cache_dir.as_ref().is_some_and(|cache_dir| path.starts_with(cache_dir));
        let mut sources = Vec::new();
        let mut folders = vec![(root.clone(), String::new())];
        while let Some((folder, prefix)) = folders.pop() {
            let action = "read the directory to import";
            for entry in fs::read_dir(&folder).map_err(ModelError::io(action, &folder))? {
                let entry = entry.map_err(ModelError::io(action, &folder))?;
                let path = entry.path();
                let bad_name = |problem| ModelError::ImportName { problem, path: path.clone() };
                let name = entry.file_name().into_string().map_err(|_| bad_name("it is not UTF-8"))?;
                if LEFT_OUT.contains(&name.as_str()) || name.ends_with(".incomplete") {
                    continue;
                }
                let target = fs::canonicalize(&path).map_err(ModelError::io(action, &path))?;
                if cache_dir.as_ref() == Some(&target) {
                    continue;
                }
                if !target.starts_with(&root) && !is_in_cache(&target) {
                    tracing::warn!(path = %path.display(), "not imported: it leads out of the directory");
                    continue;
                }
                let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
                let kind = entry.file_type().map_err(ModelError::io(action, &path))?;
                if kind.is_dir() {
                    folders.push((path, name));
                } else if target.is_file() {
                    let file_path = FilePath::parse(&name).map_err(|error| match error {
                        ModelError::Name { problem, .. } => bad_name(problem),
                        other => other,
                    })?;
                    sources.push(self.source(path, file_path)?);
                }
            }
        }
        if sources.is_empty() {
            return Err(ModelError::NothingToImport { path: directory.to_owned() });
        }
        sources.sort_by(|one, other| one.file_path.cmp(&other.file_path));
        Ok(sources)
    }

    fn source(&self, path: PathBuf, file_path: FilePath) -> Result<Source, ModelError> {
        let action = "read a file to import";
        let file = open_file(&path).map_err(ModelError::io(action, &path))?;
        let digests = self.digests.digests(&file).map_err(ModelError::io(action, &path))?;
        let (key, digests) = digests.ok_or_else(|| ModelError::Changing { path: path.clone() })?;
        Ok(Source { key, size_bytes: key.size, path, file_path, digests })
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
        let metadata = published.metadata().map_err(ModelError::io(action, &blob))?;
        self.digests.remember(FileKey::of(&metadata), source.digests.clone());
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
    let key = FileKey::of(&from.metadata().map_err(ModelError::io(action, &source.path))?);
    if key.has_same_bytes(&source.key) && hasher.finish() == source.digests {
        return Ok(());
    }
    Err(ModelError::Changing { path: source.path.clone() })
}

/// A commit that depends on nothing but names and bytes.
fn commit_of(sources: &[Source]) -> Result<Commit, ModelError> {
    let mut hasher = Sha1::new();
    hasher.update("framehost import 1\n");
    for Source { file_path, size_bytes, digests, .. } in sources {
        hasher.update(format!("{} {size_bytes} {}\n", digests.sha256, file_path.as_str()));
    }
    let commit = hex(&hasher.finalize());
    // Sha1's digest has 40 hex digits.
    Commit::parse(&commit).ok_or(ModelError::Name { field: "revision", value: commit, problem: "40 hex digits" })
}
