//! Registers this program as a native-messaging host with the browsers of a user or of the machine, and takes that back.
//!
//! Belongs here: the browser table, host manifests, the plan of what to write and remove, carrying it out.
//! Does not belong here: reading the environment and printing (`cli`).
//!
//! Invariants:
//! - Where a browser looks is a pure function of the browser, the system, the scope and the directories ([`places`]), and
//!   a plan is one of what [`survey`] found there, the extension ids and the program's path. Only `survey`,
//!   [`HostBinary`] and [`Plan::execute`] touch the disk or the registry.
//! - Installing twice changes nothing the second time. Extensions that were allowed before stay allowed.
//! - A file that framehost did not write is never lost: it is moved aside, and the plan says so.
//! - A manifest appears whole or not at all (written beside its place, then renamed).
//!
//! Data path: [`Selection`] -> [`survey`] of its [`targets`] -> [`plan_install`] or [`plan_uninstall`] ->
//! [`Plan::execute`].
//!
//! What is on disk afterwards, for a Chromium on Linux (`manifests/browsers.json` has the others):
//!
//! ```text
//! <user data dir>/                      0700 if it was made here, as the browser makes it
//! └── NativeMessagingHosts/             0755
//!     ├── com.framehost.host.json       0644
//!     └── com.framehost.host.json.bak   what stood there before, if it was not ours
//! ```

use std::path::PathBuf;

use crate::error::{ErrorKind, is_lack};

mod action;
mod disk;
mod extension_id;
mod firefox_id;
mod host_binary;
mod manifest;
mod permissions;
mod places;
mod plan;
mod registry;
mod sandboxed;
mod starts;
mod survey;
mod table;
mod target;
#[cfg(test)]
mod tests;

pub use action::Action;
pub use extension_id::{EXTENSION_ID_LETTERS, ExtensionId};
pub use firefox_id::{FirefoxId, MAX_FIREFOX_ID};
pub use host_binary::HostBinary;
pub use manifest::{Allowed, HostManifest, allow_list, host_name};
pub use places::{BrowserPlace, Hive, InstallDirs, Place, RegistryKey, Scope, System, View, places};
pub use plan::{Plan, plan_install, plan_uninstall, plan_uninstall_own};
pub use sandboxed::{Sandbox, Sandboxed, sandboxed};
pub(crate) use starts::starts;
pub use survey::{MAX_MANIFEST_BYTES, Selection, survey};
pub use table::{Browser, Family, browsers};
pub use target::{Found, Target, targets};

/// Folder of host manifests in a Chromium's user data directory.
///
/// Source: chromium/chromium `chrome/common/chrome_paths.cc`, `DIR_USER_NATIVE_MESSAGING`.
pub const MANIFEST_DIR: &str = "NativeMessagingHosts";

/// What was being done to a path when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Reading a file or its properties.
    Read,
    /// Making a folder.
    CreateDir,
    /// Writing a file beside its place, and moving it there.
    Write,
    /// Moving a file aside.
    Backup,
    /// Removing a file or an empty folder.
    Remove,
    /// Making a relative path absolute.
    Resolve,
}

impl Step {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::CreateDir => "create the folder",
            Self::Write => "write",
            Self::Backup => "move aside",
            Self::Remove => "remove",
            Self::Resolve => "find",
        }
    }
}

