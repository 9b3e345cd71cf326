//! Which files an extension may open: those in directories that the user has named in the configuration.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use crate::source::SourceError;

/// The file itself, all links followed, if it lies in one of the directories.
///
/// # Errors
///
/// [`SourceError::NotAllowed`] outside of them, and for what is no regular file; also for files that do not exist, so
/// that nobody learns which do, and for a path with `..`, whose end would tell what is on its way. [`SourceError::File`]
/// inside of them.
pub fn resolve_allowed(path: &Path, dirs: &[PathBuf]) -> Result<PathBuf, SourceError> {
    let not_allowed = || SourceError::NotAllowed { path: path.to_owned() };
    let is_inside = |path: &Path| {
        // By whole components, and of directories that exist.
        dirs.iter().filter_map(|dir| fs::canonicalize(dir).ok()).any(|dir| path.starts_with(dir))
    };
    if path.components().any(|component| component == Component::ParentDir) {
        return Err(not_allowed());
    }
    match fs::canonicalize(path) {
        Ok(found) if is_inside(&found) => {
            let is_file = fs::metadata(&found).is_ok_and(|metadata| metadata.is_file());
            if is_file { Ok(found) } else { Err(not_allowed()) }
        }
        Ok(_) => Err(not_allowed()),
        Err(source) => {
            let parent = path.parent().and_then(|parent| fs::canonicalize(parent).ok());
            match parent {
                Some(parent) if is_inside(&parent) => Err(SourceError::File { source, path: path.to_owned() }),
                Some(_) | None => Err(not_allowed()),
            }
        }
    }
}

// Everybody may make links there.
#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn only_files_in_the_named_directories_are_allowed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["videos/sub", "videos-private"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        for name in ["videos/a.mp4", "videos/sub/b.mp4", "videos-private/c.mp4"] {
            fs::write(at(name), "x").unwrap();
        }
        symlink(at("videos-private/c.mp4"), at("videos/leads-out.mp4")).unwrap();
        symlink(at("videos/a.mp4"), at("leads-in.mp4")).unwrap();
        symlink(at("videos"), at("alias")).unwrap();
        let check = |name: &str, dirs: &[PathBuf]| resolve_allowed(&at(name), dirs);
        let dirs = [at("alias")];
        for name in ["videos/a.mp4", "videos/sub/b.mp4", "leads-in.mp4", "videos/./a.mp4"] {
            assert!(check(name, &dirs).is_ok(), "{name}");
        }
        for name in [
            "videos-private/c.mp4",
            "videos/leads-out.mp4",
            "videos/../videos-private/c.mp4",
            // Both or neither: what is on the way is not to be learnt.
            "videos-private/../videos/none.mp4",
            "nothing/../videos/none.mp4",
            "videos/sub/../a.mp4",
            "videos",
            "none",
        ] {
            assert!(matches!(check(name, &dirs), Err(SourceError::NotAllowed { .. })), "{name}");
        }
        assert!(matches!(check("videos/none.mp4", &dirs), Err(SourceError::File { .. })));
        assert!(matches!(check("videos/a.mp4", &[]), Err(SourceError::NotAllowed { .. })));
        assert!(matches!(check("videos/a.mp4", &[at("gone")]), Err(SourceError::NotAllowed { .. })));
    }
}
