//! What the portal gave to remember the user's choice by.
//!
//! ```text
//! <state_dir>/portal/          0700
//!   primary.token              0600, the choice for the primary screen
//!   screen-<hex>.token         ... for a screen that is called by its id: 32 digits of the id's SHA-256
//!   window-<hex>.token         ... for a window
//! ```
//!
//! A token is good for one start: each start brings the next one.

use std::{
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::{hex, source::screen::ScreenTarget};

/// Longest token that is read, in bytes.
const MAX_TOKEN_BYTES: u64 = 4096;

/// Where the token of a target is kept.
#[derive(Debug)]
pub(super) struct TokenFile {
    /// `None`: nothing is remembered.
    path: Option<PathBuf>,
}

impl TokenFile {
    pub(super) fn of(state_dir: Option<&Path>, target: &ScreenTarget) -> Self {
        let name = match target {
            ScreenTarget::Primary => "primary.token".to_owned(),
            ScreenTarget::Screen(id) => format!("screen-{}.token", digest(id)),
            ScreenTarget::Window(id) => format!("window-{}.token", digest(id)),
        };
        Self { path: state_dir.map(|dir| dir.join("portal").join(name)) }
    }

    /// The token, if there is one that can be used.
    pub(super) fn read(&self) -> Option<String> {
        let path = self.path.as_ref()?;
        let mut token = String::new();
        let read = fs::File::open(path).and_then(|file| file.take(MAX_TOKEN_BYTES + 1).read_to_string(&mut token));
        match read {
            Ok(len) if u64::try_from(len).is_ok_and(|len| (1..=MAX_TOKEN_BYTES).contains(&len)) => Some(token),
            Ok(len) => {
                tracing::warn!(len, "a remembered choice has a length that none has; the user will be asked again");
                None
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(%error, "a remembered choice cannot be read; the user will be asked again");
                None
            }
        }
    }

    /// Remembers the token instead of the last; `None`: forgets that.
    pub(super) fn replace(&self, token: Option<&str>) {
        let Some(path) = &self.path else {
            return;
        };
        let done = match token {
            Some(token) => write(path, token),
            None => match fs::remove_file(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            },
        };
        // The pictures come all the same.
        if let Err(error) = done {
            tracing::warn!(%error, "the user's choice cannot be remembered: {}", path.display());
        }
    }
}

fn digest(id: &str) -> String {
    let mut digits = hex::lower(&Sha256::digest(id));
    digits.truncate(32);
    digits
}

/// Written beside its place and moved there: whoever reads meanwhile reads the old one, and whole.
fn write(path: &Path, token: &str) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    }
    let fresh = path.with_extension(format!("{}.new", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)
        .and_then(|mut file| file.write_all(token.as_bytes()))
        .and_then(|()| fs::rename(&fresh, path));
    if written.is_err() {
        // It may not even be there.
        let _ = fs::remove_file(&fresh);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_token_is_the_users_alone_and_belongs_to_its_target() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let of = |target: &ScreenTarget| TokenFile::of(Some(&state), target);
        let (primary, other) = (ScreenTarget::Primary, ScreenTarget::Screen("../DP-1".to_owned()));
        assert_eq!(of(&primary).read(), None);
        of(&primary).replace(Some("one"));
        of(&other).replace(Some("two"));
        of(&primary).replace(Some("three"));
        assert_eq!((of(&primary).read().as_deref(), of(&other).read().as_deref()), (Some("three"), Some("two")));
        let folder = state.join("portal");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        let files: Vec<_> = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
        assert_eq!((files.len(), files.iter().all(|file| mode(file) == 0o600)), (2, true), "{files:?}");
        of(&other).replace(None);
        of(&other).replace(None);
        assert_eq!((of(&primary).read().as_deref(), of(&other).read()), (Some("three"), None));
    }

    #[test]
    fn what_cannot_be_a_token_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let file = TokenFile::of(Some(dir.path()), &ScreenTarget::Primary);
        let check = |len: usize, is_used: bool| {
            file.replace(Some(&"t".repeat(len)));
            assert_eq!(file.read().is_some(), is_used, "{len}");
        };
        check(4096, true);
        check(4097, false);
        check(0, false);
        let nowhere = TokenFile::of(None, &ScreenTarget::Primary);
        nowhere.replace(Some("token"));
        assert_eq!(nowhere.read(), None);
    }
}