/// Why a browser could not be told about this host.
#[expect(missing_docs, reason = "each field is named in its variant's message")]
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// An extension id of the wrong length.
    #[error(
        "an extension id is {EXTENSION_ID_LETTERS} letters from a to p, as chrome://extensions shows it; \
         got {length} characters: {given:?}"
    )]
    ExtensionIdLength { given: String, length: usize },

    /// An extension id with another character in it.
    #[error(
        "an extension id is {EXTENSION_ID_LETTERS} letters from a to p, as chrome://extensions shows it; \
         character {position} is {letter:?} in {given:?}"
    )]
    ExtensionIdLetter { given: String, letter: char, position: usize },

    /// Not the id of a Firefox extension.
    #[error(
        "the id of a Firefox extension is name@example.org or a GUID in braces, of at most {MAX_FIREFOX_ID} characters, \
         as about:debugging shows it; got {given:?}"
    )]
    FirefoxId { given: String },

    /// A manifest without extensions allows nobody.
    #[error(
        "no extension id was given; browsers start the host for named extensions only: --extension-id (Chromium's), \
         --firefox-id (Firefox's)"
    )]
    NoExtensionId,

    /// Chromium's and Firefox's extensions have different ids.
    #[error("{browser} starts the host for named extensions only: give {option}")]
    NoIdForBrowser { browser: String, option: &'static str },

    /// A browser that is not there on this system, or not for that scope.
    #[error("{browser} reads no manifests of this scope on this system")]
    NoPlace { browser: String },

    /// Not in the browser table.
    #[error("unknown browser {given:?}; known are {known}")]
    UnknownBrowser { given: String, known: String },

    /// A directory belongs to one browser.
    #[error("a user data directory belongs to one browser, and several were named: {browsers}")]
    UserDataDirOfSeveral { browsers: String },

    /// Directories are a user's.
    #[error("a user data directory is a user's: it does not go with the scope of the whole system")]
    UserDataDirOfSystem,

    /// The registry is asked, whatever the directory.
    #[error("on Windows a browser asks the registry, whatever its user data directory: name it with --browser")]
    UserDataDirOnWindows,

    /// A profile holds no manifests.
    #[error("{browser} reads manifests in one place, whatever its profile: leave --user-data-dir out")]
    UserDataDirOfFirefox { browser: String },

    /// A folder cannot be made there.
    #[error("a user data directory is a folder, and {} is none", path.display())]
    UserDataDirNotAFolder { path: PathBuf },

    /// A shell makes a home of it at the beginning of a word only.
    #[error(
        "the shell has left the ~ of --user-data-dir={} as it is, as no word begins with it: write \"$HOME/…\"",
        path.display()
    )]
    UserDataDirTilde { path: PathBuf },

    /// The browser refuses relative paths.
    #[error("the path of the host program must be absolute, got {}", path.display())]
    BinaryRelative { path: PathBuf },

    /// Nothing is there.
    #[error("the host program does not exist: {}", path.display())]
    BinaryMissing { path: PathBuf },

    /// A folder, for example.
    #[error("the host program is not a file: {}", path.display())]
    BinaryNotAFile { path: PathBuf },

    /// The browser could not start it.
    #[error("the host program is not executable (mode {mode:04o}); chmod +x it: {}", path.display())]
    BinaryNotExecutable { mode: u32, path: PathBuf },

    /// A part of it was copied, for example.
    #[error("the host program {} {problem}", path.display())]
    BinaryBroken { problem: String, path: PathBuf },

    /// JSON, and so a manifest, carries UTF-8 only.
    #[error("a host manifest cannot hold a path that is not UTF-8: {}", path.display())]
    PathNotUtf8 { path: PathBuf },

    /// The registry refused.
    #[error("cannot change the registry key {key}: {source}")]
    Registry { key: String, source: std::io::Error },

    /// The operating system refused.
    #[error("cannot {} {}: {source}", step.as_str(), path.display())]
    Io { step: Step, path: PathBuf, source: std::io::Error },
}

impl InstallError {
    /// Class reported to peers.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::ExtensionIdLength { .. }
            | Self::ExtensionIdLetter { .. }
            | Self::FirefoxId { .. }
            | Self::NoExtensionId
            | Self::NoIdForBrowser { .. }
            | Self::NoPlace { .. }
            | Self::UnknownBrowser { .. }
            | Self::UserDataDirOfSystem
            | Self::UserDataDirOnWindows
            | Self::UserDataDirOfFirefox { .. }
            | Self::UserDataDirOfSeveral { .. }
            | Self::UserDataDirTilde { .. }
            | Self::BinaryRelative { .. }
            | Self::PathNotUtf8 { .. } => ErrorKind::InvalidArgument,
            Self::BinaryMissing { .. } => ErrorKind::NotFound,
            Self::BinaryNotAFile { .. }
            | Self::BinaryNotExecutable { .. }
            | Self::BinaryBroken { .. }
            | Self::UserDataDirNotAFolder { .. } => ErrorKind::FailedPrecondition,
            Self::Io { source, .. } | Self::Registry { source, .. } => match source.kind() {
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                    ErrorKind::PermissionDenied
                }
                std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                std::io::ErrorKind::AlreadyExists | std::io::ErrorKind::NotADirectory => ErrorKind::AlreadyExists,
                _ if is_lack(source) => ErrorKind::ResourceExhausted,
                _ => ErrorKind::Internal,
            },
        }
    }
}
