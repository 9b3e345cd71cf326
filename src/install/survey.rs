//! What stands in the places that a plan may be about.
//!
//! Belongs here: looking. Does not belong here: decisions (`plan`), changes (`disk`).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::{
    Family, Found, HostManifest, InstallDirs, InstallError, Scope, Step, System, Target, permissions,
    places::custom,
    plan::USER_DATA_DIR_MODE,
    registry, table,
    target::{Reader, targets},
};
use crate::user;

/// Largest file that is taken for a manifest, in bytes (1 MiB: 15,000 extensions).
pub const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// Names tried for what is moved aside: `….bak`, `….bak2`, ….
const MAX_BACKUPS: u32 = 1000;

/// Which browsers are meant. Both lists empty: left to the plan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Ids of the browser table.
    pub browsers: Vec<String>,
    /// User data directories of a browser that is started with `--user-data-dir`, instead of its usual one. They need
    /// not exist yet. `browsers` then says which browser that is, and may be empty.
    pub user_data_dirs: Vec<PathBuf>,
    /// For whom.
    pub scope: Scope,
}

/// Looks at every place that a plan may be about: what was selected, and every row of the browser table.
///
/// # Errors
///
/// [`InstallError::UnknownBrowser`], [`InstallError::NoPlace`], the `UserDataDir…` variants, and [`InstallError::Io`] where
/// a place cannot be looked at.
pub fn survey(selection: &Selection, dirs: &InstallDirs) -> Result<Vec<Target>, InstallError> {
    let system = System::current();
    let is_usual_place = selection.user_data_dirs.is_empty();
    let kind = kind_of_custom(selection, system)?;
    let named: &[String] = if is_usual_place { &selection.browsers } else { &[] };
    let mut targets = targets(named, system, selection.scope, dirs)?;
    for dir in &selection.user_data_dirs {
        if dir.starts_with("~") {
            return Err(InstallError::UserDataDirTilde { path: dir.clone() });
        }
        let absolute = std::path::absolute(dir).map_err(|source| InstallError::Io {
            step: Step::Resolve,
            path: dir.clone(),
            source,
        })?;
        if let Some(path) = absolute.ancestors().find(|path| fs::metadata(path).is_ok_and(|found| !found.is_dir())) {
            return Err(InstallError::UserDataDirNotAFolder { path: path.to_owned() });
        }
        let place = custom(&absolute, system);
        match targets.iter_mut().find(|target| target.place.is_same(&place)) {
            Some(target) => target.is_custom = true,
            None => {
                let reader = |browser| Reader {
                    browser,
                    is_named: true,
                    started: Vec::new(),
                    is_started: false,
                    is_optional: false,
                };
                let mut target = Target::new(place, kind.map(reader).into_iter().collect());
                target.is_custom = true;
                targets.push(target);
            }
        }
    }
    for target in &mut targets {
        look(target, dirs)?;
    }
    Ok(targets)
}

/// Which row the browser of the user data directories is.
fn kind_of_custom(selection: &Selection, system: System) -> Result<Option<&'static super::Browser>, InstallError> {
    let named = table::named(&selection.browsers)?;
    if selection.user_data_dirs.is_empty() {
        return Ok(None);
    }
    if selection.scope == Scope::System {
        return Err(InstallError::UserDataDirOfSystem);
    }
    if system == System::Windows {
        return Err(InstallError::UserDataDirOnWindows);
    }
    match named.as_slice() {
        [] => Ok(None),
        [one] if one.family() == Family::Firefox => {
            Err(InstallError::UserDataDirOfFirefox { browser: one.name().to_owned() })
        }
        [one] => Ok(Some(*one)),
        [..] => Err(InstallError::UserDataDirOfSeveral { browsers: selection.browsers.join(", ") }),
    }
}

