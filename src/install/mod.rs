//! Registers this program as a native-messaging host with the browsers of one user, and takes that back.
//!
//! Belongs here: the browser table, host manifests, the plan of what to write and remove, carrying it out.
//! Does not belong here: reading the environment and printing (`cli`).
//!
//! Invariants:
//! - A plan is a pure function of what [`survey`] found, the extension ids and the program's path. Only `survey`,
//!   [`HostBinary::check`] and [`Plan::execute`] touch the disk.
//! - Installing twice changes nothing the second time. Extensions that were allowed before stay allowed.
//! - A file that framehost did not write is never lost: it is moved aside, and the plan says so.
//! - A manifest appears whole or not at all (written beside its place, then renamed).
//!
//! Data path: [`Selection`] -> [`survey`] -> [`plan_install`] or [`plan_uninstall`] -> [`Plan::execute`].
//!
//! What is on disk afterwards:
//!
//! ```text
//! <user data dir>/                      0700 if it was made here, as the browser makes it
//! └── NativeMessagingHosts/             0755
//!     ├── com.framehost.host.json       0644
//!     └── com.framehost.host.json.bak   what stood there before, if it was not ours
//! ```

use std::path::PathBuf;

use crate::error::ErrorKind;

mod browsers;
mod disk;
mod extension_id;
mod manifest;
mod plan;

pub use browsers::{Browser, Family, browsers};
pub use disk::{HostBinary, Selection, survey};
pub use extension_id::{EXTENSION_ID_LETTERS, ExtensionId};
pub use manifest::{HostManifest, host_name};
pub use plan::{Action, Found, Plan, Target, plan_install, plan_uninstall};

/// Folder of host manifests in a browser's user data directory.
///
/// Source: chromium/chromium `chrome/common/chrome_paths.cc`, `DIR_USER_NATIVE_MESSAGING`.
pub const MANIFEST_DIR: &str = "NativeMessagingHosts";

/// The directories that the browser table is relative to. Both are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallDirs {
    /// `$XDG_CONFIG_HOME`, else `~/.config`.
    pub config_home: PathBuf,
    /// The user's home directory.
    pub home: PathBuf,
}

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

    /// A manifest without extensions allows nobody.
    #[error("no extension id was given; the browser starts the host for named extensions only")]
    NoExtensionId,

    /// Not in the browser table.
    #[error("unknown browser {given:?}; known are {known}")]
    UnknownBrowser { given: String, known: String },

    /// A directory belongs to one browser.
    #[error("a user data directory belongs to one browser, and several were named: {browsers}")]
    UserDataDirOfSeveral { browsers: String },

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

    /// JSON, and so a manifest, carries UTF-8 only.
    #[error("a host manifest cannot hold a path that is not UTF-8: {}", path.display())]
    PathNotUtf8 { path: PathBuf },

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
            | Self::NoExtensionId
            | Self::UnknownBrowser { .. }
            | Self::UserDataDirOfSeveral { .. }
            | Self::BinaryRelative { .. }
            | Self::PathNotUtf8 { .. } => ErrorKind::InvalidArgument,
            Self::BinaryMissing { .. } => ErrorKind::NotFound,
            Self::BinaryNotAFile { .. } | Self::BinaryNotExecutable { .. } => ErrorKind::FailedPrecondition,
            Self::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                    ErrorKind::PermissionDenied
                }
                std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => ErrorKind::ResourceExhausted,
                _ => ErrorKind::Internal,
            },
        }
    }
}
