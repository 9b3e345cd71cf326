//! What is to be written, moved and removed, decided without touching the disk.
//!
//! Belongs here: which places are meant, what becomes of what stands there.
//! Does not belong here: finding out what stands there (`survey`), doing it (`disk`).

use std::{cmp::Reverse, path::Path};

use super::{Action, Allowed, Family, Found, HostBinary, HostManifest, InstallError, Scope, Target};

/// Permissions of a folder that browsers and other hosts share.
pub(super) const MANIFEST_DIR_MODE: u32 = 0o755;

/// Permissions of a user data directory, as the browser itself makes it: it will hold cookies.
pub(super) const USER_DATA_DIR_MODE: u32 = 0o700;

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    actions: Vec<Action>,
}

/// Lets `allowed` start `binary` from every target that was named. If none was: for a user from every browser that has
/// been started before and, for a family of which there is none, from every row of the table that is marked for it; for the
/// whole machine from every browser, as they may be installed later.
///
/// # Errors
///
/// [`InstallError::NoExtensionId`], [`InstallError::NoIdForBrowser`], [`InstallError::PathNotUtf8`].
pub fn plan_install(targets: &[Target], allowed: &Allowed, binary: &HostBinary) -> Result<Plan, InstallError> {
    if allowed.is_empty(Family::Chromium) && allowed.is_empty(Family::Firefox) {
        return Err(InstallError::NoExtensionId);
    }
    let has_ids = |target: &Target| !allowed.is_empty(target.place.family);
    let is_any_named = targets.iter().any(Target::is_named);
    let is_there = |family| targets.iter().any(|target| target.is_started() && target.place.family == family);
    let mut plan = Plan::default();
    for target in targets {
        let is_chosen = match (is_any_named, target.place.scope) {
            (true, _) => target.is_named(),
            (false, Scope::System) => true,
            // A browser that is there and gets nothing is told of, too.
            (false, Scope::User) => target.is_started() || (target.is_fallback() && !is_there(target.place.family)),
        };
        if !is_chosen || target.is_left_out() {
            continue;
        }
        if has_ids(target) {
            let wanted = HostManifest::new(target.place.family, binary.path(), allowed)?;
            install_actions(target, &wanted, &mut plan);
        } else if is_any_named {
            let option = id_option(target.place.family);
            return Err(InstallError::NoIdForBrowser { browser: target.browser_names(), option });
        } else if target.is_started() {
            let (browser, option) = (target.browser_names(), id_option(target.place.family));
            let reason = format!("{browser} starts hosts for named extensions only, and no {option} was given");
            plan.add(Action::Keep { path: target.place.manifest.clone(), reason });
        }
    }
    Ok(plan)
}

/// Removes the manifest from every target that was named; if none was, from every row of the table. A place that another
/// browser on this machine reads, too, stays unless that one is named as well.
pub fn plan_uninstall(targets: &[Target]) -> Plan {
    plan_uninstall_own(targets, |_| true)
}

/// As [`plan_uninstall`], but for manifests whose program `is_own` does not take for its own: they stay.
pub fn plan_uninstall_own(targets: &[Target], is_own: impl Fn(&Path) -> bool) -> Plan {
    let is_any_named = targets.iter().any(Target::is_named);
    let (chosen, others): (Vec<&Target>, Vec<&Target>) =
        targets.iter().partition(|target| target.is_named() || !is_any_named);
    let mut plan = Plan::default();
    for target in chosen {
        if let Found::Ours(manifest, _) = &target.found
            && !is_own(Path::new(manifest.path()))
        {
            let reason = format!("it starts another framehost: {}", manifest.path());
            plan.add(Action::Keep { path: target.place.manifest.clone(), reason });
            continue;
        }
        match target.remaining_reader().filter(|_| is_any_named && target.found != Found::Absent) {
            Some(browser) => {
                let (name, id) = (browser.name(), browser.id());
                let reason = format!("{name} reads it, too; with --browser {id} as well it goes");
                plan.add(Action::Keep { path: target.place.manifest.clone(), reason });
            }
            None => uninstall_actions(target, &others, &mut plan),
        }
    }
    // Folders last, the innermost first: one may hold those of several browsers.
    plan.actions.sort_by_key(|action| match action {
        Action::RemoveEmptyDir { path } => (true, Reverse(path.as_os_str().len())),
        _ => (false, Reverse(0)),
    });
    plan
}

