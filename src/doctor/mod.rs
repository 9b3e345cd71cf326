//! Looks for what keeps framehost from working, and says what to do about it.
//!
//! Belongs here: the checks, one file for each kind. Does not belong here: changing anything, printing (`cli`).
//!
//! Invariants:
//! - Every finding has a name that stays the same ([`Finding::check`]), and one that is not [`Level::Ok`] ends with what to
//!   do. Where a command does it, the advice begins with that command, whole and quoted, up to the first `; `: people copy
//!   it, and tests run it.
//! - Nothing is changed: no file is written, no hub is started. Programs are started to tell their version only.

mod cache;
mod configuration;
mod crash;
mod hub;
mod machine;
mod manifest;
mod policy;
mod sandbox;
#[cfg_attr(unix, path = "system/unix.rs")]
#[cfg_attr(windows, path = "system/windows.rs")]
mod system;

use std::{io, path::Path};

use serde::Serialize;

pub(crate) use self::system::{process_of_lock, shown_to_others};
pub use self::{
    cache::check_cache,
    configuration::{check_config, check_environment},
    crash::check_crashes,
    hub::{HubFacts, HubProcess, HubState, check_hub},
    machine::{check_devices, check_port, check_relay, check_runtime_dir, check_state_dir},
    manifest::{Wanted, check_browsers},
    policy::check_policies,
    sandbox::check_sandboxes,
};

use crate::user;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Something works less well, or somewhere not.
    Warning,
    /// framehost does not work.
    Error,
}

impl Level {
    /// `ok`, `warning`, `error`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// What the user wants to do with a file or a folder.
#[derive(Debug, Clone, Copy)]
enum Access {
    /// Go on to what is in a folder.
    Enter,
    /// See what is in a folder.
    List,
    /// Change a file, or what is in a folder.
    Write,
    /// Put something into a folder.
    Into,
    /// Make a folder in a folder.
    Above,
    /// Use a device.
    Device,
}

/// Whose a file or a folder is, which decides what is advised: nobody is told to take what may be another's for a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// The user's, or not there.
    Own,
    /// Somebody else's in a place of the user's: a sudo has left it, as a rule.
    InOwnPlace,
    /// Somebody else's, and the user's home is there or below.
    AboveHome,
    /// Somebody else's.
    Others,
}

/// What to do where `HOME` is not the user's.
const OWN_HOME: &str = "set HOME to your own home directory, as a login does";

/// What was looked at, and how it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The name of the check: `host_missing`.
    pub check: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What it is about: a path, a browser.
    pub subject: String,
    /// What was found.
    pub message: String,
    /// What to do; empty where nothing is to be done.
    pub advice: String,
}

impl Finding {
    pub(crate) fn ok(check: &'static str, subject: impl ToString, message: impl ToString) -> Self {
        let (subject, message) = (subject.to_string(), message.to_string());
        Self { check, level: Level::Ok, subject, message, advice: String::new() }
    }

    pub(crate) fn warning(
        check: &'static str,
        subject: impl ToString,
        message: impl ToString,
        advice: impl ToString,
    ) -> Self {
        Self { level: Level::Warning, advice: advice.to_string(), ..Self::ok(check, subject, message) }
    }

    pub(crate) fn error(
        check: &'static str,
        subject: impl ToString,
        message: impl ToString,
        advice: impl ToString,
    ) -> Self {
        Self { level: Level::Error, advice: advice.to_string(), ..Self::ok(check, subject, message) }
    }
}

/// The command that moves what is in the way aside, to a name that nothing has.
fn aside(path: &Path) -> String {
    let names = (1_u32..).map(|number| if number == 1 { "bad".to_owned() } else { format!("bad{number}") });
    let mut places = names.map(|extension| path.with_extension(extension));
    let free = places.find(|place| place.symlink_metadata().is_err()).unwrap_or_default();
    format!("mv {} {}", quoted(path), quoted(&free))
}

