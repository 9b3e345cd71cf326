//! What is to be written, moved and removed, decided without touching the disk.
//!
//! Belongs here: which browsers are meant, what becomes of what stands there, saying it to people.
//! Does not belong here: finding out what stands there, doing it (`disk`).

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::{Browser, ExtensionId, Family, HostBinary, HostManifest, InstallError, MANIFEST_DIR, host_name};

/// Permissions of a folder that browsers and other hosts share.
pub(super) const MANIFEST_DIR_MODE: u32 = 0o755;

/// Permissions of a user data directory, as the browser itself makes it: it will hold cookies.
pub(super) const USER_DATA_DIR_MODE: u32 = 0o700;

/// A place where a manifest could stand, and what is there now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub(super) browser: Option<&'static Browser>,
    pub(super) is_named: bool,
    pub(super) user_data_dir: PathBuf,
    pub(super) user_data_dir_exists: bool,
    pub(super) manifest_dir_exists: bool,
    pub(super) found: Found,
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

/// One thing that a plan does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make a folder, and none above it.
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
        /// The browser that reads it.
        browser: String,
        /// Who may start the host then.
        extension_ids: Vec<ExtensionId>,
        /// Entries of the manifest before that are not taken over, because no browser accepts them.
        refused_origins: Vec<String>,
    },
    /// Nothing: it is as it should be, or not ours.
    Keep {
        /// The file.
        path: PathBuf,
        /// Why nothing is done.
        reason: String,
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

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    actions: Vec<Action>,
}

impl Target {
    /// Where the manifest stands or would stand.
    pub fn manifest_path(&self) -> PathBuf {
        self.manifest_dir().join(format!("{}.json", host_name()))
    }

    /// What people call the browser.
    pub fn browser_name(&self) -> String {
        match self.browser {
            Some(browser) => browser.name().to_owned(),
            None => format!("the browser of {}", self.user_data_dir.display()),
        }
    }

    /// What stands there.
    pub fn found(&self) -> &Found {
        &self.found
    }

    fn manifest_dir(&self) -> PathBuf {
        self.user_data_dir.join(MANIFEST_DIR)
    }

    fn family(&self) -> Family {
        self.browser.map_or(Family::Chromium, Browser::family)
    }

    fn is_fallback(&self) -> bool {
        self.browser.is_some_and(Browser::is_fallback)
    }
}

/// Lets `extension_ids` start `binary` from every target that was named; if none was, from every browser that has been
/// started before; if there is none either, from every row of the table that is marked for it.
///
/// # Errors
///
/// [`InstallError::NoExtensionId`], [`InstallError::PathNotUtf8`].
pub fn plan_install(
    targets: &[Target],
    extension_ids: &[ExtensionId],
    binary: &HostBinary,
) -> Result<Plan, InstallError> {
    let wanted = HostManifest::new(binary.path(), extension_ids)?;
    let is_any_named = targets.iter().any(|target| target.is_named);
    let is_any_there = targets.iter().any(|target| target.user_data_dir_exists);
    let chosen = targets.iter().filter(|target| match (is_any_named, is_any_there) {
        (true, _) => target.is_named,
        (false, true) => target.user_data_dir_exists,
        (false, false) => target.is_fallback(),
    });
    Ok(Plan { actions: chosen.flat_map(|target| install_actions(target, &wanted)).collect() })
}

/// Removes the manifest from every target that was named; if none was, from every row of the table.
pub fn plan_uninstall(targets: &[Target]) -> Plan {
    let is_any_named = targets.iter().any(|target| target.is_named);
    let chosen = targets.iter().filter(|target| target.is_named || !is_any_named);
    Plan { actions: chosen.flat_map(uninstall_actions).collect() }
}

fn install_actions(target: &Target, wanted: &HostManifest) -> Vec<Action> {
    let path = target.manifest_path();
    let mut actions = Vec::new();
    if !target.user_data_dir_exists {
        actions.push(Action::CreateDir { path: target.user_data_dir.clone(), mode: USER_DATA_DIR_MODE });
    }
    if !target.manifest_dir_exists {
        actions.push(Action::CreateDir { path: target.manifest_dir(), mode: MANIFEST_DIR_MODE });
    }
    let (manifest, refused_origins) = match &target.found {
        Found::Absent => (wanted.clone(), Vec::new()),
        Found::Ours(older, text) => {
            let united = wanted.united_with(older);
            if united.render(target.family()) == *text {
                let reason = format!("it is up to date for {}", target.browser_name());
                actions.push(Action::Keep { path, reason });
                return actions;
            }
            (united, older.refused_origins().to_vec())
        }
        Found::Other { reason, backup } => {
            actions.push(Action::Backup { path: path.clone(), backup: backup.clone(), reason: reason.clone() });
            (wanted.clone(), Vec::new())
        }
    };
    actions.push(Action::Write {
        path,
        contents: manifest.render(target.family()),
        browser: target.browser_name(),
        extension_ids: manifest.extension_ids().to_vec(),
        refused_origins,
    });
    actions
}