const fn id_option(family: Family) -> &'static str {
    match family {
        Family::Chromium => "--extension-id",
        Family::Firefox => "--firefox-id",
    }
}

fn install_actions(target: &Target, wanted: &HostManifest, plan: &mut Plan) {
    let path = target.place.manifest.clone();
    for folder in &target.missing_folders {
        let is_users_own = target.place.scope == Scope::User && folder != target.place.folder();
        let mode = if is_users_own { USER_DATA_DIR_MODE } else { MANIFEST_DIR_MODE };
        plan.add(Action::CreateDir { path: folder.clone(), mode });
    }
    let (manifest, refused) = match &target.found {
        Found::Absent => (wanted.clone(), Vec::new()),
        Found::Ours(older, _) => (wanted.united_with(older), older.refused().to_vec()),
        Found::Other { reason, backup } => {
            plan.add(Action::Backup { path: path.clone(), backup: backup.clone(), reason: reason.clone() });
            (wanted.clone(), Vec::new())
        }
    };
    let contents = manifest.render();
    let is_as_wanted = matches!(&target.found, Found::Ours(_, text) if *text == contents) && target.is_sound;
    if is_as_wanted {
        let reason = format!("it is up to date for {}", target.browser_names());
        plan.add(Action::Keep { path: path.clone(), reason });
    } else {
        let allowed = manifest.allowed().names(target.place.family);
        plan.write(Action::Write { path: path.clone(), contents, browser: target.browser_names(), allowed, refused });
    }
    for (key, named) in &target.named_by {
        if named.as_deref().map(std::path::Path::new) != Some(path.as_path()) {
            plan.add(Action::SetKey { key: key.clone(), manifest: path.clone(), was: named.clone() });
        }
    }
}

fn uninstall_actions(target: &Target, others: &[&Target], plan: &mut Plan) {
    let path = &target.place.manifest;
    let names_it = |named: &Option<String>| named.as_deref().map(std::path::Path::new) == Some(path.as_path());
    for (key, named) in &target.named_by {
        if names_it(named) {
            plan.add(Action::RemoveKey { key: key.clone() });
        }
    }
    match &target.found {
        // Of many that looked nobody needs to read; of one that was asked for by name, yes.
        Found::Absent if !target.is_named() => return,
        Found::Absent if target.is_left_out() => return,
        Found::Absent => plan.add(Action::Keep { path: path.clone(), reason: "there is none".to_owned() }),
        Found::Ours(..) => {
            // On Windows one file serves every browser of a family.
            let is_still_named = |other: &&Target| {
                other.place.manifest == *path && other.named_by.iter().any(|(_, named)| names_it(named))
            };
            if others.iter().any(is_still_named) {
                plan.add(Action::Keep { path: path.clone(), reason: "other browsers read it, too".to_owned() });
                return;
            }
            plan.add(Action::Remove { path: path.clone() });
        }
        Found::Other { reason, .. } => {
            plan.add(Action::Keep { path: path.clone(), reason: format!("it is not ours: {reason}") });
            return;
        }
    }
    for folder in &target.removable_folders {
        plan.add(Action::RemoveEmptyDir { path: folder.clone() });
    }
}

impl Plan {
    /// What is done, in order.
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// Whether anything would change.
    pub fn is_change(&self) -> bool {
        self.actions.iter().any(Action::is_change)
    }

    /// The plan for people, one action a line, with a line break at the end of each.
    pub fn describe(&self) -> String {
        if self.actions.is_empty() {
            return "nothing to do\n".to_owned();
        }
        self.actions.iter().map(|action| format!("{action}\n")).collect()
    }

    /// Does it, stopping at the first action that fails, and tells of each that is done. Running it again after that is
    /// safe: plan anew.
    ///
    /// # Errors
    ///
    /// [`InstallError::Io`], [`InstallError::Registry`].
    pub fn execute(&self, mut done: impl FnMut(&Action)) -> Result<(), InstallError> {
        self.actions.iter().try_for_each(|action| {
            super::disk::execute(action)?;
            done(action);
            Ok(())
        })
    }

    /// What several targets need is done once.
    fn add(&mut self, action: Action) {
        if !self.actions.contains(&action) {
            self.actions.push(action);
        }
    }

