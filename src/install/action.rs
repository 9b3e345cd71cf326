//! The single steps of a plan, and how people read them.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::RegistryKey;

/// One thing that a plan does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make a folder.
    CreateDir {
        /// The folder.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// Move a file that is not ours aside.
    Backup {
        /// Where it stands.
        path: PathBuf,
        /// Where it goes.
        backup: PathBuf,
        /// Why it is not ours.
        reason: String,
    },
    /// Write a manifest.
    Write {
        /// The manifest.
        path: PathBuf,
        /// The whole file.
        contents: String,
        /// The browsers that read it.
        browser: String,
        /// Who may start the host then.
        allowed: Vec<String>,
        /// Entries of the manifest before that are not taken over, because no browser accepts them.
        refused: Vec<String>,
    },
    /// Let a registry key name a manifest.
    SetKey {
        /// The key.
        key: RegistryKey,
        /// The manifest.
        manifest: PathBuf,
        /// What it named before.
        was: Option<String>,
    },
    /// Nothing: it is as it should be, or not ours.
    Keep {
        /// The file.
        path: PathBuf,
        /// Why nothing is done.
        reason: String,
    },
    /// Remove a registry key, and those above it that nothing is left in.
    RemoveKey {
        /// The key.
        key: RegistryKey,
    },
    /// Remove a file.
    Remove {
        /// The file.
        path: PathBuf,
    },
    /// Remove a folder if it is empty by then.
    RemoveEmptyDir {
        /// The folder.
        path: PathBuf,
    },
}

impl Action {
    /// Whether it would change anything by itself.
    pub const fn is_change(&self) -> bool {
        match self {
            Self::CreateDir { .. }
            | Self::Backup { .. }
            | Self::Write { .. }
            | Self::SetKey { .. }
            | Self::RemoveKey { .. }
            | Self::Remove { .. } => true,
            Self::Keep { .. } | Self::RemoveEmptyDir { .. } => false,
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateDir { path, mode: _ } => write!(formatter, "create the folder {}", path.display()),
            Self::Backup { path, backup, reason } => {
                write!(formatter, "move {} to {}: it is not ours ({reason})", path.display(), file_name(backup))
            }
            Self::Write { path, browser, allowed, refused, contents: _ } => {
                write!(formatter, "write {}: {browser} starts the host for", path.display())?;
                for id in allowed {
                    write!(formatter, " {id}")?;
                }
                for entry in refused {
                    write!(formatter, "\n  dropping {entry:?}, which no browser accepts")?;
                }
                Ok(())
            }
            Self::SetKey { key, manifest, was } => {
                write!(formatter, "set {} to {}", key.describe(), manifest.display())?;
                was.as_ref().map_or(Ok(()), |was| write!(formatter, ", it was {was}"))
            }
            Self::Keep { path, reason } => write!(formatter, "leave {}: {reason}", path.display()),
            Self::RemoveKey { key } => write!(formatter, "remove {}", key.describe()),
            Self::Remove { path } => write!(formatter, "remove {}", path.display()),
            Self::RemoveEmptyDir { path } => write!(formatter, "remove the folder {} if it is empty", path.display()),
        }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
