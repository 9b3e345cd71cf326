//! Is the cache what it promises to be? Every byte is read anew, whatever is remembered of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use super::super::{
    digest::{Digests, FileKey},
    links::Blobs,
    list::walk,
    name::is_lower_hex,
    system::open_file,
    tree::{Tree, TreeFile},
};
use crate::models::{Commit, FileName, FilePath, ModelError, ModelId, ModelStore, Revision, SharedModels};

/// A snapshot that was looked through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedSnapshot {
    /// The model.
    pub model_id: ModelId,
    /// The snapshot.
    pub commit: Commit,
    /// Branches and tags that stand for it.
    pub revisions: Vec<String>,
    /// Sorted by path: those that are there, and those that should be.
    pub files: Vec<VerifiedFile>,
}

/// A file that was read and compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedFile {
    /// Inside the model. One that framehost itself could not name is written as it is on the disk.
    pub file_path: String,
    /// What was found.
    pub state: FileState,
    /// What is wrong, for people; empty if nothing is.
    pub problem: String,
    /// Of the file as it is.
    pub size_bytes: u64,
}

/// What a file turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileState {
    /// Its bytes are what its name and its commit's listing promise.
    Ok,
    /// They are not.
    Damaged,
    /// Its commit has it, and it is not here.
    Missing,
    /// Nothing promises anything of it: it is in no listing, or its name is no digest.
    Unknown,
}

impl FileState {
    /// A word for programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Damaged => "damaged",
            Self::Missing => "missing",
            Self::Unknown => "unknown",
        }
    }

    /// Does it have to be fetched anew?
    pub const fn is_wrong(self) -> bool {
        matches!(self, Self::Damaged | Self::Missing)
    }
}

impl VerifiedSnapshot {
    /// Is anything damaged or missing?
    pub fn is_wrong(&self) -> bool {
        self.files.iter().any(|file| file.state.is_wrong())
    }
}

/// What was read already: snapshots share files.
type Read = BTreeMap<FileKey, Digests>;

impl ModelStore {
    /// Reads every file of a model, or of all, and compares it with its name and its commit's listing.
    ///
    /// # Errors
    ///
    /// [`ModelError`]: the model is not in the cache, or the cache directory cannot be read.
    pub fn verify(&self, model_id: Option<&ModelId>) -> Result<Vec<VerifiedSnapshot>, ModelError> {
        let mut models = match model_id {
            Some(model_id) => vec![model_id.clone()],
            None => self.model_ids()?,
        };
        models.sort();
        let mut read = Read::new();
        let mut verified = Vec::new();
        for model_id in models {
            let _in_use = self.uses.begin(&model_id);
            let names = self.names(&model_id)?;
            // A name without a snapshot promises one: what it consists of may be known.
            let mut commits: BTreeSet<_> = self.commits(&model_id).into_iter().collect();
            commits.extend(names.iter().filter_map(|(_, commit)| Commit::parse(commit)));
            for commit in commits {
                let named = names.iter().filter(|(_, named)| named == commit.as_str());
                let mut revisions: Vec<_> = named.map(|(name, _)| name.clone()).collect();
                revisions.sort();
                let files = self.verify_snapshot(&model_id, &commit, &mut read);
                verified.push(VerifiedSnapshot { model_id: model_id.clone(), commit, revisions, files });
            }
        }
        Ok(verified)
    }

    /// Reads one file again.
    fn verify_again(&self, model_id: &ModelId, commit: &Commit, file_path: &str) -> Option<VerifiedFile> {
        let tree = Tree::read(&self.model_dir(model_id), commit.as_str());
        let listed = tree.as_ref().map(|tree| tree.files.get(file_path));
        let path = self.snapshot(model_id, commit).join(FilePath::parse(file_path).ok()?.relative_path());
        let blobs = Blobs::of(&self.model_dir(model_id));
        Some(self.verify_file(file_path.to_owned(), &path, listed, &blobs, &mut Read::new()))
    }

