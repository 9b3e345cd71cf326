//! A place where a manifest stands or would stand, who reads it, and what is there now.

use std::path::PathBuf;

use super::{
    Browser, HostManifest, InstallDirs, InstallError, Place, RegistryKey, Scope, System, browsers, places, table,
};

/// A place where a manifest could stand, and what is there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub(super) place: Place,
    /// The rows of the table that read it.
    pub(super) readers: Vec<Reader>,
    /// It was named by its folder, whoever reads it.
    pub(super) is_custom: bool,
    /// The browser's own folder, or framehost's on Windows.
    pub(super) data_exists: bool,
    /// The outermost first.
    pub(super) missing_folders: Vec<PathBuf>,
    /// Folders that may go with the manifest if nothing is left in them, the innermost first.
    pub(super) removable_folders: Vec<PathBuf>,
    pub(super) found: Found,
    /// Its readers may read the file, and nobody but the user or root may change it.
    pub(super) is_sound: bool,
    /// What each of the place's registry keys names.
    pub(super) named_by: Vec<(RegistryKey, Option<String>)>,
}

/// A row of the table that reads a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reader {
    pub(super) browser: &'static Browser,
    pub(super) is_named: bool,
    /// Folders of which any tells that the browser has been started; none: the registry does.
    pub(super) started: Vec<PathBuf>,
    pub(super) is_started: bool,
    pub(super) is_optional: bool,
}

/// What stands in a manifest's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Absent,
    /// A manifest of this host: what it says, and its text.
    Ours(HostManifest, String),
    /// Something else.
    Other {
        /// Why it is not a manifest of this host.
        reason: String,
        /// A path beside it that is free.
        backup: PathBuf,
    },
}

/// Every place of the table on `system` for `scope`, each once, as if nothing were on the disk. `named`: ids of the table.
///
/// # Errors
///
/// [`InstallError::UnknownBrowser`], and [`InstallError::NoPlace`] where a named browser has none of that scope.
pub fn targets(
    named: &[String],
    system: System,
    scope: Scope,
    dirs: &InstallDirs,
) -> Result<Vec<Target>, InstallError> {
    let named = table::named(named)?;
    let mut targets: Vec<Target> = Vec::new();
    for browser in browsers() {
        let is_named = named.contains(&browser);
        let places = places(browser, system, scope, dirs);
        if is_named && places.is_empty() {
            return Err(InstallError::NoPlace { browser: browser.name().to_owned() });
        }
        for found in places {
            let reader =
                Reader { browser, is_named, started: found.started, is_started: false, is_optional: found.is_optional };
            match targets.iter_mut().find(|target| target.place.is_same(&found.place)) {
                Some(target) => target.readers.push(reader),
                None => targets.push(Target::new(found.place, vec![reader])),
            }
        }
    }
    Ok(targets)
}

impl Target {
    /// A place at which nothing is.
    pub(super) fn new(place: Place, readers: Vec<Reader>) -> Self {
        Self {
            readers,
            is_custom: false,
            data_exists: false,
            missing_folders: place.folders.clone(),
            removable_folders: Vec::new(),
            found: Found::Absent,
            is_sound: true,
            named_by: place.keys.iter().map(|key| (key.clone(), None)).collect(),
            place,
        }
    }

    /// Where.
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// What people call the browsers: those that are meant or there, else all that would read it.
    pub fn browser_names(&self) -> String {
        let meant: Vec<&str> = self.meant().map(|reader| reader.browser.name()).collect();
        if !meant.is_empty() {
            return meant.join(", ");
        }
        let all: Vec<&str> = self.readers.iter().map(|reader| reader.browser.name()).collect();
        if all.is_empty() { format!("the browser of {}", self.place.data.display()) } else { all.join(", ") }
    }

    /// What stands there.
    pub const fn found(&self) -> &Found {
        &self.found
    }

    /// Whether one of its browsers has been started on this machine.
    pub fn is_started(&self) -> bool {
        self.readers.iter().any(|reader| reader.is_started)
    }

    /// Whether it was named by its folder.
    pub const fn is_custom(&self) -> bool {
        self.is_custom
    }

    /// The first row of the table that reads it.
    pub fn first_reader(&self) -> Option<&'static Browser> {
        self.readers.first().map(|reader| reader.browser)
    }

    /// Whether `browser` reads it.
    pub fn is_read_by(&self, browser: &Browser) -> bool {
        self.readers.iter().any(|reader| reader.browser == browser)
    }

    /// Whether a browser that has been started and reads this place reads the other as well.
    pub fn shares_reader(&self, other: &Self) -> bool {
        other.readers.iter().any(|reader| reader.is_started && self.is_read_by(reader.browser))
    }

    /// Whether its browsers that have been started read it only perhaps.
    pub fn is_optional(&self) -> bool {
        self.meant().all(|reader| reader.is_optional)
    }

    pub(super) fn is_named(&self) -> bool {
        self.is_custom || self.readers.iter().any(|reader| reader.is_named)
    }

    /// Is it written where no browser of its family has been started yet?
    pub fn is_fallback(&self) -> bool {
        self.readers.iter().any(|reader| reader.browser.is_fallback() && !reader.is_optional)
    }

    /// Whether those for whom it would be written read it only perhaps, and there is nothing of its browser.
    pub(super) fn is_left_out(&self) -> bool {
        let only_perhaps = match self.meant().next() {
            Some(_) => self.meant().all(|reader| reader.is_optional),
            None => self.readers.iter().all(|reader| reader.is_optional),
        };
        !self.is_custom && only_perhaps && !self.data_exists
    }

    /// A browser that goes on reading it when those that were named have no use for it any more.
    pub(super) fn remaining_reader(&self) -> Option<&'static Browser> {
        // Channels of one browser share their folder: they cannot be told apart.
        let is_another = |reader: &Reader| !self.readers.iter().any(|r| r.is_named && r.started == reader.started);
        let goes_on = |reader: &&Reader| reader.is_started && !reader.is_optional && is_another(reader);
        let tells_them_apart = self.place.scope == Scope::User && self.place.keys.is_empty() && !self.is_custom;
        self.readers.iter().filter(|_| tells_them_apart).find(goes_on).map(|reader| reader.browser)
    }

    fn meant(&self) -> impl Iterator<Item = &Reader> {
        let is_any_named = self.readers.iter().any(|reader| reader.is_named);
        self.readers.iter().filter(move |reader| if is_any_named { reader.is_named } else { reader.is_started })
    }
}
