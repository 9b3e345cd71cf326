//! The variants of a model: which of its files belong together, and what they are made of, by their own headers.
//!
//! Belongs here: headers of ONNX, safetensors and GGUF, and what belongs to which variant.
//! Does not belong here: finding files (`store`, `list`), messages (`grpc`, `session`).
//!
//! Invariants:
//! - Headers are read and nothing else, with limits before memory is taken: these are other people's files.
//! - What cannot be understood is named and left out; it keeps nothing else from being described.
//!
//! Data path: `list` -> `reader` -> `onnx` | `safetensors` | `gguf` -> [`Unit`]s -> `group` -> [`Variant`]s.

mod dtype;
#[cfg(all(feature = "fuzzing", target_os = "linux"))]
pub(super) mod fuzz;
mod gguf;
mod group;
mod onnx;
mod reader;
mod safetensors;

use std::collections::{BTreeMap, BTreeSet};

use self::{
    dtype::Census,
    group::Unit,
    reader::{HeaderError, Reader},
};
use super::{
    Commit, FileEntry, FileName, FilePath, ModelError, ModelId, ModelStore, ModelSummary, Revision, SharedModels,
};

/// Files whose headers are read for one revision; the rest are named as not read.
const MAX_READ_FILES: usize = 2000;

/// Parts of one GGUF model that are looked for.
const MAX_PARTS: u64 = 1000;

/// One revision of a model, by what can be run of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedModel {
    /// The model.
    pub model_id: ModelId,
    /// As in [`ModelSummary`].
    pub revision: String,
    /// The snapshot.
    pub commit: Commit,
    /// Every file of the commit is here.
    pub complete: bool,
    /// Of all files together.
    pub size_bytes: u64,
    /// Sorted by format and name.
    pub variants: Vec<Variant>,
    /// Files that look like weights and are none that can be read.
    pub unreadable: Vec<UnreadableFile>,
}

/// Files that make one thing that can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// Unique in its revision: `q4`, `fp16`, `safetensors bf16`, `gguf Q4_K_M`.
    pub name: String,
    /// `onnx`, `safetensors` or `gguf`.
    pub format: &'static str,
    /// What most of its weights are.
    pub dtype: String,
    /// As a GGUF file names it.
    pub architecture: Option<String>,
    /// In all files.
    pub tensors: u64,
    /// Elements of all tensors; `None` where several are packed into one.
    pub parameters: Option<u64>,
    /// Those that are here, sorted by path.
    pub files: Vec<FileEntry>,
    /// Those that it names and that are not here.
    pub missing: Vec<String>,
    /// Of its files.
    pub size_bytes: u64,
    /// All its files are here, each as long as its headers say.
    pub complete: bool,
}

/// A file that could not be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableFile {
    /// Inside the model.
    pub file_path: String,
    /// For people.
    pub problem: String,
}

/// One revision that is being described.
struct Describing<'a> {
    store: &'a ModelStore,
    model: &'a ModelSummary,
    sizes: BTreeMap<&'a str, u64>,
    read: usize,
    units: Vec<Unit>,
    unreadable: Vec<UnreadableFile>,
}

impl ModelStore {
    /// The variants of the models in the cache. `model_id`, `revision`: only these.
    ///
    /// # Errors
    ///
    /// [`ModelError`]: the model or the revision is not in the cache, or the directory cannot be read.
    pub fn variants(
        &self,
        model_id: Option<&ModelId>,
        revision: Option<&Revision>,
    ) -> Result<Vec<DescribedModel>, ModelError> {
        let mut models = self.list(model_id)?;
        if let Some(model_id) = model_id {
            self.names(model_id)?;
            if let Some(revision) = revision {
                let commit = self.commit(model_id, revision)?;
                models.retain(|model| model.commit == commit);
                let is_named = |model: &ModelSummary| model.revision == revision.as_str();
                // A commit may have several names: they are the same.
                let index = models.iter().position(is_named).unwrap_or(0);
                models = models.into_iter().skip(index).take(1).collect();
            }
        }
        Ok(models.iter().map(|model| self.describe_model(model)).collect())
    }

    fn describe_model(&self, model: &ModelSummary) -> DescribedModel {
        let sizes = model.files.iter().map(|file| (file.file_path.as_str(), file.size_bytes)).collect();
        let mut describing =
            Describing { store: self, model, sizes, read: 0, units: Vec::new(), unreadable: Vec::new() };
        describing.onnx();
        describing.safetensors();
        describing.gguf();
        let Describing { sizes, units, mut unreadable, .. } = describing;
        unreadable.sort_by(|one, other| one.file_path.cmp(&other.file_path));
        DescribedModel {
            model_id: model.model_id.clone(),
            revision: model.revision.clone(),
            commit: model.commit.clone(),
            complete: model.complete,
            size_bytes: model.size_bytes,
            variants: group::variants(units, &sizes),
            unreadable,
        }
    }
}

