//! Where a browser looks for manifests on a system: folders, or registry keys that name a file.
//!
//! Belongs here: a pure function of (browser, system, scope, directories), the same on every system.
//! Does not belong here: the table's cells (`table`), what stands there (`disk`), what becomes of it (`plan`).

use std::path::{Path, PathBuf};

use super::{Browser, Family, MANIFEST_DIR, host_name, table::Base};

/// An operating system whose browsers can be told about framehost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum System {
    /// Folders by the XDG specification.
    Linux,
    /// Folders in Library.
    MacOs,
    /// The registry, whose keys name manifests.
    Windows,
}

impl System {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Linux, Self::MacOs, Self::Windows];

    /// The one that this program runs on.
    pub const fn current() -> Self {
        if cfg!(windows) {
            Self::Windows
        } else if cfg!(target_os = "macos") {
            Self::MacOs
        } else {
            Self::Linux
        }
    }

    const fn separator(self) -> &'static str {
        match self {
            Self::Linux | Self::MacOs => "/",
            Self::Windows => "\\",
        }
    }

    /// `base`, and below it `path`, which has slashes on every system.
    pub(super) fn below(self, base: &Path, path: &str) -> PathBuf {
        self.chain(base, path).pop().unwrap_or_else(|| base.to_owned())
    }

    /// Every folder on the way from `base` to what is below it, the outermost first, `base` left out.
    fn chain(self, base: &Path, path: &str) -> Vec<PathBuf> {
        let mut so_far = base.as_os_str().to_owned();
        let mut chain = Vec::new();
        for part in path.split('/') {
            if !so_far.to_string_lossy().ends_with(self.separator()) {
                so_far.push(self.separator());
            }
            so_far.push(part);
            chain.push(PathBuf::from(&so_far));
        }
        chain
    }
}

/// For whom a browser is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Scope {
    /// The user who runs this.
    #[default]
    User,
    /// Every user of the machine; needs an administrator's rights.
    System,
}

/// The directories that places are relative to, all absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallDirs {
    /// `/`, or the folder in which a package is made. Not used on Windows.
    pub root: PathBuf,
    /// The user's home directory.
    pub home: PathBuf,
    /// `$XDG_CONFIG_HOME`, else `~/.config`.
    pub config_home: PathBuf,
    /// `$XDG_DATA_HOME`, else `~/.local/share`; `%LOCALAPPDATA%` on Windows.
    pub data_home: PathBuf,
    /// `%PROGRAMDATA%`. Used on Windows only.
    pub machine_data: PathBuf,
}

/// Where one manifest stands, or would stand.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// For whom.
    pub scope: Scope,
    /// Which template the manifest is made from.
    pub family: Family,
    /// The manifest.
    pub manifest: PathBuf,
    /// The folders on the way to it, the outermost first and the one that holds it last; what they are in is nobody's.
    pub folders: Vec<PathBuf>,
    /// Of these, the browser's or framehost's own: all from this one on.
    pub data: PathBuf,
    /// Registry keys that name the manifest in their default value.
    pub keys: Vec<RegistryKey>,
}

/// A place, and what one browser makes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrowserPlace {
    /// Where.
    pub place: Place,
    /// Folders of which one is there once the browser has been started; none where only its registry key tells.
    pub started: Vec<PathBuf>,
    /// Only written to where the browser's folder is there.
    pub is_optional: bool,
}

/// A key of the registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RegistryKey {
    /// Below what.
    pub hive: Hive,
    /// As seen by which programs.
    pub view: View,
    /// Path below the hive, the host's name last.
    pub path: String,
}

/// A root of the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hive {
    /// `HKEY_CURRENT_USER`.
    CurrentUser,
    /// `HKEY_LOCAL_MACHINE`.
    LocalMachine,
}

/// Which programs see a key: 64-bit Windows keeps `Software` of the machine twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum View {
    /// Both kinds see the same: `Software` of a user is kept once.
    /// Source: Microsoft, "Registry Keys Affected by WOW64".
    Shared,
    /// 32-bit programs.
    Bits32,
    /// 64-bit programs.
    Bits64,
}

