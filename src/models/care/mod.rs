//! Care of the cache: checking it, making room in it, and keeping what is used or wanted.
//!
//! ```text
//! <state>/caches/<cache>/used/models--org--name    a model's mark: locked (shared) while it is served or fetched, and
//!                                                  last written when it was last used
//! <state>/caches/<cache>/pins.json                 what is never cleared away by itself
//! <partial>/<random>.removed                       a snapshot on its way out
//! ```
//!
//! Belongs here: what is wrong, what may go and in which order, marks of use, pins.
//! Does not belong here: fetching anew what is wrong (`pull`), printing (`cli`).
//!
//! Invariants:
//! - A snapshot goes at once and as a whole, then the names that stood for it, then the bytes that nobody else links to:
//!   whatever interrupts that leaves a cache that everybody can read, and the next clearing goes on from there.
//! - Nothing is cleared away of a model that a hub serves or fetches, or that another program downloads into.
//! - Bytes that models share (huggingface_hub's store) go only if their own list says that nobody links to them.
//!
//! Source: huggingface_hub 2.4, `utils/_cache_manager.py` and `utils/_shared_blobs.py`.

mod gc;
mod in_use;
mod pins;
mod remove;
mod shared_blobs;
mod stale;
mod verify;

use std::path::{Path, PathBuf};

use sha1::{Digest as _, Sha1};

pub use self::{
    gc::{ClearFailure, Cleared, ClearedKind, GcOptions, GcReport, Kept, KeptBecause},
    in_use::InUse,
    pins::Pin,
    remove::RemoveReport,
    verify::{FileState, VerifiedFile, VerifiedSnapshot},
};
pub(super) use self::{in_use::Uses, stale::clear_abandoned};
use crate::hex;

/// Characters of a cache directory's name in the state directory.
const CACHE_NAME_CHARS: usize = 16;

/// Where the state of one cache is kept: a user may have several.
pub(super) fn state_of_cache(state_dir: &Path, cache_dir: &Path) -> PathBuf {
    let digest = hex::lower(&Sha1::digest(real(cache_dir).as_os_str().as_encoded_bytes()));
    state_dir.join("caches").join(digest.get(..CACHE_NAME_CHARS).unwrap_or(&digest))
}

/// The path behind links, also of what does not exist yet.
fn real(path: &Path) -> PathBuf {
    let exists = |ancestor: &&Path| !ancestor.as_os_str().is_empty() && ancestor.exists();
    let Some(ancestor) = path.ancestors().find(exists) else {
        return path.to_owned();
    };
    match (ancestor.canonicalize(), path.strip_prefix(ancestor)) {
        // An empty rest would add a slash.
        (Ok(real), Ok(rest)) if rest.as_os_str().is_empty() => real,
        (Ok(real), Ok(rest)) => real.join(rest),
        (Ok(_) | Err(_), _) => path.to_owned(),
    }
}

#[cfg(test)]
mod tests;