    fn verify_snapshot(&self, model_id: &ModelId, commit: &Commit, read: &mut Read) -> Vec<VerifiedFile> {
        let tree = Tree::read(&self.model_dir(model_id), commit.as_str());
        let mut present: BTreeMap<_, _> = walk(&self.snapshot(model_id, commit)).into_iter().collect();
        let listed_names = tree.iter().flat_map(|tree| tree.files.keys());
        // A listing is somebody else's file: what is no plain path is not looked for.
        for file_path in listed_names.filter_map(|name| FilePath::parse(name).ok()) {
            let path = self.snapshot(model_id, commit).join(file_path.relative_path());
            present.entry(file_path.as_str().to_owned()).or_insert(path);
        }
        let blobs = Blobs::of(&self.model_dir(model_id));
        let verify = |(name, path): (String, PathBuf)| {
            let listed = tree.as_ref().map(|tree| tree.files.get(&name));
            self.verify_file(name, &path, listed, &blobs, read)
        };
        present.into_iter().map(verify).collect()
    }

    /// `listed`: the commit's listing has it so, or has it not; `None` without a listing.
    fn verify_file(
        &self,
        file_path: String,
        path: &Path,
        listed: Option<Option<&TreeFile>>,
        blobs: &Blobs,
        read: &mut Read,
    ) -> VerifiedFile {
        let found = |state, problem: String, size_bytes| VerifiedFile { file_path, state, problem, size_bytes };
        let (key, digests) = match self.read_anew(path, read) {
            Ok(Some(read)) => read,
            Ok(None) => return found(FileState::Damaged, "somebody writes to it".to_owned(), 0),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                let is_link = fs::symlink_metadata(path).is_ok();
                let problem = if is_link { "its bytes are gone" } else { "it is not here" };
                return found(FileState::Missing, problem.to_owned(), 0);
            }
            Err(error) => return found(FileState::Damaged, format!("it cannot be read: {error}"), 0),
        };
        let name = blobs.name(path);
        let by_name = name.as_deref().filter(|name| is_lower_hex(name, 64) || is_lower_hex(name, 40));
        let by_listing = listed.flatten().map(TreeFile::etag);
        for promised in [by_name, by_listing].into_iter().flatten() {
            let actual = if promised.len() == 64 { &digests.sha256 } else { &digests.git_sha1 };
            if actual != promised {
                return found(FileState::Damaged, format!("expected {promised}, found {actual}"), key.size);
            }
        }
        match (by_name, listed) {
            (_, Some(None)) => found(FileState::Unknown, "its commit does not list it".to_owned(), key.size),
            (None, None) => found(FileState::Unknown, "nothing says what it should be".to_owned(), key.size),
            (_, Some(Some(_))) | (Some(_), None) => found(FileState::Ok, String::new(), key.size),
        }
    }

    /// The digests of a file as it is now; `None` if somebody writes to it.
    fn read_anew(&self, path: &Path, read: &mut Read) -> io::Result<Option<(FileKey, Digests)>> {
        let file = open_file(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        let key = FileKey::of(&file)?;
        if let Some(digests) = read.get(&key) {
            return Ok(Some((key, digests.clone())));
        }
        let digests = self.digests.digests_anew(&file)?;
        if let Some((key, digests)) = &digests {
            read.insert(*key, digests.clone());
        }
        Ok(digests)
    }
}

impl SharedModels {
    /// As [`ModelStore::verify`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// The work goes on for nobody.
    pub async fn verify(&self, model_id: Option<ModelId>) -> Result<Vec<VerifiedSnapshot>, ModelError> {
        self.blocking(move |store| store.verify(model_id.as_ref())).await
    }

    /// Fetches a file of a snapshot anew that is damaged or missing, and says what it is then.
    ///
    /// # Errors
    ///
    /// [`ModelError`]: upstream has it not, or cannot be reached.
    ///
    /// # Cancel safety
    ///
    /// The download goes on for a while; what has arrived is kept.
    pub async fn repair(
        &self,
        model_id: &ModelId,
        commit: &Commit,
        file_path: &str,
    ) -> Result<VerifiedFile, ModelError> {
        let file_path = FilePath::parse(file_path)?;
        let revision = Revision::from(commit.clone());
        let name = FileName { model_id: model_id.clone(), revision, file_path: file_path.clone() };
        self.fetch_anew(name).await?;
        let (id, commit, looked_for) = (model_id.clone(), commit.clone(), file_path.clone());
        let again = self.blocking(move |store| Ok(store.verify_again(&id, &commit, looked_for.as_str()))).await?;
        again.ok_or_else(|| ModelError::Name {
            field: "file_path",
            value: file_path.as_str().to_owned(),
            problem: "no path of a model",
        })
    }
}