    /// A file that several targets share is written once, for all their browsers.
    fn write(&mut self, action: Action) {
        if let Action::Write { path, browser, .. } = &action {
            for earlier in &mut self.actions {
                if let Action::Write { path: written, browser: browsers, .. } = earlier
                    && written == path
                {
                    browsers.push_str(", ");
                    browsers.push_str(browser);
                    return;
                }
            }
        }
        self.actions.push(action);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::*, *};

    const BINARY: &str = "/opt/frame host/framehost";

    fn id(letter: char) -> ExtensionId {
        ExtensionId::parse(&letter.to_string().repeat(32)).unwrap()
    }

    fn allow(letters: &str) -> Allowed {
        Allowed { chromium: letters.chars().map(id).collect(), firefox: Vec::new() }
    }

    fn allow_both() -> Allowed {
        Allowed { firefox: vec![FirefoxId::parse("framehost@example.org").unwrap()], ..allow("a") }
    }

    fn binary() -> HostBinary {
        HostBinary::unchecked(BINARY)
    }

    fn dirs() -> InstallDirs {
        InstallDirs {
            root: "/".into(),
            home: "/home".into(),
            config_home: "/config".into(),
            data_home: "/data".into(),
            machine_data: "/machine".into(),
        }
    }

    fn rows(named: &[&str]) -> Vec<Target> {
        let named: Vec<String> = named.iter().map(|&id| id.to_owned()).collect();
        targets(&named, System::Linux, Scope::User, &dirs()).unwrap()
    }