impl Place {
    /// Whether both are one file, named in the same way.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.manifest == other.manifest && self.keys == other.keys
    }

    /// The folder that holds the manifest.
    pub fn folder(&self) -> &Path {
        self.folders.last().map_or(Path::new(""), PathBuf::as_path)
    }
}

/// Where `browser` looks for manifests on `system`, in the order of the table. Empty where it has none of that scope.
pub fn places(browser: &Browser, system: System, scope: Scope, dirs: &InstallDirs) -> Vec<BrowserPlace> {
    let folders = match system {
        System::Linux => &browser.linux,
        System::MacOs => &browser.macos,
        System::Windows => {
            return browser.windows.iter().map(|cell| registry(browser, &cell.key, scope, dirs)).collect();
        }
    };
    let path_of = |base: Base| match base {
        Base::ConfigHome => dirs.config_home.clone(),
        Base::DataHome => dirs.data_home.clone(),
        Base::Home => dirs.home.clone(),
        Base::ApplicationSupport => system.below(&dirs.home, "Library/Application Support"),
        Base::Root => dirs.root.clone(),
    };
    let folder = |cell: &super::table::FolderCell| {
        let base = path_of(cell.base);
        let place = Place {
            scope,
            family: browser.family(),
            manifest: manifest(system, &base, &cell.manifests),
            folders: system.chain(&base, &cell.manifests),
            data: system.below(&base, &cell.data),
            keys: Vec::new(),
        };
        let mut started = vec![system.below(&base, cell.started.as_ref().unwrap_or(&cell.data))];
        started.extend(cell.started_also.iter().map(|also| system.below(&path_of(also.base), &also.path)));
        BrowserPlace { place, started, is_optional: cell.optional }
    };
    folders.of(scope).iter().map(folder).collect()
}

fn registry(browser: &Browser, key: &str, scope: Scope, dirs: &InstallDirs) -> BrowserPlace {
    let path = format!("{key}\\{}", host_name());
    let one = |hive, view| RegistryKey { hive, view, path: path.clone() };
    let (base, keys) = match scope {
        Scope::User => (&dirs.data_home, vec![one(Hive::CurrentUser, View::Shared)]),
        // Chromium looks into the 32-bit view first, Firefox into that of its own kind.
        // Source: chromium/chromium launch_context_win.cc.
        Scope::System => {
            (&dirs.machine_data, vec![one(Hive::LocalMachine, View::Bits32), one(Hive::LocalMachine, View::Bits64)])
        }
    };
    let folder = format!("framehost/{MANIFEST_DIR}/{}", browser.family().as_str());
    let place = Place {
        scope,
        family: browser.family(),
        manifest: manifest(System::Windows, base, &folder),
        folders: System::Windows.chain(base, &folder),
        data: System::Windows.below(base, "framehost"),
        keys,
    };
    BrowserPlace { place, started: Vec::new(), is_optional: false }
}

/// The place of a Chromium that is started with `--user-data-dir`.
pub(super) fn custom(user_data_dir: &Path, system: System) -> Place {
    Place {
        scope: Scope::User,
        family: Family::Chromium,
        manifest: manifest(system, user_data_dir, MANIFEST_DIR),
        folders: vec![user_data_dir.to_owned(), system.below(user_data_dir, MANIFEST_DIR)],
        data: user_data_dir.to_owned(),
        keys: Vec::new(),
    }
}

fn manifest(system: System, base: &Path, folder: &str) -> PathBuf {
    system.below(base, &format!("{folder}/{}.json", host_name()))
}

impl RegistryKey {
    /// As `reg.exe` writes it, with the view where there are two.
    pub fn describe(&self) -> String {
        let hive = match self.hive {
            Hive::CurrentUser => "HKCU",
            Hive::LocalMachine => "HKLM",
        };
        let view = match self.view {
            View::Shared => "",
            View::Bits32 => " (32-bit view)",
            View::Bits64 => " (64-bit view)",
        };
        format!("{hive}\\{}{view}", self.path)
    }
}
