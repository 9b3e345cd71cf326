//! Browsers that are packaged as snaps or flatpaks: which are here, and the truth about what they can do.
//!
//! Belongs here: finding them by their folders, what to tell people. Does not belong here: their names (`table`).

use std::path::PathBuf;

use super::{Browser, Family, InstallDirs, browsers, host_name};

/// How a browser is packaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sandbox {
    /// By snapd.
    Snap,
    /// By flatpak.
    Flatpak,
}

/// A browser in a sandbox that is on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandboxed {
    /// Its row.
    pub browser: &'static Browser,
    /// How it is packaged.
    pub sandbox: Sandbox,
    /// The snap's name, or the flatpak's id.
    pub id: String,
    /// What told that it is here.
    pub path: PathBuf,
}

/// The browsers of the table that are here as snaps or flatpaks.
pub fn sandboxed(dirs: &InstallDirs) -> Vec<Sandboxed> {
    let mut found = Vec::new();
    for browser in browsers() {
        for (sandbox, ids) in [(Sandbox::Snap, browser.snaps()), (Sandbox::Flatpak, browser.flatpaks())] {
            for id in ids {
                if let Some(path) = traces(sandbox, id, dirs).into_iter().find(|path| path.is_dir()) {
                    found.push(Sandboxed { browser, sandbox, id: id.clone(), path });
                }
            }
        }
    }
    found
}

/// Folders of which one is there where the package is installed, or has been used.
///
/// Source: snapcraft.io "Data locations"; flatpak(1), "FILESYSTEM".
fn traces(sandbox: Sandbox, id: &str, dirs: &InstallDirs) -> Vec<PathBuf> {
    match sandbox {
        Sandbox::Snap => vec![
            dirs.home.join("snap").join(id),
            dirs.root.join("snap").join(id),
            dirs.root.join("var/lib/snapd/snap").join(id),
        ],
        Sandbox::Flatpak => vec![
            dirs.home.join(".var/app").join(id),
            dirs.data_home.join("flatpak/app").join(id),
            dirs.root.join("var/lib/flatpak/app").join(id),
        ],
    }
}

impl Sandboxed {
    /// `snap`, `flatpak`.
    pub const fn kind(&self) -> &'static str {
        match self.sandbox {
            Sandbox::Snap => "snap",
            Sandbox::Flatpak => "flatpak",
        }
    }

    /// What works and what does not.
    pub fn truth(&self) -> String {
        let (name, id) = (self.browser.name(), &self.id);
        match (self.sandbox, self.browser.family()) {
            // Source: keepassxreboot/keepassxc#12741, keepassxreboot/keepassxc-browser#1948.
            (Sandbox::Snap, Family::Chromium) => format!(
                "{name} is here as the snap {id}: it starts no program outside of its snap, so it cannot start framehost, \
                 and no permission changes that"
            ),
            // Source: Ubuntu's WebExtensions portal; keepassxreboot/keepassxc-browser#1823.
            (Sandbox::Snap, Family::Firefox) => format!(
                "{name} is here as the snap {id}: it starts framehost through the desktop's WebExtensions portal, where the \
                 desktop has it (Ubuntu's does), and only once the user has allowed that"
            ),
            // Source: flatpak/xdg-desktop-portal#705 (closed); keepassxreboot/keepassxc-browser#1828.
            (Sandbox::Flatpak, _) => format!(
                "{name} is here as the flatpak {id}: its sandbox shows it neither this machine's manifests nor its programs, \
                 and a host that it starts runs inside, without cameras and screens"
            ),
        }
    }

    /// What to do about it.
    pub fn advice(&self) -> String {
        let (name, id) = (self.browser.name(), &self.id);
        match (self.sandbox, self.browser.family()) {
            (Sandbox::Snap, Family::Chromium) => {
                format!("install {name} as a .deb or .rpm of its maker or of the distribution")
            }
            (Sandbox::Snap, Family::Firefox) => format!(
                "framehost install --browser {} --firefox-id ID, and say yes when the desktop asks, or: flatpak \
                 permission-set webextensions {} snap.{id} yes; without that portal: Mozilla's own package",
                self.browser.id(),
                host_name()
            ),
            (Sandbox::Flatpak, _) => format!(
                "use {name}'s ordinary package; what others report to work, and is not tested here: the manifest below \
                 ~/.var/app/{id}/config, a hub that runs already (framehost hub), and flatpak override --user \
                 --filesystem=FOLDER_OF_FRAMEHOST:ro --filesystem=xdg-run/framehost {id}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn each_trace_of_a_sandboxed_browser_is_found_and_told_of() {
        for (id, trace, truth, advice) in [
            ("chromium", "home/snap/chromium", "no permission changes that", ".deb"),
            ("chromium", "snap/chromium", "no permission changes that", ".deb"),
            (
                "firefox",
                "var/lib/snapd/snap/firefox",
                "portal",
                "permission-set webextensions com.framehost.host snap.firefox yes",
            ),
            ("firefox", "home/.var/app/org.mozilla.firefox", "runs inside", "flatpak override --user"),
            ("brave", "home/share/flatpak/app/com.brave.Browser", "runs inside", "com.brave.Browser"),
            ("chrome", "var/lib/flatpak/app/com.google.Chrome", "runs inside", "xdg-run/framehost"),
        ] {
            let root = tempfile::tempdir().unwrap();
            let dirs = InstallDirs {
                root: root.path().to_owned(),
                home: root.path().join("home"),
                config_home: root.path().join("home/config"),
                data_home: root.path().join("home/share"),
                machine_data: PathBuf::new(),
            };
            assert_eq!(sandboxed(&dirs), []);
            fs::create_dir_all(root.path().join(trace)).unwrap();
            let found = sandboxed(&dirs);
            assert_eq!(found.iter().map(|one| one.browser.id()).collect::<Vec<_>>(), [id], "{trace}");
            assert!(found[0].truth().contains(truth), "{}", found[0].truth());
            assert!(found[0].advice().contains(advice), "{}", found[0].advice());
        }
    }
}
