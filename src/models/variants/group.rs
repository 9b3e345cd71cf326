//! Which files belong together: those of one kind are the parts of one variant, unless one stands for another.

use std::collections::{BTreeMap, BTreeSet};

use super::{Variant, dtype::Census};
use crate::models::{FileEntry, FilePath};

/// What names of ONNX files end with that says what their weights are. Source: transformers.js, `utils/dtypes.js`.
const DTYPE_ENDS: [&str; 12] =
    ["_fp32", "_fp16", "_bf16", "_int8", "_uint8", "_q8", "_quantized", "_q4f16", "_q4", "_bnb4", "_q2f16", "_q2"];

/// A file with what it needs, or several that are one.
pub(super) struct Unit {
    pub(super) format: &'static str,
    folder: String,
    /// Its name without the folder and what says the format.
    stem: String,
    pub(super) dtype: String,
    pub(super) architecture: Option<String>,
    pub(super) tensors: u64,
    pub(super) parameters: Option<u64>,
    pub(super) files: BTreeSet<String>,
    missing: BTreeSet<String>,
    /// Each of its files is as long as it should be.
    pub(super) is_whole: bool,
}

impl Unit {
    pub(super) fn new(format: &'static str, path: &str, suffix: &str, dtype: String) -> Self {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        Self {
            format,
            folder: folder.to_owned(),
            stem: name.strip_suffix(suffix).unwrap_or(name).to_owned(),
            dtype,
            architecture: None,
            tensors: 0,
            parameters: None,
            files: BTreeSet::from([path.to_owned()]),
            missing: BTreeSet::new(),
            is_whole: true,
        }
    }

    /// Notes what its tensors are.
    pub(super) fn take(&mut self, census: &Census) {
        census.most().unwrap_or("without weights").clone_into(&mut self.dtype);
        (self.tensors, self.parameters) = (census.tensors, Some(census.parameters()));
    }

    /// A file that belongs to it, of so many bytes at least.
    pub(super) fn needs(&mut self, path: String, length: u64, sizes: &BTreeMap<&str, u64>) {
        match sizes.get(path.as_str()) {
            Some(size) => {
                self.is_whole &= *size >= length;
                self.files.insert(path);
            }
            None => drop(self.missing.insert(path)),
        }
    }

    /// Does it stand for the other one, as `model_O1` for `model`?
    fn is_instead_of(&self, other: &Self) -> bool {
        if self.format != "onnx" {
            // One of several in a folder: nothing says that they belong together.
            return true;
        }
        let rest = self.base().strip_prefix(other.base());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['_', '-', '.']))
    }

    fn base(&self) -> &str {
        DTYPE_ENDS.iter().find_map(|end| self.stem.strip_suffix(end)).unwrap_or(&self.stem)
    }

    fn label(&self) -> String {
        if self.format == "onnx" { self.dtype.clone() } else { format!("{} {}", self.format, self.dtype) }
    }
}

/// The variants that units make.
pub(super) fn variants(mut units: Vec<Unit>, sizes: &BTreeMap<&str, u64>) -> Vec<Variant> {
    // The plainest name of a folder is the one that others stand for.
    units.sort_by(|one, other| (one.stem.len(), &one.stem).cmp(&(other.stem.len(), &other.stem)));
    let mut main: BTreeMap<(&str, String), Vec<Unit>> = BTreeMap::new();
    let mut others = Vec::new();
    for unit in units {
        let parts = main.entry((unit.format, unit.dtype.clone())).or_default();
        let is_other = parts.iter().any(|part| part.folder == unit.folder && unit.is_instead_of(part));
        if is_other { others.push(unit) } else { parts.push(unit) }
    }
    let mut found: Vec<Variant> = Vec::new();
    for parts in main.into_values() {
        let name = parts.first().map(Unit::label).unwrap_or_default();
        found.push(variant(name, parts, sizes));
    }
    for other in others {
        let mut name = format!("{} {}", other.label(), other.stem);
        if found.iter().any(|variant| variant.name == name) {
            name = format!("{} {}/{}", other.label(), other.folder, other.stem);
        }
        found.push(variant(name, vec![other], sizes));
    }
    found.sort_by(|one, other| (one.format, &one.name).cmp(&(other.format, &other.name)));
    found
}

fn variant(name: String, parts: Vec<Unit>, sizes: &BTreeMap<&str, u64>) -> Variant {
    let mut variant = Variant {
        name,
        format: "",
        dtype: String::new(),
        architecture: None,
        tensors: 0,
        parameters: Some(0),
        files: Vec::new(),
        missing: Vec::new(),
        size_bytes: 0,
        complete: true,
    };
    let (mut files, mut missing) = (BTreeSet::new(), BTreeSet::new());
    for part in parts {
        variant.format = part.format;
        variant.dtype = part.dtype;
        variant.architecture = variant.architecture.or(part.architecture);
        variant.tensors += part.tensors;
        variant.parameters = variant.parameters.zip(part.parameters).map(|(sum, more)| sum.saturating_add(more));
        variant.complete &= part.is_whole;
        files.extend(part.files);
        missing.extend(part.missing);
    }
    let entry = |path: String| {
        let size_bytes = sizes.get(path.as_str()).copied()?;
        Some(FileEntry { file_path: FilePath::parse(&path).ok()?, size_bytes })
    };
    variant.files = files.into_iter().filter_map(entry).collect();
    variant.size_bytes = variant.files.iter().map(|file| file.size_bytes).sum();
    variant.complete &= missing.is_empty();
    variant.missing = missing.into_iter().collect();
    variant
}