fn uninstall_actions(target: &Target) -> Vec<Action> {
    let path = target.manifest_path();
    let mut actions = Vec::new();
    match &target.found {
        // Of two that looked nobody needs to read; of one that was asked for by name, yes.
        Found::Absent if !target.is_named => return actions,
        Found::Absent => actions.push(Action::Keep { path, reason: "there is none".to_owned() }),
        Found::Ours(..) => actions.push(Action::Remove { path }),
        Found::Other { reason, .. } => {
            actions.push(Action::Keep { path, reason: format!("it is not ours: {reason}") });
            return actions;
        }
    }
    if target.manifest_dir_exists {
        actions.push(Action::RemoveEmptyDir { path: target.manifest_dir() });
    }
    actions
}

impl Plan {
    /// What is done, in order.
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// Whether anything on the disk would change.
    pub fn is_change(&self) -> bool {
        self.actions.iter().any(|action| match action {
            Action::CreateDir { .. } | Action::Backup { .. } | Action::Write { .. } | Action::Remove { .. } => true,
            Action::Keep { .. } | Action::RemoveEmptyDir { .. } => false,
        })
    }

    /// The plan for people, one action a line, with a line break at the end of each.
    pub fn describe(&self) -> String {
        if self.actions.is_empty() {
            return "nothing to do\n".to_owned();
        }
        self.actions.iter().map(|action| format!("{action}\n")).collect()
    }

    /// Does it, stopping at the first action that fails. Running it again after that is safe: plan anew.
    ///
    /// # Errors
    ///
    /// [`InstallError::Io`].
    pub fn execute(&self) -> Result<(), InstallError> {
        self.actions.iter().try_for_each(super::disk::execute)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateDir { path, mode: _ } => write!(formatter, "create the folder {}", path.display()),
            Self::Backup { path, backup, reason } => {
                write!(formatter, "move {} to {}: it is not ours ({reason})", path.display(), file_name(backup))
            }
            Self::Write { path, browser, extension_ids, refused_origins, contents: _ } => {
                write!(formatter, "write {}: {browser} starts the host for", path.display())?;
                for id in extension_ids {
                    write!(formatter, " {id}")?;
                }
                for origin in refused_origins {
                    write!(formatter, "\n  dropping {origin:?}, which no browser accepts")?;
                }
                Ok(())
            }
            Self::Keep { path, reason } => write!(formatter, "leave {}: {reason}", path.display()),
            Self::Remove { path } => write!(formatter, "remove {}", path.display()),
            Self::RemoveEmptyDir { path } => write!(formatter, "remove the folder {} if it is empty", path.display()),
        }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::{super::browsers, *};

    const BINARY: &str = "/opt/frame host/framehost";

    fn id(letter: char) -> ExtensionId {
        ExtensionId::parse(&letter.to_string().repeat(32)).unwrap()
    }

    fn binary() -> HostBinary {
        HostBinary::unchecked(BINARY)
    }

    /// A row of the table whose browser has never been started.
    fn row(index: usize) -> Target {
        let browser = &browsers()[index];
        Target {
            browser: Some(browser),
            is_named: false,
            user_data_dir: format!("/config/{}", browser.id()).into(),
            user_data_dir_exists: false,
            manifest_dir_exists: false,
            found: Found::Absent,
        }
    }

    fn rows() -> Vec<Target> {
        (0..browsers().len()).map(row).collect()
    }

    fn ours(ids: &[ExtensionId], path: &str) -> Found {
        let manifest = HostManifest::new(Path::new(path), ids).unwrap();
        let text = manifest.render(Family::Chromium);
        Found::Ours(manifest, text)
    }

    fn other() -> Found {
        Found::Other { reason: "not JSON".to_owned(), backup: "/config/x.json.bak".into() }
    }

    /// Paths that the plan writes.
    fn written(plan: &Plan) -> Vec<&Path> {
        fn path(action: &Action) -> Option<&Path> {
            match action {
                Action::Write { path, .. } => Some(path),
                _ => None,
            }
        }
        plan.actions().iter().filter_map(path).collect()
    }

    fn check_written(targets: &[Target], expected: &[&str]) {
        let plan = plan_install(targets, &[id('a')], &binary()).unwrap();
        let expected: Vec<String> = expected
            .iter()
            .map(|browser| format!("/config/{browser}/NativeMessagingHosts/com.framehost.host.json"))
            .collect();
        assert_eq!(written(&plan), expected.iter().map(Path::new).collect::<Vec<_>>());
    }

    #[test]
    fn without_names_browsers_that_are_there_are_written() {
        let mut targets = rows();
        targets[0].user_data_dir_exists = true;
        targets[2].user_data_dir_exists = true;
        check_written(&targets, &["chromium", "chrome-beta"]);
    }

