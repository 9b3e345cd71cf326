//! The plan of every row on every system, and the disk as it is before and after a plan.
//!
//! `tests/golden/install-plans.txt` is what the first test writes with `UPDATE_GOLDEN=1`, and compares without.

#![cfg(unix)]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use super::*;
use crate::error::ErrorKind;

/// Directories as people have them on a system, with all that is odd in a name.
fn usual_dirs(system: System) -> InstallDirs {
    match system {
        System::Linux => InstallDirs {
            root: "/".into(),
            home: "/home/u".into(),
            config_home: "/home/u/my \"config\"".into(),
            data_home: "/home/u/.local/share".into(),
            machine_data: PathBuf::new(),
        },
        System::MacOs => InstallDirs {
            root: "/".into(),
            home: "/home/ü u".into(),
            config_home: "/nowhere".into(),
            data_home: "/nowhere".into(),
            machine_data: PathBuf::new(),
        },
        System::Windows => InstallDirs {
            root: "/nowhere".into(),
            home: "C:\\Users\\ü u".into(),
            config_home: "C:\\nowhere".into(),
            data_home: "C:\\Users\\ü u\\AppData\\Local".into(),
            machine_data: "C:\\ProgramData".into(),
        },
    }
}

/// What a path of a plan has to be below.
fn allowed_bases(system: System, scope: Scope) -> &'static [&'static str] {
    match (system, scope) {
        (System::Linux, Scope::User) => &["/home/u/my \"config\"/", "/home/u/.local/share/", "/home/u/."],
        (System::Linux, Scope::System) => &["/etc/opt/", "/etc/chromium", "/usr/lib/mozilla", "/usr/lib64/mozilla"],
        (System::MacOs, Scope::User) => &["/home/ü u/Library/Application Support/"],
        (System::MacOs, Scope::System) => &["/Library"],
        (System::Windows, Scope::User) => &["C:\\Users\\ü u\\AppData\\Local\\framehost"],
        (System::Windows, Scope::System) => &["C:\\ProgramData\\framehost"],
    }
}

fn check_path(path: &Path, system: System, scope: Scope) {
    let text = path.to_str().unwrap();
    let is_below = allowed_bases(system, scope).iter().any(|base| text.starts_with(base));
    // Apart from the system's own folders, which are there.
    assert!(is_below || ["/etc", "/etc/opt", "/usr", "/usr/lib", "/usr/lib64"].contains(&text), "{text}");
    let other = if system == System::Windows { '/' } else { '\\' };
    assert!(!text.contains(other) && !text.contains("..") && !text.contains("nowhere"), "{text}");
    assert!(!text.contains("//") && !text[1..].contains("\\\\"), "{text}");
}

#[test]
fn the_plan_of_every_row_on_every_system_is_as_it_was_reviewed() {
    let ids = Allowed {
        chromium: vec![ExtensionId::parse("abcdefghijklmnopabcdefghijklmnop").unwrap()],
        firefox: vec![FirefoxId::parse("framehost@example.org").unwrap()],
    };
    let mut text = String::new();
    for browser in browsers() {
        let mut rows_with_a_place = 0;
        for (system, scope) in System::ALL.into_iter().flat_map(|s| [(s, Scope::User), (s, Scope::System)]) {
            let program = if system == System::Windows {
                "C:\\Program Files\\framehost\\framehost-relay.exe"
            } else {
                "/usr/bin/framehost-relay"
            };
            let dirs = usual_dirs(system);
            text.push_str(&format!("{} {system:?} {scope:?}\n", browser.id()));
            let targets = match targets(&[browser.id().to_owned()], system, scope, &dirs) {
                Ok(targets) => targets,
                Err(error) => {
                    assert!(matches!(error, InstallError::NoPlace { .. }), "{error}");
                    text.push_str("  none\n");
                    continue;
                }
            };
            rows_with_a_place += 1;
            let plan = plan_install(&targets, &ids, &HostBinary::unchecked(program)).unwrap();
            let mut manifests = Vec::new();
            let mut keys = Vec::new();
            for action in plan.actions() {
                match action {
                    Action::CreateDir { path, .. } => check_path(path, system, scope),
                    Action::Write { path, contents, .. } => {
                        check_path(path, system, scope);
                        let manifest = HostManifest::parse(browser.family(), contents).unwrap();
                        assert_eq!(manifest.path(), program);
                        assert_eq!(manifest.allowed().names(browser.family()), ids.names(browser.family()));
                        assert!(path.to_str().unwrap().ends_with(&format!("{}.json", host_name())));
                        assert!(!manifests.contains(&path), "a place is written once");
                        manifests.push(path);
                    }
                    Action::SetKey { key, manifest, was: None } => {
                        assert!(manifests.contains(&manifest), "what a key names is written before");
                        let hive = if scope == Scope::User { Hive::CurrentUser } else { Hive::LocalMachine };
                        assert_eq!(key.hive, hive);
                        keys.push(key.view);
                    }
                    other => panic!("{other}"),
                }
                text.push_str(&format!("  {action}\n"));
            }
            assert!(!manifests.is_empty());
            let views: &[View] = match (system, scope) {
                (System::Linux | System::MacOs, _) => &[],
                (System::Windows, Scope::User) => &[View::Shared],
                (System::Windows, Scope::System) => &[View::Bits32, View::Bits64],
            };
            assert_eq!(keys, views);
        }
        assert!(rows_with_a_place >= 3, "{}", browser.id());
    }
    let golden = Path::new("tests/golden/install-plans.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(golden, &text).unwrap();
    }
    assert!(
        fs::read_to_string(golden).unwrap() == text,
        "UPDATE_GOLDEN=1 rewrites {}: review what has changed",
        golden.display()
    );
}

