//! The browser table: which browsers there are, and where each looks for manifests on every system.
//!
//! Belongs here: reading `manifests/browsers.json`. Does not belong here: any browser's name or path (the table has them),
//! where a cell is on this machine (`places`), the disk.

use std::sync::LazyLock;

use serde::Deserialize;

use super::{InstallError, Scope};

static TABLE: LazyLock<Vec<Browser>> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "the table is part of the program, and a test reads it")]
    let table: Table = serde_json::from_str(include_str!("../../manifests/browsers.json")).expect("the browser table");
    table.browsers
});

/// One row of the browser table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Browser {
    id: String,
    name: String,
    family: Family,
    fallback: bool,
    pub(super) linux: Folders,
    pub(super) macos: Folders,
    pub(super) windows: Vec<KeyCell>,
    snap: Vec<String>,
    flatpak: Vec<String>,
    linux_policies: Vec<String>,
}

/// Which template a browser's manifest is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// `manifests/chromium.json`: `allowed_origins`.
    Chromium,
    /// `manifests/firefox.json`: `allowed_extensions`.
    Firefox,
}

impl Family {
    /// `chromium`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Chromium => "chromium",
            Self::Firefox => "firefox",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Table {
    browsers: Vec<Browser>,
}

/// A system's folders in a row.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Folders {
    user: Vec<FolderCell>,
    system: Vec<FolderCell>,
}

/// A folder of manifests.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FolderCell {
    pub(super) base: Base,
    /// The browser's own folder, below `base`.
    pub(super) data: String,
    /// The folder of manifests, below `base`.
    pub(super) manifests: String,
    /// What is there once the browser has been started, below `base`; `data` unless it is told.
    pub(super) started: Option<String>,
    /// More folders of which any tells the same.
    #[serde(default)]
    pub(super) started_also: Vec<StartedCell>,
    /// Only written to where `data` is there.
    #[serde(default)]
    pub(super) optional: bool,
    #[serde(default)]
    pub(super) shared_with: Vec<String>,
    pub(super) verified: bool,
    pub(super) source: String,
}

/// A folder that is there once a browser has been started.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StartedCell {
    pub(super) base: Base,
    /// Below `base`.
    pub(super) path: String,
}

/// A registry key, below the hive of a scope, in which each host has a key of its own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KeyCell {
    pub(super) key: String,
    #[serde(default)]
    pub(super) shared_with: Vec<String>,
    pub(super) verified: bool,
    pub(super) source: String,
}

/// What a folder's path is relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Base {
    ConfigHome,
    DataHome,
    Home,
    ApplicationSupport,
    Root,
}

impl Folders {
    pub(super) fn of(&self, scope: Scope) -> &[FolderCell] {
        match scope {
            Scope::User => &self.user,
            Scope::System => &self.system,
        }
    }
}

/// All rows, in the table's order.
pub fn browsers() -> &'static [Browser] {
    &TABLE
}

/// The rows with these ids, in the order given.
///
/// # Errors
///
/// [`InstallError::UnknownBrowser`], which names those that are known.
pub(super) fn named(ids: &[String]) -> Result<Vec<&'static Browser>, InstallError> {
    ids.iter()
        .map(|id| {
            browsers().iter().find(|browser| browser.id == *id).ok_or_else(|| InstallError::UnknownBrowser {
                given: id.clone(),
                known: browsers().iter().map(Browser::id).collect::<Vec<_>>().join(", "),
            })
        })
        .collect()
}

impl Browser {
    /// What the command line calls it: `chrome-beta`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What people call it: `Google Chrome Beta`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which template its manifest is made from.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Whether it is written to when no browser of the table is there yet.
    pub fn is_fallback(&self) -> bool {
        self.fallback
    }

    /// Its snap packages.
    pub fn snaps(&self) -> &[String] {
        &self.snap
    }

    /// Its flatpak ids.
    pub fn flatpaks(&self) -> &[String] {
        &self.flatpak
    }

    /// Where Linux keeps an administrator's policies for it, below the root.
    pub fn policy_folders(&self) -> &[String] {
        &self.linux_policies
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn every_browser_that_is_asked_for_has_a_row_of_its_own() {
        let ids: BTreeSet<&str> = browsers().iter().map(Browser::id).collect();
        assert_eq!(ids.len(), browsers().len());
        for id in [
            "chrome",
            "chrome-beta",
            "chrome-unstable",
            "chrome-canary",
            "chrome-for-testing",
            "chromium",
            "edge",
            "edge-beta",
            "edge-dev",
            "edge-canary",
            "brave",
            "vivaldi",
            "vivaldi-snapshot",
            "opera",
            "arc",
            "yandex",
            "firefox",
            "firefox-developer",
            "firefox-esr",
            "librewolf",
            "tor",
            "thunderbird",
        ] {
            assert!(ids.contains(id), "{id}");
        }
    }

    #[test]
    fn every_cell_is_below_its_base_has_a_source_and_says_who_else_reads_it() {
        for scope in [Scope::User, Scope::System] {
            for folders in [|row: &'static Browser| &row.linux, |row: &'static Browser| &row.macos] {
                let mut readers: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
                let place = |cell: &FolderCell| format!("{:?} {}", cell.base, cell.manifests);
                for row in browsers() {
                    for cell in folders(row).of(scope) {
                        readers.entry(place(cell)).or_default().insert(row.id());
                        assert!(!cell.source.is_empty(), "{cell:?}");
                        assert!(cell.verified || cell.source.len() > 10, "{cell:?}");
                        assert_eq!(cell.base == Base::Root, scope == Scope::System, "{cell:?}");
                        assert!(cell.manifests.starts_with(&format!("{}/", cell.data)), "{cell:?}");
                        let also = cell.started_also.iter().map(|also| &also.path);
                        let paths = [Some(&cell.data), Some(&cell.manifests), cell.started.as_ref()];
                        for path in paths.into_iter().flatten().chain(also) {
                            let is_plain =
                                |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\\', '\0']);
                            assert!(path.split('/').all(is_plain), "{cell:?}");
                        }
                    }
                }
                for row in browsers() {
                    for cell in folders(row).of(scope) {
                        let told: BTreeSet<&str> =
                            cell.shared_with.iter().map(String::as_str).chain([row.id()]).collect();
                        assert_eq!(readers[&place(cell)], told, "{}: {cell:?}", row.id());
                    }
                }
            }
        }
    }

    #[test]
    fn every_key_is_below_software_has_a_source_and_says_who_else_reads_it() {
        let mut readers: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for row in browsers() {
            assert!(!row.windows.is_empty(), "{}", row.id());
            for cell in &row.windows {
                assert!(cell.key.starts_with("Software\\") && cell.key.ends_with("\\NativeMessagingHosts"), "{cell:?}");
                assert!(!cell.source.is_empty() && (cell.verified || cell.source.len() > 10), "{cell:?}");
                readers.entry(&cell.key).or_default().insert(row.id());
            }
        }
        for row in browsers() {
            for cell in &row.windows {
                let told: BTreeSet<&str> = cell.shared_with.iter().map(String::as_str).chain([row.id()]).collect();
                assert_eq!(readers[cell.key.as_str()], told, "{}", row.id());
            }
        }
    }

    #[test]
    fn an_unknown_browser_is_answered_with_the_known_ones() {
        let error = named(&["netscape".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("netscape") && error.contains("chromium, chrome,"), "{error}");
    }
}
