//! The browser table: which browsers there are and where each keeps its user data.
//!
//! Belongs here: reading `manifests/browsers.json`, and the path that a row stands for.
//! Does not belong here: any browser's name or path (the table has them), the disk.

use std::{path::PathBuf, sync::LazyLock};

use serde::Deserialize;

use super::{InstallDirs, InstallError};

static TABLE: LazyLock<Vec<Browser>> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "the table is part of the program, and a test reads it")]
    let table: Table = serde_json::from_str(include_str!("../../manifests/browsers.json")).expect("the browser table");
    table.browsers
});

/// One row of the browser table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Browser {
    id: String,
    name: String,
    family: Family,
    fallback: bool,
    user_data_dir: UserDataDir,
}

/// Which template a browser's manifest is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// `manifests/chromium.json`: `allowed_origins`.
    Chromium,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Table {
    browsers: Vec<Browser>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct UserDataDir {
    linux: Cell,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Cell {
    base: Base,
    path: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Base {
    ConfigHome,
    Home,
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

    /// Where it keeps its user data on Linux, unless it is started with `--user-data-dir`.
    pub fn user_data_dir(&self, dirs: &InstallDirs) -> PathBuf {
        let cell = &self.user_data_dir.linux;
        match cell.base {
            Base::ConfigHome => dirs.config_home.join(&cell.path),
            Base::Home => dirs.home.join(&cell.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, path::Path};

    use super::*;

    fn dirs() -> InstallDirs {
        InstallDirs { config_home: "/home/ü/.config".into(), home: "/home/ü".into() }
    }

    #[test]
    fn every_row_has_its_own_id_and_directory() {
        let ids: BTreeSet<&str> = browsers().iter().map(Browser::id).collect();
        let paths: BTreeSet<PathBuf> = browsers().iter().map(|browser| browser.user_data_dir(&dirs())).collect();
        assert!(!browsers().is_empty());
        assert_eq!(ids.len(), browsers().len());
        assert_eq!(paths.len(), browsers().len());
    }

    #[test]
    fn every_cell_is_below_its_base_and_has_a_source() {
        let table: serde_json::Value = serde_json::from_str(include_str!("../../manifests/browsers.json")).unwrap();
        for row in table["browsers"].as_array().unwrap() {
            for cell in row["user_data_dir"].as_object().unwrap().values() {
                assert!(Path::new(cell["path"].as_str().unwrap()).is_relative(), "{row}");
                assert!(!cell["path"].as_str().unwrap().contains(".."), "{row}");
                assert!(!cell["source"].as_str().unwrap().is_empty(), "{row}");
            }
        }
    }

    #[test]
    fn rows_stand_for_the_directories_that_the_browsers_use() {
        for (id, expected) in [
            ("chromium", "/home/ü/.config/chromium"),
            ("chrome", "/home/ü/.config/google-chrome"),
            ("chrome-beta", "/home/ü/.config/google-chrome-beta"),
            ("chrome-unstable", "/home/ü/.config/google-chrome-unstable"),
        ] {
            let rows = named(&[id.to_owned()]).unwrap();
            assert_eq!(rows[0].user_data_dir(&dirs()), Path::new(expected));
        }
    }

    #[test]
    fn a_cell_may_be_relative_to_home() {
        let cell: Cell = serde_json::from_str(r#"{"base": "home", "path": ".x", "source": "-"}"#).unwrap();
        assert_eq!(cell.base, Base::Home);
    }

    #[test]
    fn an_unknown_browser_is_answered_with_the_known_ones() {
        let error = named(&["netscape".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("netscape") && error.contains("chromium, chrome,"), "{error}");
    }
}