    /// The place of a row.
    fn of<'a>(targets: &'a mut [Target], id: &str) -> &'a mut Target {
        let reads = |target: &&mut Target| target.readers.iter().any(|reader| reader.browser.id() == id);
        targets.iter_mut().find(reads).unwrap()
    }

    fn start(targets: &mut [Target], id: &str) {
        for target in targets {
            for reader in target.readers.iter_mut().filter(|reader| reader.browser.id() == id) {
                reader.is_started = true;
                target.data_exists = true;
            }
        }
    }

    fn ours(letters: &str, path: &str) -> Found {
        let manifest = HostManifest::new(Family::Chromium, Path::new(path), &allow(letters)).unwrap();
        let text = manifest.render();
        Found::Ours(manifest, text)
    }

    fn other() -> Found {
        Found::Other { reason: "not JSON".to_owned(), backup: "/config/x.json.bak".into() }
    }

    /// Paths that the plan writes.
    fn written(plan: &Plan) -> Vec<String> {
        let path = |action: &Action| match action {
            Action::Write { path, .. } => Some(path.display().to_string()),
            _ => None,
        };
        plan.actions().iter().filter_map(path).collect()
    }

    fn chromium_manifest(folder: &str) -> String {
        format!("/config/{folder}/NativeMessagingHosts/com.framehost.host.json")
    }

    fn check_written(targets: &[Target], expected: &[&str]) {
        let plan = plan_install(targets, &allow("a"), &binary()).unwrap();
        assert_eq!(written(&plan), expected.iter().map(|folder| chromium_manifest(folder)).collect::<Vec<_>>());
    }

    #[test]
    fn without_names_browsers_that_are_there_are_written() {
        let mut targets = rows(&[]);
        start(&mut targets, "chromium");
        start(&mut targets, "chrome-beta");
        check_written(&targets, &["chromium", "google-chrome-beta"]);
    }

    #[test]
    fn without_names_and_browsers_the_fallback_rows_are_written() {
        check_written(&rows(&[]), &["chromium", "google-chrome"]);
    }

    #[test]
    fn with_names_only_those_are_written() {
        let mut targets = rows(&["chrome"]);
        start(&mut targets, "chromium");
        check_written(&targets, &["google-chrome"]);
    }

    #[test]
    fn a_browser_for_which_no_id_was_given_is_told_of_and_one_that_was_named_is_an_error() {
        let mut targets = rows(&[]);
        start(&mut targets, "firefox");
        let plan = plan_install(&targets, &allow("a"), &binary()).unwrap();
        assert_eq!(written(&plan), [chromium_manifest("chromium"), chromium_manifest("google-chrome")]);
        assert!(plan.describe().contains("Firefox starts hosts for named extensions only, and no --firefox-id"));
        let error = plan_install(&rows(&["firefox"]), &allow("a"), &binary()).unwrap_err().to_string();
        assert!(error.contains("--firefox-id"), "{error}");
    }

    #[test]
    fn a_place_that_browsers_share_is_written_once_and_stays_while_one_that_is_there_reads_it() {
        let mut targets = rows(&["firefox", "firefox-esr"]);
        let plan = plan_install(&targets, &allow_both(), &binary()).unwrap();
        assert_eq!(written(&plan), ["/home/.mozilla/native-messaging-hosts/com.framehost.host.json"]);
        assert!(plan.describe().contains("Firefox, Firefox ESR starts"), "{}", plan.describe());

        let manifest = HostManifest::new(Family::Firefox, Path::new(BINARY), &allow_both()).unwrap();
        of(&mut targets, "firefox").found = Found::Ours(manifest.clone(), manifest.render());
        start(&mut targets, "thunderbird");
        let plan = plan_uninstall(&targets);
        assert!(!plan.is_change(), "{}", plan.describe());
        assert!(plan.describe().contains("Thunderbird reads it, too"), "{}", plan.describe());
        let mut targets = rows(&["firefox", "thunderbird"]);
        of(&mut targets, "firefox").found = Found::Ours(manifest.clone(), manifest.render());
        start(&mut targets, "thunderbird");
        assert!(plan_uninstall(&targets).is_change());
    }

    #[test]
    fn a_place_that_is_only_perhaps_read_is_written_where_its_browser_is() {
        let mut targets = rows(&["opera"]);
        check_written(&targets, &["opera"]);
        of(&mut targets, "chrome").data_exists = true;
        check_written(&targets, &["google-chrome", "opera"]);
    }

    #[test]
    fn on_windows_one_file_serves_all_and_stays_while_a_key_names_it() {
        let windows = |named: &[String]| targets(named, System::Windows, Scope::User, &dirs()).unwrap();
        let mut all = windows(&["chrome".to_owned(), "edge".to_owned()]);
        let plan = plan_install(&all, &allow("a"), &binary()).unwrap();
        assert_eq!(written(&plan).len(), 1, "{}", plan.describe());
        assert_eq!(plan.actions().iter().filter(|action| matches!(action, Action::SetKey { .. })).count(), 2);

        let named_now = |targets: &mut [Target]| {
            for target in targets {
                target.missing_folders.clear();
                target.found = ours("a", BINARY);
                let manifest = target.place.manifest.display().to_string();
                target.named_by.iter_mut().for_each(|(_, named)| *named = Some(manifest.clone()));
            }
        };
        named_now(&mut all);
        assert!(!plan_install(&all, &allow("a"), &binary()).unwrap().is_change());
        let mut chrome = windows(&["chrome".to_owned()]);
        named_now(&mut chrome);
        let plan = plan_uninstall(&chrome);
        assert!(matches!(plan.actions(), [Action::RemoveKey { .. }, Action::Keep { .. }]), "{}", plan.describe());
        let mut everything = windows(&[]);
        named_now(&mut everything);
        let plan = plan_uninstall(&everything);
        let removed = plan.actions().iter().filter(|action| matches!(action, Action::Remove { .. })).count();
        assert_eq!(removed, 2, "a file for each family: {}", plan.describe());
    }

    #[test]
    fn a_key_that_names_something_else_is_set_and_the_plan_says_what_it_was() {
        let mut targets = targets(&["edge".to_owned()], System::Windows, Scope::System, &dirs()).unwrap();
        let edge = of(&mut targets, "edge");
        edge.named_by[0].1 = Some("C:\\old.json".to_owned());
        let plan = plan_install(&targets, &allow("a"), &binary()).unwrap();
        assert!(plan.describe().contains("(32-bit view) to /machine"), "{}", plan.describe());
        assert!(plan.describe().contains("it was C:\\old.json"), "{}", plan.describe());
        assert!(plan.describe().contains("(64-bit view)"), "{}", plan.describe());
        assert!(!plan_uninstall(&targets).is_change(), "a key that names something else is left");
    }

    #[test]
    fn folders_are_made_first_and_only_where_missing() {
        let mut targets = rows(&["brave"]);
        let plan = plan_install(&targets, &allow("a"), &binary()).unwrap();
        let made = |path: &str, mode| Action::CreateDir { path: path.into(), mode };
        assert_eq!(
            plan.actions()[..3],
            [
                made("/config/BraveSoftware", 0o700),
                made("/config/BraveSoftware/Brave-Browser", 0o700),
                made("/config/BraveSoftware/Brave-Browser/NativeMessagingHosts", 0o755),
            ]
        );
        assert_eq!(plan.actions().len(), 4);
        of(&mut targets, "brave").missing_folders.clear();
        assert_eq!(plan_install(&targets, &allow("a"), &binary()).unwrap().actions().len(), 1);
    }

    #[test]
    fn older_extensions_stay_allowed_and_the_path_is_renewed() {
        let mut targets = rows(&["chromium"]);
        of(&mut targets, "chromium").found = ours("ab", "/old/framehost");
        let plan = plan_install(&targets, &allow("bc"), &binary()).unwrap();
        let Some(Action::Write { contents, allowed, .. }) = plan.actions().last() else { panic!("{plan:?}") };
        assert_eq!(allowed, &allow("abc").names(Family::Chromium));
        assert_eq!(HostManifest::parse(Family::Chromium, contents).unwrap().path(), BINARY);
    }

    #[test]
    fn nothing_is_written_when_nothing_would_change_and_permissions_are_repaired() {
        let mut targets = rows(&["chromium"]);
        let chromium = of(&mut targets, "chromium");
        chromium.missing_folders.clear();
        chromium.found = ours("ab", BINARY);
        let plan = plan_install(&targets, &allow("b"), &binary()).unwrap();
        assert!(!plan.is_change());
        assert!(plan.describe().contains("up to date for Chromium"), "{}", plan.describe());
        of(&mut targets, "chromium").is_sound = false;
        assert!(plan_install(&targets, &allow("b"), &binary()).unwrap().is_change());
    }

    #[test]
    fn a_foreign_file_is_moved_aside_before_it_is_replaced_and_the_plan_says_so() {
        let mut targets = rows(&["chromium"]);
        let chromium = of(&mut targets, "chromium");
        chromium.missing_folders.clear();
        chromium.found = other();
        let plan = plan_install(&targets, &allow("a"), &binary()).unwrap();
        assert!(matches!(plan.actions(), [Action::Backup { .. }, Action::Write { .. }]), "{plan:?}");
        assert!(plan.describe().contains("to x.json.bak: it is not ours (not JSON)"), "{}", plan.describe());
    }

    #[test]
    fn an_origin_that_no_browser_accepts_is_dropped_and_the_plan_says_so() {
        let mut targets = rows(&["chromium"]);
        let text = r#"{"name": "com.framehost.host", "path": "/x", "allowed_origins": ["chrome-extension://*/"]}"#;
        let manifest = HostManifest::parse(Family::Chromium, text).unwrap();
        of(&mut targets, "chromium").found = Found::Ours(manifest, text.to_owned());
        let plan = plan_install(&targets, &allow("a"), &binary()).unwrap();
        assert!(plan.describe().contains("dropping \"chrome-extension://*/\""), "{}", plan.describe());
    }

    #[test]
    fn installing_for_nobody_is_refused() {
        let nobody = Allowed::default();
        assert!(matches!(plan_install(&rows(&[]), &nobody, &binary()), Err(InstallError::NoExtensionId)));
    }

    #[test]
    fn uninstall_removes_what_is_ours_and_the_folder_if_empty() {
        let mut targets = rows(&[]);
        let chrome = of(&mut targets, "chrome");
        chrome.found = ours("a", BINARY);
        chrome.removable_folders = vec![chrome.place.folder().to_owned()];
        let plan = plan_uninstall(&targets);
        assert!(matches!(plan.actions(), [Action::Remove { .. }, Action::RemoveEmptyDir { .. }]), "{plan:?}");
        assert!(plan.describe().contains(&format!("remove {}\n", chromium_manifest("google-chrome"))));
    }

    #[test]
    fn uninstall_leaves_what_is_not_ours() {
        let mut targets = rows(&[]);
        of(&mut targets, "chromium").found = other();
        let plan = plan_uninstall(&targets);
        assert!(!plan.is_change());
        assert!(matches!(plan.actions(), [Action::Keep { .. }]), "{plan:?}");
    }

    #[test]
    fn uninstall_of_nothing_does_nothing() {
        assert_eq!(plan_uninstall(&rows(&[])), Plan::default());
        assert_eq!(plan_uninstall(&rows(&[])).describe(), "nothing to do\n");
        assert!(plan_uninstall(&rows(&["chromium"])).describe().contains("there is none"));
    }
}