impl<'a> Describing<'a> {
    fn with_suffix(&self, suffix: &str) -> Vec<&'a str> {
        self.sizes.keys().copied().filter(|name| name.ends_with(suffix)).collect()
    }

    /// What a file's headers say; `None` if that cannot be told, which is noted.
    fn headers<T>(&mut self, name: &str, read: impl FnOnce(&mut Reader) -> Result<T, HeaderError>) -> Option<T> {
        self.read += 1;
        let opened = if self.read > MAX_READ_FILES {
            Err(format!("not read: more than {MAX_READ_FILES} files"))
        } else {
            self.open(name)
        };
        match opened.and_then(|mut reader| read(&mut reader).map_err(|error| error.to_string())) {
            Ok(found) => Some(found),
            Err(problem) => {
                self.unreadable.push(UnreadableFile { file_path: name.to_owned(), problem });
                None
            }
        }
    }

    fn open(&self, name: &str) -> Result<Reader, String> {
        let file_path = FilePath::parse(name).map_err(|error| error.to_string())?;
        let revision = Revision::from(self.model.commit.clone());
        let name = FileName { model_id: self.model.model_id.clone(), revision, file_path };
        let file = self.store.open_unread(&name).map_err(|error| error.to_string())?;
        Reader::new(file).map_err(|error| error.to_string())
    }

    /// A file that another one names, beside it; `None` if it is no place in the model.
    fn beside(name: &str, location: &str) -> Option<String> {
        let path = match name.rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/{location}"),
            None => location.to_owned(),
        };
        FilePath::parse(&path).ok().map(|path| path.as_str().to_owned())
    }

    fn onnx(&mut self) {
        for name in self.with_suffix(".onnx") {
            let Some(found) = self.headers(name, onnx::read) else { continue };
            let mut unit = Unit::new("onnx", name, ".onnx", found.dtype());
            unit.parameters = (!found.is_packed()).then(|| found.census.parameters());
            unit.tensors = found.census.tensors;
            for (location, length) in &found.external {
                match Self::beside(name, location) {
                    Some(path) => unit.needs(path, *length, &self.sizes),
                    None => {
                        let problem = format!("its weights are outside the model: {location:?}");
                        self.unreadable.push(UnreadableFile { file_path: name.to_owned(), problem });
                        unit.is_whole = false;
                    }
                }
            }
            self.units.push(unit);
        }
    }

    fn safetensors(&mut self) {
        let mut indexed = BTreeSet::new();
        for name in self.with_suffix(".safetensors.index.json") {
            let Some(parts) = self.headers(name, safetensors::read_index) else { continue };
            let (mut unit, mut census) =
                (Unit::new("safetensors", name, ".safetensors.index.json", String::new()), Census::default());
            for part in parts {
                let Some(path) = Self::beside(name, &part) else {
                    unit.is_whole = false;
                    continue;
                };
                if self.sizes.contains_key(path.as_str()) {
                    match self.headers(&path, safetensors::read) {
                        Some(found) => {
                            census.merge(&found.census);
                            unit.is_whole &= found.is_whole;
                        }
                        None => unit.is_whole = false,
                    }
                }
                unit.needs(path.clone(), 0, &self.sizes);
                indexed.insert(path);
            }
            unit.take(&census);
            self.units.push(unit);
        }
        for name in self.with_suffix(".safetensors") {
            if indexed.contains(name) {
                continue;
            }
            let Some(found) = self.headers(name, safetensors::read) else { continue };
            let mut unit = Unit::new("safetensors", name, ".safetensors", String::new());
            unit.take(&found.census);
            unit.is_whole = found.is_whole;
            self.units.push(unit);
        }
    }

    fn gguf(&mut self) {
        let mut models: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for name in self.with_suffix(".gguf") {
            let stem = name.strip_suffix(".gguf").unwrap_or(name);
            models.entry(part_of(stem).map_or(stem, |(model, _)| model).to_owned()).or_default().push(name);
        }
        for (model, parts) in models {
            let mut unit = Unit::new("gguf", &format!("{model}.gguf"), ".gguf", String::new());
            unit.files.clear();
            let (mut census, mut count) = (Census::default(), 1);
            for name in parts {
                unit.files.insert(name.to_owned());
                let Some(found) = self.headers(name, gguf::read) else {
                    unit.is_whole = false;
                    continue;
                };
                census.merge(&found.census);
                unit.is_whole &= found.is_whole;
                unit.architecture = unit.architecture.or(found.architecture);
                count = count.max(found.parts);
                // The first part has the metadata.
                if unit.dtype.is_empty() {
                    found.file_type.clone_into(&mut unit.dtype);
                }
            }
            if unit.dtype.is_empty() {
                continue;
            }
            for number in (1..=count.min(MAX_PARTS)).filter(|_| count > 1) {
                unit.needs(format!("{model}-{number:05}-of-{count:05}.gguf"), 0, &self.sizes);
            }
            (unit.tensors, unit.parameters) = (census.tensors, Some(census.parameters()));
            self.units.push(unit);
        }
    }
}

/// `name-00001-of-00003`: the name, and the number.
fn part_of(stem: &str) -> Option<(&str, u64)> {
    let (rest, count) = stem.rsplit_once("-of-")?;
    let (model, number) = rest.rsplit_once('-')?;
    let is_number = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    (is_number(count) && is_number(number)).then_some((model, number.parse().ok()?))
}

impl SharedModels {
    /// As [`ModelStore::variants`].
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// The work goes on for nobody.
    pub async fn variants(
        &self,
        model_id: Option<ModelId>,
        revision: Option<Revision>,
    ) -> Result<Vec<DescribedModel>, ModelError> {
        self.blocking(move |store| store.variants(model_id.as_ref(), revision.as_ref())).await
    }
}

#[cfg(test)]
mod tests;
