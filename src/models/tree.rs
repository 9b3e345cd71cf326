//! `trees/<commit>.json`: what a commit consists of.

use std::{collections::BTreeMap, io::Read, path::Path};

use serde::{Deserialize, Serialize};

use super::{FilePath, digest::Hasher, system::open_file};

/// The one format that there is. Source: huggingface_hub, `_tree_cache.py`.
const FORMAT_VERSION: u32 = 1;

/// Largest tree that is read, in bytes (64 MiB: a few hundred thousand files).
const MAX_TREE_BYTES: u64 = 64 << 20;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Tree {
    format_version: u32,
    pub(super) files: BTreeMap<String, TreeFile>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct TreeFile {
    pub(super) size: u64,
    /// git's sha1 of the file, or of the pointer that stands for a large one.
    pub(super) blob_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) lfs_sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) lfs_size: Option<u64>,
}

impl Tree {
    pub(super) const fn new(files: BTreeMap<String, TreeFile>) -> Self {
        Self { format_version: FORMAT_VERSION, files }
    }

    /// As it stands in a file.
    pub(super) fn to_json(&self) -> Vec<u8> {
        // Strings and numbers: nothing in it can fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The tree of a commit; `None` if there is none that can be understood.
    pub(super) fn read(model_dir: &Path, commit: &str) -> Option<Self> {
        let file = open_file(&model_dir.join("trees").join(format!("{commit}.json"))).ok()?;
        let mut json = Vec::new();
        file.take(MAX_TREE_BYTES).read_to_end(&mut json).ok()?;
        let mut tree = serde_json::from_slice::<Self>(&json).ok()?;
        // What this cache cannot hold is not missing from it.
        tree.files.retain(|path, _| !FilePath::is_unportable(path));
        (tree.format_version == FORMAT_VERSION).then_some(tree)
    }
}

impl TreeFile {
    /// A file that git holds itself.
    pub(super) const fn small(git_sha1: String, size: u64) -> Self {
        Self { size, blob_id: git_sha1, lfs_sha256: None, lfs_size: None }
    }

    /// A file that git holds a pointer for, and that is what its blob id names.
    pub(super) fn large(sha256: String, size: u64) -> Self {
        let pointer = lfs_pointer(&sha256, size);
        let mut hasher = Hasher::new(pointer.len() as u64);
        hasher.update(pointer.as_bytes());
        Self { size, blob_id: hasher.finish().git_sha1, lfs_sha256: Some(sha256), lfs_size: Some(size) }
    }

    /// The name of the file's bytes in `blobs`.
    pub(super) fn etag(&self) -> &str {
        self.lfs_sha256.as_deref().unwrap_or(&self.blob_id)
    }

    /// The file's own size, not its pointer's.
    pub(super) fn true_size(&self) -> u64 {
        self.lfs_size.unwrap_or(self.size)
    }
}

/// What git holds for a large file. Source: Git LFS, specification of the pointer file, version 1.
pub(super) fn lfs_pointer(sha256: &str, size: u64) -> String {
    format!("version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n")
}