struct Home {
    _dir: tempfile::TempDir,
    dirs: InstallDirs,
    binary: HostBinary,
}

fn home() -> Home {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("a \"home\" & 'ü'");
    fs::create_dir(&root).unwrap();
    let path = root.join("frame host");
    fs::write(&path, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let binary = HostBinary::check(&path).unwrap();
    let dirs = InstallDirs {
        root: dir.path().join("root"),
        config_home: root.join("config"),
        data_home: root.join("share"),
        machine_data: PathBuf::new(),
        home: root,
    };
    Home { dirs, _dir: dir, binary }
}

fn id(letter: char) -> ExtensionId {
    ExtensionId::parse(&letter.to_string().repeat(32)).unwrap()
}

fn select(browsers: &[&str], user_data_dirs: &[&Path]) -> Selection {
    Selection {
        browsers: browsers.iter().map(|&id| id.to_owned()).collect(),
        user_data_dirs: user_data_dirs.iter().map(|&dir| dir.to_owned()).collect(),
        scope: Scope::User,
    }
}

fn install(home: &Home, selection: &Selection, ids: &[ExtensionId]) -> Plan {
    let plan = plan_install(&survey(selection, &home.dirs).unwrap(), &allowed(ids), &home.binary).unwrap();
    plan.execute(|_| {}).unwrap();
    plan
}

fn uninstall(home: &Home, selection: &Selection) -> Plan {
    let plan = plan_uninstall(&survey(selection, &home.dirs).unwrap());
    plan.execute(|_| {}).unwrap();
    plan
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn allowed(ids: &[ExtensionId]) -> Allowed {
    Allowed { chromium: ids.to_vec(), firefox: vec![FirefoxId::parse("framehost@example.org").unwrap()] }
}

fn user_data_dir(id: &str, dirs: &InstallDirs) -> PathBuf {
    let browser = browsers().iter().find(|browser| browser.id() == id).unwrap();
    places(browser, System::Linux, Scope::User, dirs).remove(0).place.data
}

fn parse(text: &str) -> HostManifest {
    HostManifest::parse(Family::Chromium, text).unwrap()
}

fn manifest_in(user_data_dir: &Path) -> PathBuf {
    user_data_dir.join(MANIFEST_DIR).join(format!("{}.json", host_name()))
}

#[test]
fn every_row_is_installed_and_uninstalled_and_nothing_is_left() {
    for (browser, scope) in browsers().iter().flat_map(|browser| [(browser, Scope::User), (browser, Scope::System)]) {
        let home = home();
        for folder in ["etc/opt", "usr/lib"] {
            fs::create_dir_all(home.dirs.root.join(folder)).unwrap();
        }
        let before = tree(home._dir.path());
        let places = places(browser, System::Linux, scope, &home.dirs);
        let selection = Selection { scope, ..select(&[browser.id()], &[]) };
        if places.is_empty() {
            assert!(matches!(survey(&selection, &home.dirs), Err(InstallError::NoPlace { .. })));
            continue;
        }
        install(&home, &selection, &[id('a')]);
        for place in places.iter().filter(|place| !place.is_optional).map(|place| &place.place) {
            let text = fs::read_to_string(&place.manifest).unwrap();
            let manifest = HostManifest::parse(browser.family(), &text).unwrap();
            assert_eq!(Path::new(manifest.path()), home.binary.path());
            assert_eq!(manifest.allowed().names(browser.family()), allowed(&[id('a')]).names(browser.family()));
            assert_eq!(mode(&place.manifest), 0o644);
            assert_eq!(mode(place.folder()), 0o755);
            assert_eq!(mode(&place.data), if scope == Scope::User { 0o700 } else { 0o755 });
            assert_eq!(fs::read_dir(place.folder()).unwrap().count(), 1, "no temporary file stays");
        }
        assert!(!install(&home, &selection, &[id('a')]).is_change());
        uninstall(&home, &selection);
        let after: Vec<_> = tree(home._dir.path()).into_iter().filter(|path| !before.contains(path)).collect();
        assert!(after.is_empty(), "{} {scope:?}: {after:?}", browser.id());
        assert!(!uninstall(&home, &selection).is_change());
    }
}

fn tree(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { [vec![path.clone()], tree(&path)].concat() } else { vec![path] }).collect()
}

#[test]
fn a_folder_that_was_there_before_stays() {
    let home = home();
    let dir = user_data_dir("chromium", &home.dirs);
    fs::create_dir_all(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
    install(&home, &select(&["chromium"], &[]), &[id('a')]);
    uninstall(&home, &select(&["chromium"], &[]));
    assert!(dir.is_dir() && !dir.join(MANIFEST_DIR).exists());
}

#[test]
fn a_manifest_of_the_machine_that_others_cannot_read_is_repaired() {
    let home = home();
    let selection = Selection { scope: Scope::System, ..select(&["chrome"], &[]) };
    install(&home, &selection, &[id('a')]);
    let path = home.dirs.root.join("etc/opt/chrome/native-messaging-hosts").join(format!("{}.json", host_name()));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(install(&home, &selection, &[id('a')]).is_change());
    assert_eq!(mode(&path), 0o644);
}

#[test]
fn a_home_behind_a_symbolic_link_is_a_home() {
    let home = home();
    let link = home._dir.path().join("link \"ü\"");
    std::os::unix::fs::symlink(&home.dirs.home, &link).unwrap();
    let linked = InstallDirs { config_home: link.join("config"), home: link, ..home.dirs.clone() };
    let selection = select(&["chromium"], &[]);
    plan_install(&survey(&selection, &linked).unwrap(), &allowed(&[id('a')]), &home.binary)
        .unwrap()
        .execute(|_| {})
        .unwrap();
    assert!(manifest_in(&user_data_dir("chromium", &home.dirs)).is_file());
    assert!(!install(&home, &selection, &[id('a')]).is_change());
    plan_uninstall(&survey(&selection, &linked).unwrap()).execute(|_| {}).unwrap();
    assert!(!home.dirs.config_home.exists());
}

#[test]
fn user_data_dirs_go_with_a_chromium_of_one_user() {
    let home = home();
    let dir = home.dirs.home.join("profile");
    let error = survey(&select(&["firefox"], &[&dir]), &home.dirs).unwrap_err();
    assert!(error.to_string().contains("whatever its profile"), "{error}");
    let system = Selection { scope: Scope::System, ..select(&[], &[&dir]) };
    assert!(matches!(survey(&system, &home.dirs), Err(InstallError::UserDataDirOfSystem)));
}

#[test]
fn a_user_data_dir_of_any_name_works_and_leaves_the_table_alone() {
    let home = home();
    let dir = home.dirs.home.join("profile \"x\" ü");
    install(&home, &select(&[], &[&dir]), &[id('a'), id('b')]);
    let manifest = parse(&fs::read_to_string(manifest_in(&dir)).unwrap());
    assert_eq!(manifest.allowed().chromium, [id('a'), id('b')]);
    assert!(!home.dirs.config_home.exists());
    uninstall(&home, &select(&[], &[&dir]));
    assert!(!manifest_in(&dir).exists());
}

#[test]
fn a_user_data_dir_that_a_row_has_is_one_target() {
    let home = home();
    let dir = user_data_dir("chromium", &home.dirs);
    let plan = install(&home, &select(&["chromium"], &[&dir]), &[id('a')]);
    let written = plan.actions().iter().filter(|action| matches!(action, Action::Write { .. })).count();
    assert_eq!(written, 1);
}

#[test]
fn a_user_data_dir_stands_instead_of_the_named_browsers_usual_one() {
    let home = home();
    let dir = home.dirs.home.join("profile");
    install(&home, &select(&["chrome"], &[&dir]), &[id('a')]);
    assert!(manifest_in(&dir).is_file());
    assert!(!home.dirs.config_home.exists());
    let error = survey(&select(&["chrome", "chromium"], &[&dir]), &home.dirs).unwrap_err();
    assert!(error.to_string().contains("chrome, chromium"), "{error}");
}

#[test]
fn a_relative_user_data_dir_becomes_absolute() {
    let targets = survey(&select(&[], &[Path::new("profile")]), &home().dirs).unwrap();
    assert!(targets.last().unwrap().place.manifest.is_absolute());
}

#[test]
fn without_names_only_browsers_that_are_there_are_written() {
    let home = home();
    let there = user_data_dir("chrome", &home.dirs);
    fs::create_dir_all(&there).unwrap();
    install(&home, &Selection::default(), &[id('a')]);
    assert!(manifest_in(&there).exists());
    assert!(!manifest_in(&user_data_dir("chromium", &home.dirs)).exists());
    uninstall(&home, &Selection::default());
    assert!(!manifest_in(&there).exists());
}

#[test]
fn installing_for_a_second_extension_keeps_the_first() {
    let home = home();
    install(&home, &Selection::default(), &[id('a')]);
    install(&home, &Selection::default(), &[id('b')]);
    let path = manifest_in(&user_data_dir("chromium", &home.dirs));
    let manifest = parse(&fs::read_to_string(path).unwrap());
    assert_eq!(manifest.allowed().chromium, [id('a'), id('b')]);
}

#[test]
fn what_is_not_ours_is_moved_aside_and_never_over_an_older_backup() {
    let home = home();
    let selection = select(&["chromium"], &[]);
    let path = manifest_in(&user_data_dir("chromium", &home.dirs));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    for (contents, backup) in [("{ // not ours", "bak"), ("{\"name\": \"org.example\"}", "bak2"), ("\0", "bak3")] {
        fs::write(&path, contents).unwrap();
        let plan = install(&home, &selection, &[id('a')]);
        assert!(plan.describe().contains("it is not ours"), "{}", plan.describe());
        let kept = path.with_file_name(format!("{}.json.{backup}", host_name()));
        assert_eq!(fs::read_to_string(kept).unwrap(), contents);
        assert!(HostManifest::parse(Family::Chromium, &fs::read_to_string(&path).unwrap()).is_ok());
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(install(&home, &selection, &[id('a')]).describe().contains("it is not a file"));
    assert!(path.is_file());
}

#[test]
fn bytes_that_are_not_utf8_and_a_file_too_large_are_moved_aside() {
    let home = home();
    let selection = select(&["chromium"], &[]);
    let path = manifest_in(&user_data_dir("chromium", &home.dirs));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, b"\xff\xfe").unwrap();
    assert!(install(&home, &selection, &[id('a')]).describe().contains("cannot be read"));
    let long = usize::try_from(survey::MAX_MANIFEST_BYTES).unwrap() + 1;
    fs::write(&path, vec![b' '; long]).unwrap();
    assert!(install(&home, &selection, &[id('a')]).describe().contains("it has 1048577 bytes"));
}

#[test]
fn uninstall_leaves_what_is_not_ours_and_folders_that_others_use() {
    let home = home();
    let selection = select(&["chromium"], &[]);
    let path = manifest_in(&user_data_dir("chromium", &home.dirs));
    install(&home, &selection, &[id('a')]);
    let neighbour = path.with_file_name("org.example.json");
    fs::write(&neighbour, "{}").unwrap();
    uninstall(&home, &selection);
    assert!(!path.exists() && neighbour.exists());
    fs::write(&path, "{}").unwrap();
    assert!(uninstall(&home, &selection).describe().contains("it is not ours: it has no name"));
    assert!(path.exists());
}

#[test]
fn a_symbolic_link_is_replaced_and_what_it_pointed_to_stays() {
    let home = home();
    let selection = select(&["chromium"], &[]);
    let path = manifest_in(&user_data_dir("chromium", &home.dirs));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let elsewhere = home.dirs.home.join("elsewhere.json");
    let text = HostManifest::new(Family::Chromium, Path::new("/old"), &allowed(&[id('c')])).unwrap().render();
    fs::write(&elsewhere, &text).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    install(&home, &selection, &[id('a')]);
    let manifest = parse(&fs::read_to_string(&path).unwrap());
    assert_eq!(manifest.allowed().chromium, [id('c'), id('a')]);
    assert!(!fs::symlink_metadata(&path).unwrap().is_symlink());
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), text);
}

#[test]
fn a_dangling_symbolic_link_is_moved_aside() {
    let home = home();
    let path = manifest_in(&user_data_dir("chromium", &home.dirs));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("nowhere", &path).unwrap();
    assert!(install(&home, &select(&["chromium"], &[]), &[id('a')]).describe().contains("cannot be read"));
    assert!(path.is_file());
}

#[test]
fn a_file_where_a_folder_belongs_is_an_error_that_names_it() {
    let home = home();
    let dir = user_data_dir("chromium", &home.dirs);
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(MANIFEST_DIR), "").unwrap();
    let targets = survey(&select(&["chromium"], &[]), &home.dirs).unwrap();
    let error = plan_install(&targets, &allowed(&[id('a')]), &home.binary).unwrap().execute(|_| {}).unwrap_err();
    assert!(error.to_string().contains("cannot create the folder"), "{error}");
    assert!(error.to_string().contains(MANIFEST_DIR), "{error}");
}

#[test]
fn an_unknown_browser_is_refused() {
    let error = survey(&select(&["netscape"], &[]), &home().dirs).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}
