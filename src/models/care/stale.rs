//! What was begun and never finished: partial files, and snapshots that were on their way out.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use super::{
    super::{
        publish::{lock, partial_dir_beside, partial_dir_inside},
        system,
    },
    remove::{Do, remove_if_there, remove_tree},
};
use crate::models::{ModelError, ModelId, ModelStore};

/// How old a partial file is that nobody goes on with (a day).
pub(super) const STALE_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// How old a partial file is that is cleared away without being asked for (a week): by then nobody comes back for it.
const ABANDONED_AFTER: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How old something is that another program, whose marks are not known here, may just be putting there (an hour).
pub(super) const SETTLED_AFTER: Duration = Duration::from_secs(60 * 60);

impl ModelStore {
    /// Removes, or counts, what is stale beside the cache and in a model's own folder for partial files.
    pub(super) fn clear_partials(&self, how: Do) -> Result<Vec<(PathBuf, u64)>, ModelError> {
        let mut cleared = Vec::new();
        for directory in self.partial_dirs()? {
            for entry in fs::read_dir(&directory).into_iter().flatten().filter_map(Result::ok) {
                cleared.extend(clear_partial(&entry.path(), how, STALE_AFTER)?);
            }
        }
        Ok(cleared)
    }

    /// Removes what killed processes left and nobody goes on with, wherever it is. A few directories are read.
    pub(in crate::models) fn clear_abandoned(&self) -> Result<(), ModelError> {
        self.partial_dirs()?.iter().for_each(|directory| clear_abandoned(directory));
        Ok(())
    }

    /// Where partial files may be.
    fn partial_dirs(&self) -> Result<Vec<PathBuf>, ModelError> {
        let inside = self.model_ids()?.into_iter().map(|id| partial_dir_inside(&self.model_dir(&id)));
        Ok(partial_dir_beside(self.cache_dir()).into_iter().chain(inside).collect())
    }

    /// Removes, or counts, what huggingface_hub left unfinished in a model.
    pub(super) fn clear_incomplete(&self, model_id: &ModelId, how: Do) -> Result<Vec<(PathBuf, u64)>, ModelError> {
        let mut cleared = Vec::new();
        for entry in fs::read_dir(self.model_dir(model_id).join("blobs")).into_iter().flatten().filter_map(Result::ok) {
            let (name, path) = (entry.file_name(), entry.path());
            let name = name.to_string_lossy();
            let Some(etag) = name.strip_suffix(".incomplete").and_then(|rest| rest.split('.').next()) else { continue };
            if !is_older(&path, STALE_AFTER) {
                continue;
            }
            // Its writer holds the lock of the whole file.
            let held = match how {
                Do::It => lock(self.cache_dir(), &model_id.folder_name(), etag, Duration::ZERO).map(Some),
                Do::Count => Ok(None),
            };
            if let Ok(_lock) = held {
                let size = size_of(&path);
                if how == Do::It {
                    remove_if_there(&path)?;
                }
                cleared.push((path, size));
            }
        }
        Ok(cleared)
    }
}

/// Removes from one directory what killed processes left: what nobody holds locked, and of downloads, which the next
/// one goes on with, those that nobody has touched for long.
pub(in crate::models) fn clear_abandoned(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok) {
        // What is on its way out may be large, and somebody is at it: that is for who clears away.
        if entry.file_name().to_string_lossy().ends_with(".removed") {
            continue;
        }
        match clear_partial(&entry.path(), Do::It, ABANDONED_AFTER) {
            Ok(None) => {}
            Ok(Some((path, bytes))) => tracing::debug!(path = %path.display(), bytes, "cleared a partial file away"),
            Err(error) => tracing::debug!(%error, "a partial file stays behind"),
        }
    }
}

fn clear_partial(path: &Path, how: Do, stale_after: Duration) -> Result<Option<(PathBuf, u64)>, ModelError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_stale = is_older(path, stale_after);
    let removed = |size: u64| Ok(Some((path.to_owned(), size)));
    if name.ends_with(".removed") {
        // Whoever had it in work may be at it still: both remove the same.
        let size = 0;
        return if how == Do::It { remove_tree(path).and_then(|()| removed(size)) } else { removed(size) };
    }
    if name.ends_with(".part.done") {
        let has_part = path.with_extension("").exists();
        if has_part || !is_stale {
            return Ok(None);
        }
        let size = size_of(path);
        return if how == Do::It { remove_if_there(path).and_then(|()| removed(size)) } else { removed(size) };
    }
    let is_ours = name.ends_with(".incomplete") || (name.ends_with(".part") && is_stale);
    // Held over the removal: who opens a file of this name meanwhile finds it gone, and makes another.
    let Some(_lock) = is_ours.then(|| unlocked(path)).flatten() else {
        return Ok(None);
    };
    let size = fs::symlink_metadata(path).map_or(0, |metadata| system::bytes_on_disk(path, &metadata));
    if how == Do::It {
        remove_if_there(path)?;
        remove_if_there(&path.with_extension("part.done"))?;
    }
    removed(size)
}

/// The file, locked, if nobody else has it locked.
fn unlocked(path: &Path) -> Option<File> {
    let file = system::open_file(path).ok()?;
    system::try_lock(&file).is_ok().then_some(file)
}

/// Was it last written so long ago?
pub(super) fn is_older(path: &Path, age: Duration) -> bool {
    let written = fs::symlink_metadata(path).and_then(|metadata| metadata.modified());
    // A time in the future is none to go by.
    written.is_ok_and(|written| SystemTime::now().duration_since(written).is_ok_and(|old| old > age))
}

pub(super) fn size_of(path: &Path) -> u64 {
    fs::symlink_metadata(path).map_or(0, |metadata| metadata.len())
}