/// What to do with a file or a folder that has to be the user's, and refuses with `error`; `mode`: what its owner lacks.
/// `elsewhere`: what to do where it was never the user's.
fn unlocked(path: &Path, mode: &str, error: &io::Error, elsewhere: &str) -> String {
    match (error.kind(), system::whose(path)) {
        (io::ErrorKind::ReadOnlyFilesystem, _) => {
            format!("mount its file system so that it can be written to; or {elsewhere}")
        }
        // What a link leads to may be a disk that is not mounted: nothing to be moved, and nothing to be made anew.
        (io::ErrorKind::NotFound, _) => format!("mount or put back what it leads to; or {elsewhere}"),
        // A device that HOME or a variable names is nothing to be moved.
        (io::ErrorKind::NotADirectory, Whose::Own | Whose::InOwnPlace) if is_in_the_way(path) => aside(path),
        (io::ErrorKind::NotADirectory, _) | (_, Whose::Others) => elsewhere.to_owned(),
        (_, Whose::Own) => system::chmod(mode, path),
        (_, Whose::InOwnPlace) => system::take_over(path),
        (_, Whose::AboveHome) if system::has_own_home() => elsewhere.to_owned(),
        (_, Whose::AboveHome) => OWN_HOME.to_owned(),
    }
}

/// What to do with a folder that everybody may change. `elsewhere`: what to do where it may be meant so.
fn closed_to_all(folder: &Path, elsewhere: &str) -> String {
    match system::whose(folder) {
        Whose::Own => system::chmod("o-w", folder),
        Whose::InOwnPlace | Whose::AboveHome => system::chmod_as_root("o-w", folder),
        Whose::Others => elsewhere.to_owned(),
    }
}

/// Is it a file or a link, which stands where a folder has to be?
fn is_in_the_way(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_file() || found.is_symlink())
}

/// The nearest that is there, and why `path` cannot be made in it, or nothing in `path` itself.
fn closed(path: &Path) -> Option<(&Path, io::Error)> {
    let there = user::nearest(path)?;
    if let Some(error) = user::leads_nowhere(path) {
        return Some((there, error));
    }
    if !there.is_dir() {
        return Some((there, io::Error::from(io::ErrorKind::NotADirectory)));
    }
    let access = if there == path { Access::Into } else { Access::Above };
    system::may(there, access).err().map(|error| (there, error))
}

/// The outermost folder on the way to `path` that the user may not enter, or `path` itself.
fn outermost_closed(path: &Path) -> &Path {
    let mut folders: Vec<&Path> = path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty()).collect();
    folders.reverse();
    let is_closed = |folder: &&Path| system::may(folder, Access::Enter).is_err();
    folders.into_iter().find(is_closed).unwrap_or(path)
}

/// The outermost folder on the way to `path` in which everybody on the machine could put something else, if they get to it.
fn open_to_all(path: &Path) -> Option<&Path> {
    let mut open = None;
    for folder in path.ancestors().skip(1).filter(|folder| folder.is_dir()) {
        if system::is_closed_to_others(folder) {
            open = None;
        } else if system::is_open_to_all(folder) {
            open = Some(folder);
        }
    }
    open
}

/// `path` as one word of a shell.
pub(crate) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = if cfg!(windows) { r"\._-+@:," } else { "/._-+@%:," };
    if !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || plain.contains(letter)) {
        text
    } else if cfg!(windows) {
        // cmd knows no others, and no name has one in it.
        format!("\"{text}\"")
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(windows)]
    #[test]
    fn a_path_is_one_word_of_cmd() {
        assert_eq!(quoted(Path::new(r"C:\bin\framehost.exe")), r"C:\bin\framehost.exe");
        assert_eq!(quoted(Path::new(r"C:\it's a & b")), r#""C:\it's a & b""#);
    }

    #[cfg(unix)]
    #[test]
    fn a_path_is_one_word_of_a_shell() {
        assert_eq!(quoted(Path::new("/usr/bin/framehost-relay")), "/usr/bin/framehost-relay");
        for (path, word) in [
            ("/home/a b", "'/home/a b'"),
            ("/home/o'hara", r"'/home/o'\''hara'"),
            ("/home/$HOME/`x`", "'/home/$HOME/`x`'"),
            ("/home/\u{fc}", "'/home/\u{fc}'"),
            ("~/x", "'~/x'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(Path::new(path)), word);
        }
    }
}
