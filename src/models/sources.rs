//! Looking through a directory for the files of a model.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use sha1::{Digest as _, Sha1};

use super::{
    Commit, FilePath, ModelError,
    digest::{DigestMemory, Digests, FileKey},
    system::{self, is_loop, open_file},
    tree::{Tree, TreeFile},
};
use crate::hex;

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

/// A file that may become part of a model.
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) file_path: FilePath,
    pub(super) key: FileKey,
    pub(super) size_bytes: u64,
    pub(super) digests: Digests,
}

/// What was found in a directory.
pub(super) struct Found {
    /// Sorted by path.
    pub(super) sources: Vec<Source>,
    /// What is no part of the model, though it looks like one.
    pub(super) left_out: Vec<LeftOut>,
}

/// Something in a directory that cannot become part of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftOut {
    /// Where it is.
    pub path: PathBuf,
    /// Why it is left out.
    pub problem: &'static str,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path.display(), self.problem)
    }
}

impl Source {
    fn is_large(&self) -> bool {
        let suffix = self.file_path.as_str().rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
        self.size_bytes > LARGE_FILE_BYTES || LARGE_FILE_SUFFIXES.contains(&suffix.as_str())
    }

    /// The name of the bytes in the cache.
    pub(super) fn etag(&self) -> &str {
        if self.is_large() { &self.digests.sha256 } else { &self.digests.git_sha1 }
    }

    fn tree_file(&self) -> TreeFile {
        if self.is_large() {
            TreeFile::large(self.digests.sha256.clone(), self.size_bytes)
        } else {
            TreeFile::small(self.digests.git_sha1.clone(), self.size_bytes)
        }
    }
}

/// The files below a directory, hashed and sorted by path.
///
/// `cache_dir`: a cache that is no part of the model, and into which links may lead.
pub(super) fn find_sources(
    directory: &Path,
    cache_dir: Option<&Path>,
    digests: &DigestMemory,
) -> Result<Found, ModelError> {
    let root = fs::canonicalize(directory).map_err(ModelError::io("find the directory to import", directory))?;
    // One that is not there yet holds nothing.
    let cache_dir = cache_dir.and_then(|cache_dir| fs::canonicalize(cache_dir).ok());
    let is_in_cache = |path: &Path| cache_dir.as_ref().is_some_and(|cache_dir| path.starts_with(cache_dir));
    let (mut sources, mut left_out) = (Vec::new(), Vec::new());
    let mut folders = vec![(system::plain(root.clone()), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        let action = "read the directory to import";
        for entry in fs::read_dir(&folder).map_err(ModelError::io(action, &folder))? {
            let entry = entry.map_err(ModelError::io(action, &folder))?;
            let path = entry.path();
            let mut leave_out = |problem| left_out.push(LeftOut { path: path.clone(), problem });
            let Ok(name) = entry.file_name().into_string() else {
                leave_out("its name is not UTF-8");
                continue;
            };
            if LEFT_OUT.contains(&name.as_str()) || name.ends_with(".incomplete") {
                continue;
            }
            let target = match fs::canonicalize(&path) {
                Ok(target) => target,
                // Or in a circle.
                Err(error) if error.kind() == io::ErrorKind::NotFound || is_loop(&error) => {
                    leave_out("it leads nowhere");
                    continue;
                }
                Err(error) => return Err(ModelError::io(action, &path)(error)),
            };
            if cache_dir.as_ref() == Some(&target) {
                continue;
            }
            if !target.starts_with(&root) && !is_in_cache(&target) {
                leave_out("it leads out of the directory");
                continue;
            }
            let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            let kind = entry.file_type().map_err(ModelError::io(action, &path))?;
            if kind.is_dir() {
                folders.push((path, name));
            } else if target.is_file() {
                match FilePath::parse(&name) {
                    Ok(file_path) => sources.push(hashed_source(path, file_path, digests)?),
                    Err(ModelError::Name { problem, .. }) => leave_out(problem),
                    Err(other) => return Err(other),
                }
            } else {
                leave_out("it is neither a file nor a folder, or a link to a folder");
            }
        }
    }
    if sources.is_empty() {
        return Err(ModelError::NothingToImport { path: directory.to_owned() });
    }
    sources.sort_by(|one, other| one.file_path.cmp(&other.file_path));
    left_out.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(Found { sources, left_out })
}

fn hashed_source(path: PathBuf, file_path: FilePath, digests: &DigestMemory) -> Result<Source, ModelError> {
    let action = "read a file to import";
    let file = open_file(&path).map_err(ModelError::io(action, &path))?;
    let digests = digests.digests(&file).map_err(ModelError::io(action, &path))?;
    let (key, digests) = digests.ok_or_else(|| ModelError::Changing { path: path.clone() })?;
    Ok(Source { key, size_bytes: key.size, path, file_path, digests })
}

/// A commit that depends on nothing but names and bytes.
pub(super) fn commit_of(sources: &[Source]) -> Result<Commit, ModelError> {
    let mut hasher = Sha1::new();
    hasher.update("framehost import 1\n");
    for Source { file_path, size_bytes, digests, .. } in sources {
        hasher.update(format!("{} {size_bytes} {}\n", digests.sha256, file_path.as_str()));
    }
    let commit = hex::lower(&hasher.finalize());
    // Sha1's digest has 40 hex digits.
    Commit::parse(&commit).ok_or(ModelError::Name { field: "revision", value: commit, problem: "40 hex digits" })
}

/// What a commit of these files consists of.
pub(super) fn tree_of(sources: &[Source]) -> Tree {
    Tree::new(sources.iter().map(|source| (source.file_path.as_str().to_owned(), source.tree_file())).collect())
}
