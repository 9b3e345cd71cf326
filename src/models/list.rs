//! What the cache holds.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::{Commit, FilePath, ModelError, ModelId, ModelStore, store::read_ref, tree::Tree};

/// Folders below a model's snapshot or refs that are walked; a cache has few, a loop of links would have many.
const MAX_DEPTH: usize = 16;

/// One revision of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelSummary {
    /// The model.
    pub model_id: ModelId,
    /// Branch or tag that names the commit here; the commit itself where none does.
    pub revision: String,
    /// The snapshot.
    pub commit: Commit,
    /// Every file that the commit is known to have is here, as long as it should be.
    pub complete: bool,
    /// Of all files together.
    pub size_bytes: u64,
    /// Sorted by path.
    pub files: Vec<FileEntry>,
}

/// A file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEntry {
    /// Inside the model.
    pub file_path: FilePath,
    /// Of the file.
    pub size_bytes: u64,
}

impl ModelStore {
    /// The models in the cache, one entry for each name of a commit, sorted by model and revision.
    ///
    /// `model_id`: only this one. What is broken or foreign is passed over; an absent cache is an empty one.
    ///
    /// # Errors
    ///
    /// [`ModelError::Io`] if the cache directory cannot be read.
    pub fn list(&self, model_id: Option<&ModelId>) -> Result<Vec<ModelSummary>, ModelError> {
        let mut models = match model_id {
            Some(model_id) => vec![model_id.clone()],
            None => self.model_ids()?,
        };
        models.sort();
        Ok(models.into_iter().flat_map(|model_id| self.revisions(&model_id)).collect())
    }

    pub(super) fn model_ids(&self) -> Result<Vec<ModelId>, ModelError> {
        let entries = match fs::read_dir(self.cache_dir()) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(ModelError::io("read the cache directory", self.cache_dir()))?,
        };
        let model_id = |entry: fs::DirEntry| ModelId::from_folder_name(entry.file_name().to_str()?);
        Ok(entries.filter_map(Result::ok).filter_map(model_id).collect())
    }

    /// The names of a model's commits, whose snapshots may be partial.
    pub(super) fn names(&self, model_id: &ModelId) -> Result<Vec<(String, String)>, ModelError> {
        let model_dir = self.model_dir(model_id);
        if !model_dir.is_dir() {
            let (model_id, cache_dir) = (model_id.as_str().to_owned(), self.cache_dir().to_owned());
            return Err(ModelError::ModelNotFound { model_id, cache_dir });
        }
        let names = walk(&model_dir.join("refs")).into_iter();
        Ok(names.filter_map(|(name, path)| Some((name, read_ref(&path).ok().flatten()?.as_str().to_owned()))).collect())
    }

    fn revisions(&self, model_id: &ModelId) -> Vec<ModelSummary> {
        let model_dir = self.model_dir(model_id);
        let mut names: Vec<(String, Commit)> = walk(&model_dir.join("refs"))
            .into_iter()
            .filter_map(|(name, path)| Some((name, read_ref(&path).ok().flatten()?)))
            .filter(|(_, commit)| model_dir.join("snapshots").join(commit.as_str()).is_dir())
            .collect();
        for entry in fs::read_dir(model_dir.join("snapshots")).into_iter().flatten().filter_map(Result::ok) {
            let commit = entry.file_name().to_str().and_then(Commit::parse);
            if let Some(commit) = commit.filter(|commit| names.iter().all(|(_, named)| named != commit)) {
                names.push((commit.as_str().to_owned(), commit));
            }
        }
        names.sort();
        names.into_iter().map(|(revision, commit)| summary(&model_dir, model_id, revision, commit)).collect()
    }
}

fn summary(model_dir: &Path, model_id: &ModelId, revision: String, commit: Commit) -> ModelSummary {
    let mut files = Vec::new();
    let mut broken = 0;
    for (name, path) in walk(&model_dir.join("snapshots").join(commit.as_str())) {
        match (FilePath::parse(&name), fs::metadata(&path)) {
            (Ok(file_path), Ok(metadata)) if metadata.is_file() => {
                files.push(FileEntry { file_path, size_bytes: metadata.len() });
            }
            (Ok(_), _) => broken += 1,
            (Err(error), _) => tracing::debug!(%error, "passing over a file in the cache"),
        }
    }
    files.sort_by(|one, other| one.file_path.cmp(&other.file_path));
    let complete = match Tree::read(model_dir, commit.as_str()) {
        Some(tree) => tree.files.iter().all(|(name, expected)| {
            let found = files.binary_search_by(|file| file.file_path.as_str().cmp(name));
            found.is_ok_and(|at| files.get(at).is_some_and(|file| file.size_bytes == expected.true_size()))
        }),
        None => broken == 0 && !has_incomplete_blobs(model_dir),
    };
    ModelSummary {
        model_id: model_id.clone(),
        revision,
        commit,
        complete,
        size_bytes: files.iter().map(|file| file.size_bytes).sum(),
        files,
    }
}

/// Is somebody downloading into this model, or did somebody stop?
fn has_incomplete_blobs(model_dir: &Path) -> bool {
    let is_incomplete = |entry: fs::DirEntry| entry.file_name().to_string_lossy().ends_with(".incomplete");
    fs::read_dir(model_dir.join("blobs")).into_iter().flatten().filter_map(Result::ok).any(is_incomplete)
}

/// Every file and link below `root`, with its path from there, `/` between the components.
pub(super) fn walk(root: &Path) -> Vec<(String, PathBuf)> {
    let mut found = Vec::new();
    let mut folders = vec![(String::new(), root.to_owned(), 0)];
    while let Some((prefix, folder, depth)) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth < MAX_DEPTH => folders.push((name, entry.path(), depth + 1)),
                Ok(kind) if !kind.is_dir() => found.push((name, entry.path())),
                Ok(_) | Err(_) => {}
            }
        }
    }
    found
}