    #[test]
    fn without_names_and_browsers_the_fallback_rows_are_written() {
        check_written(&rows(), &["chromium", "chrome"]);
    }

    #[test]
    fn with_names_only_those_are_written() {
        let mut targets = rows();
        targets[0].user_data_dir_exists = true;
        targets[1].is_named = true;
        check_written(&targets, &["chrome"]);
    }

    #[test]
    fn folders_are_made_first_and_only_where_missing() {
        let mut target = row(0);
        let plan = plan_install(&[target.clone()], &[id('a')], &binary()).unwrap();
        let dir = PathBuf::from("/config/chromium");
        assert_eq!(plan.actions().len(), 3);
        assert_eq!(plan.actions()[0], Action::CreateDir { path: dir.clone(), mode: 0o700 });
        assert_eq!(plan.actions()[1], Action::CreateDir { path: dir.join(MANIFEST_DIR), mode: 0o755 });
        target.user_data_dir_exists = true;
        target.manifest_dir_exists = true;
        assert_eq!(plan_install(&[target], &[id('a')], &binary()).unwrap().actions().len(), 1);
    }

    #[test]
    fn older_extensions_stay_allowed_and_the_path_is_renewed() {
        let mut target = row(0);
        target.found = ours(&[id('a'), id('b')], "/old/framehost");
        let plan = plan_install(&[target], &[id('b'), id('c')], &binary()).unwrap();
        let Some(Action::Write { contents, extension_ids, .. }) = plan.actions().last() else { panic!("{plan:?}") };
        assert_eq!(extension_ids, &[id('a'), id('b'), id('c')]);
        assert_eq!(HostManifest::parse(contents).unwrap().path(), BINARY);
    }

    #[test]
    fn nothing_is_written_when_nothing_would_change() {
        let mut target = row(0);
        (target.user_data_dir_exists, target.manifest_dir_exists) = (true, true);
        target.found = ours(&[id('a'), id('b')], BINARY);
        let plan = plan_install(&[target], &[id('b')], &binary()).unwrap();
        assert!(!plan.is_change());
        assert!(plan.describe().contains("up to date for Chromium"), "{}", plan.describe());
    }

    #[test]
    fn a_foreign_file_is_moved_aside_before_it_is_replaced_and_the_plan_says_so() {
        let mut target = row(0);
        (target.user_data_dir_exists, target.manifest_dir_exists) = (true, true);
        target.found = other();
        let plan = plan_install(&[target], &[id('a')], &binary()).unwrap();
        assert!(matches!(plan.actions(), [Action::Backup { .. }, Action::Write { .. }]), "{plan:?}");
        assert!(plan.describe().contains("to x.json.bak: it is not ours (not JSON)"), "{}", plan.describe());
    }

    #[test]
    fn an_origin_that_no_browser_accepts_is_dropped_and_the_plan_says_so() {
        let mut target = row(0);
        let text = r#"{"name": "com.framehost.host", "path": "/x", "allowed_origins": ["chrome-extension://*/"]}"#;
        target.found = Found::Ours(HostManifest::parse(text).unwrap(), text.to_owned());
        let plan = plan_install(&[target], &[id('a')], &binary()).unwrap();
        assert!(plan.describe().contains("dropping \"chrome-extension://*/\""), "{}", plan.describe());
    }

    #[test]
    fn installing_for_nobody_is_refused() {
        assert!(matches!(plan_install(&rows(), &[], &binary()), Err(InstallError::NoExtensionId)));
    }

    #[test]
    fn uninstall_removes_what_is_ours_and_the_folder_if_empty() {
        let mut targets = rows();
        targets[1].found = ours(&[id('a')], BINARY);
        targets[1].manifest_dir_exists = true;
        let plan = plan_uninstall(&targets);
        assert!(matches!(plan.actions(), [Action::Remove { .. }, Action::RemoveEmptyDir { .. }]), "{plan:?}");
        assert!(plan.describe().contains("remove /config/chrome/NativeMessagingHosts/com.framehost.host.json\n"));
    }

    #[test]
    fn uninstall_leaves_what_is_not_ours() {
        let mut target = row(0);
        target.manifest_dir_exists = true;
        target.found = other();
        let plan = plan_uninstall(&[target]);
        assert!(!plan.is_change());
        assert!(matches!(plan.actions(), [Action::Keep { .. }]), "{plan:?}");
    }

    #[test]
    fn uninstall_of_nothing_does_nothing() {
        assert_eq!(plan_uninstall(&rows()), Plan::default());
        assert_eq!(plan_uninstall(&rows()).describe(), "nothing to do\n");
        let mut named = row(0);
        named.is_named = true;
        assert!(plan_uninstall(&[named]).describe().contains("there is none"));
    }
}