fn look(target: &mut Target, dirs: &InstallDirs) -> Result<(), InstallError> {
    let (place, is_user) = (&target.place, target.place.scope == Scope::User);
    let is_key_there = place.keys.iter().any(registry::is_browser_there);
    for reader in &mut target.readers {
        let is_folder_there = reader.started.iter().any(|path| path.is_dir());
        // What is there for the machine says nothing of one browser or another.
        reader.is_started = is_user && if reader.started.is_empty() { is_key_there } else { is_folder_there };
    }
    target.data_exists = place.data.is_dir();
    target.missing_folders = place.folders.iter().filter(|folder| !folder.is_dir()).cloned().collect();
    target.removable_folders = removable(target, dirs);
    target.found = find(target.place.family, &target.place.manifest)?;
    target.is_sound = fs::metadata(&target.place.manifest).map_or(true, |found| {
        let is_readable = permissions::mode(&found).is_none_or(|mode| is_user || mode & 0o444 == 0o444);
        is_readable && !user::is_strangers(&found)
    });
    for (key, named) in &mut target.named_by {
        *named = registry::read(key)?;
    }
    Ok(())
}

/// The manifests' folder goes when it is empty, and of those above it what looks as it was made here: an empty folder of a
/// user that is for nobody else, or a browser's folder of the machine. A browser's own folders are not empty.
fn removable(target: &Target, dirs: &InstallDirs) -> Vec<PathBuf> {
    let place = &target.place;
    let is_in_home = |folder: &&Path| folder.starts_with(&dirs.home) && *folder != dirs.home;
    let above = place.folders.first().into_iter().flat_map(|outermost| outermost.ancestors().skip(1));
    // Of a folder that somebody has named, those above are likely to be theirs.
    let above = above.take_while(is_in_home).take(if target.is_custom { 1 } else { usize::MAX });
    let is_as_made = |folder: &Path| match place.scope {
        Scope::User => fs::symlink_metadata(folder)
            .is_ok_and(|found| permissions::mode(&found).is_none_or(|mode| mode == USER_DATA_DIR_MODE)),
        Scope::System => folder.starts_with(&place.data),
    };
    let outwards = place.folders.iter().rev().map(PathBuf::as_path).chain(above);
    outwards
        .filter(|folder| *folder == place.folder() || is_as_made(folder))
        .filter(|folder| folder.is_dir())
        .map(Path::to_owned)
        .collect()
}

fn find(family: Family, path: &Path) -> Result<Found, InstallError> {
    let reason = match read(path) {
        Ok(Some(text)) => match HostManifest::parse(family, &text) {
            Ok(manifest) => return Ok(Found::Ours(manifest, text)),
            Err(reason) => reason,
        },
        Ok(None) => return Ok(Found::Absent),
        Err(reason) => reason,
    };
    Ok(Found::Other { reason, backup: free_backup(path)? })
}

/// The file's text; `None` if there is nothing at all. A reason if something stands there that cannot be a manifest.
pub(super) fn read(path: &Path) -> Result<Option<String>, String> {
    match fs::symlink_metadata(path) {
        Ok(_) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(format!("it cannot be read: {error}")),
    }
    // Follows a symbolic link, which a browser does as well.
    let metadata = fs::metadata(path).map_err(|error| format!("it cannot be read: {error}"))?;
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    if metadata.len() > MAX_MANIFEST_BYTES {
        return Err(format!("it has {} bytes", metadata.len()));
    }
    fs::read_to_string(path).map(Some).map_err(|error| format!("it cannot be read: {error}"))
}

fn free_backup(path: &Path) -> Result<PathBuf, InstallError> {
    let base = path.as_os_str().to_owned();
    for number in 1..=MAX_BACKUPS {
        let mut name = base.clone();
        name.push(if number == 1 { ".bak".to_owned() } else { format!(".bak{number}") });
        let candidate = PathBuf::from(name);
        if fs::symlink_metadata(&candidate).is_err() {
            return Ok(candidate);
        }
    }
    let source = io::Error::from(io::ErrorKind::AlreadyExists);
    Err(InstallError::Io { step: Step::Backup, path: path.to_owned(), source })
}
