//! The disk: what stands there, and doing what a plan says.
//!
//! Belongs here: every file operation of this module. Does not belong here: decisions (`plan`).

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use super::{
    Action, Browser, Found, HostManifest, InstallDirs, InstallError, MANIFEST_DIR, Step, Target,
    browsers::{self, browsers},
};

/// Permissions of a manifest: the browser reads it, nobody else's secrets are in it.
const MANIFEST_MODE: u32 = 0o644;

/// Largest file that is taken for a manifest, in bytes (1 MiB: 15,000 extensions).
const MAX_MANIFEST_BYTES: u64 = 1 << 20;

/// Names tried for what is moved aside: `….bak`, `….bak2`, ….
const MAX_BACKUPS: u32 = 1000;

/// Which browsers are meant. Both empty: left to the plan.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Ids of the browser table.
    pub browsers: Vec<String>,
    /// User data directories of a browser that is started with `--user-data-dir`, instead of its usual one. They need
    /// not exist yet. `browsers` then says which browser that is, and may be empty.
    pub user_data_dirs: Vec<PathBuf>,
}

/// The small program that does nothing but what browsers start it for.
const RELAY_NAME: &str = "framehost-relay";

/// A program that a browser can start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostBinary(PathBuf);

impl HostBinary {
    /// Checks what the browser would only answer with "Specified native messaging host not found.".
    ///
    /// # Errors
    ///
    /// The `Binary…` variants of [`InstallError`], and [`InstallError::Io`].
    pub fn check(path: &Path) -> Result<Self, InstallError> {
        let path = path.to_owned();
        if !path.is_absolute() {
            return Err(InstallError::BinaryRelative { path });
        }
        let metadata = match fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(source) if source.kind() == io::ErrorKind::NotFound => {
                return Err(InstallError::BinaryMissing { path });
            }
            Err(source) => return Err(InstallError::Io { step: Step::Read, path, source }),
        };
        if !metadata.is_file() {
            return Err(InstallError::BinaryNotAFile { path });
        }
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o111 == 0 {
            return Err(InstallError::BinaryNotExecutable { mode, path });
        }
        Ok(Self(path))
    }

    /// The program that browsers are to start where `program` is: the relay beside it, which is small; else itself.
    ///
    /// # Errors
    ///
    /// As [`Self::check`].
    pub fn beside(program: &Path) -> Result<Self, InstallError> {
        let relay = program.with_file_name(RELAY_NAME);
        Self::check(if relay.is_file() { &relay } else { program })
    }

    /// Its absolute path.
    pub fn path(&self) -> &Path {
        &self.0
    }

    #[cfg(test)]
    pub(super) fn unchecked(path: &str) -> Self {
        Self(path.into())
    }
}

/// Looks at every place that a plan may be about: what was selected, and every row of the browser table.
///
/// # Errors
///
/// [`InstallError::UnknownBrowser`], [`InstallError::UserDataDirOfSeveral`], and [`InstallError::Io`] where a place
/// cannot be looked at.
pub fn survey(selection: &Selection, dirs: &InstallDirs) -> Result<Vec<Target>, InstallError> {
    let named = browsers::named(&selection.browsers)?;
    let is_usual_place = selection.user_data_dirs.is_empty();
    let mut targets = Vec::new();
    for browser in browsers() {
        targets.push(look(Some(browser), is_usual_place && named.contains(&browser), browser.user_data_dir(dirs))?);
    }
    let kind = match named.as_slice() {
        [] => None,
        [one] => Some(*one),
        [..] if is_usual_place => None,
        [..] => return Err(InstallError::UserDataDirOfSeveral { browsers: selection.browsers.join(", ") }),
    };
    for dir in &selection.user_data_dirs {
        let absolute = std::path::absolute(dir).map_err(|source| InstallError::Io {
            step: Step::Resolve,
            path: dir.clone(),
            source,
        })?;
        match targets.iter_mut().find(|target| target.user_data_dir == absolute) {
            Some(target) => target.is_named = true,
            None => targets.push(look(kind, true, absolute)?),
        }
    }
    Ok(targets)
}

fn look(browser: Option<&'static Browser>, is_named: bool, user_data_dir: PathBuf) -> Result<Target, InstallError> {
    let mut target = Target {
        browser,
        is_named,
        user_data_dir_exists: user_data_dir.is_dir(),
        manifest_dir_exists: user_data_dir.join(MANIFEST_DIR).is_dir(),
        user_data_dir,
        found: Found::Absent,
    };
    target.found = find(&target.manifest_path())?;
    Ok(target)
}

fn find(path: &Path) -> Result<Found, InstallError> {
    let reason = match read(path) {
        Ok(Some(text)) => match HostManifest::parse(&text) {
            Ok(manifest) => return Ok(Found::Ours(manifest, text)),
            Err(reason) => reason,
        },
        Ok(None) => return Ok(Found::Absent),
        Err(reason) => reason,
    };
    Ok(Found::Other { reason, backup: free_backup(path)? })
}

/// The file's text; `None` if there is nothing at all. A reason if something stands there that cannot be a manifest.
fn read(path: &Path) -> Result<Option<String>, String> {
    match fs::symlink_metadata(path) {
        Ok(_) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(format!("it cannot be read: {error}")),
    }
    // Follows a symbolic link, which a browser does as well.
    let metadata = fs::metadata(path).map_err(|error| format!("it cannot be read: {error}"))?;
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    if metadata.len() > MAX_MANIFEST_BYTES {
        return Err(format!("it has {} bytes", metadata.len()));
    }
    fs::read_to_string(path).map(Some).map_err(|error| format!("it cannot be read: {error}"))
}

fn free_backup(path: &Path) -> Result<PathBuf, InstallError> {
    let base = path.as_os_str().to_owned();
    for number in 1..=MAX_BACKUPS {
        let mut name = base.clone();
        name.push(if number == 1 { ".bak".to_owned() } else { format!(".bak{number}") });
        let candidate = PathBuf::from(name);
        if fs::symlink_metadata(&candidate).is_err() {
            return Ok(candidate);
        }
    }
    let source = io::Error::from(io::ErrorKind::AlreadyExists);
    Err(InstallError::Io { step: Step::Backup, path: path.to_owned(), source })
}

/// Does one action of a plan.
pub(super) fn execute(action: &Action) -> Result<(), InstallError> {
    let failed = |step: Step, path: &Path| {
        let path = path.to_owned();
        move |source| InstallError::Io { step, path, source }
    };
    match action {
        Action::CreateDir { path, mode } => create_dir(path, *mode).map_err(failed(Step::CreateDir, path)),
        Action::Backup { path, backup, reason: _ } => fs::rename(path, backup).map_err(failed(Step::Backup, path)),
        Action::Write { path, contents, browser: _, extension_ids: _, refused_origins: _ } => {
            write_whole(path, contents).map_err(failed(Step::Write, path))
        }
        Action::Keep { path: _, reason: _ } => Ok(()),
        Action::Remove { path } => match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(Step::Remove, path)(error)),
            Ok(()) | Err(_) => Ok(()),
        },
        Action::RemoveEmptyDir { path } => match fs::remove_dir(path) {
            // A link to a folder is somebody's arrangement, and stays.
            Ok(()) => Ok(()),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::NotADirectory => Ok(()),
                _ => Err(failed(Step::Remove, path)(error)),
            },
        },
    }
}

/// Makes `path` with exactly `mode`, and what is missing above it for the user alone.
fn create_dir(path: &Path, mode: u32) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(parent)?;
    }
    match fs::create_dir(path) {
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(mode)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes beside `path`, then renames: a browser that looks meanwhile sees the old file or the new one.
fn write_whole(path: &Path, contents: &str) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = PathBuf::from(name);
    let written = write_new(&temporary, contents).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // What went wrong is in `written`; the leftover, if there is one, is only litter.
        let _ = fs::remove_file(&temporary);
    }
    written
}

fn write_new(path: &Path, contents: &str) -> io::Result<()> {
    // Left over from a process of the same id that was killed here.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(MANIFEST_MODE).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(MANIFEST_MODE))?;
    file.write_all(contents.as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{ExtensionId, Family, host_name, plan_install, plan_uninstall},
        *,
    };
    use crate::error::ErrorKind;

    struct Home {
        dir: tempfile::TempDir,
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
        Home { dirs: InstallDirs { config_home: root.join("config"), home: root }, dir, binary }
    }

    fn id(letter: char) -> ExtensionId {
        ExtensionId::parse(&letter.to_string().repeat(32)).unwrap()
    }

    fn select(browsers: &[&str], user_data_dirs: &[&Path]) -> Selection {
        Selection {
            browsers: browsers.iter().map(|&id| id.to_owned()).collect(),
            user_data_dirs: user_data_dirs.iter().map(|&dir| dir.to_owned()).collect(),
        }
    }

    fn install(home: &Home, selection: &Selection, ids: &[ExtensionId]) -> super::super::Plan {
        let plan = plan_install(&survey(selection, &home.dirs).unwrap(), ids, &home.binary).unwrap();
        plan.execute().unwrap();
        plan
    }

    fn uninstall(home: &Home, selection: &Selection) -> super::super::Plan {
        let plan = plan_uninstall(&survey(selection, &home.dirs).unwrap());
        plan.execute().unwrap();
        plan
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    fn manifest_in(user_data_dir: &Path) -> PathBuf {
        user_data_dir.join(MANIFEST_DIR).join(format!("{}.json", host_name()))
    }

    #[test]
    fn every_row_is_installed_and_uninstalled() {
        for browser in browsers() {
            let home = home();
            let user_data_dir = browser.user_data_dir(&home.dirs);
            let path = manifest_in(&user_data_dir);
            let selection = select(&[browser.id()], &[]);

            install(&home, &selection, &[id('a')]);
            let manifest = HostManifest::parse(&fs::read_to_string(&path).unwrap()).unwrap();
            assert_eq!(Path::new(manifest.path()), home.binary.path());
            assert_eq!(manifest.extension_ids(), [id('a')]);
            assert_eq!(mode(&path), 0o644);
            assert_eq!(mode(path.parent().unwrap()), 0o755);
            assert_eq!(mode(&user_data_dir), 0o700);
            assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file stays");
            assert!(!install(&home, &selection, &[id('a')]).is_change());

            uninstall(&home, &selection);
            assert!(user_data_dir.is_dir());
            assert!(!path.parent().unwrap().exists());
            assert!(!uninstall(&home, &selection).is_change());
        }
    }

    #[test]
    fn a_user_data_dir_of_any_name_works_and_leaves_the_table_alone() {
        let home = home();
        let dir = home.dirs.home.join("profile \"x\" ü");
        install(&home, &select(&[], &[&dir]), &[id('a'), id('b')]);
        let manifest = HostManifest::parse(&fs::read_to_string(manifest_in(&dir)).unwrap()).unwrap();
        assert_eq!(manifest.extension_ids(), [id('a'), id('b')]);
        assert!(!home.dirs.config_home.exists());
        uninstall(&home, &select(&[], &[&dir]));
        assert!(!manifest_in(&dir).exists());
    }

    #[test]
    fn a_user_data_dir_that_a_row_has_is_one_target() {
        let home = home();
        let dir = browsers()[0].user_data_dir(&home.dirs);
        let plan = install(&home, &select(&[browsers()[0].id()], &[&dir]), &[id('a')]);
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
        assert!(targets.last().unwrap().manifest_path().is_absolute());
    }

    #[test]
    fn without_names_only_browsers_that_are_there_are_written() {
        let home = home();
        let there = browsers()[1].user_data_dir(&home.dirs);
        fs::create_dir_all(&there).unwrap();
        install(&home, &Selection::default(), &[id('a')]);
        for browser in browsers() {
            let path = manifest_in(&browser.user_data_dir(&home.dirs));
            assert_eq!(path.exists(), browser.user_data_dir(&home.dirs) == there, "{}", browser.id());
        }
        uninstall(&home, &Selection::default());
        assert!(!manifest_in(&there).exists());
    }

    #[test]
    fn installing_for_a_second_extension_keeps_the_first() {
        let home = home();
        install(&home, &Selection::default(), &[id('a')]);
        install(&home, &Selection::default(), &[id('b')]);
        let path = manifest_in(&browsers()[0].user_data_dir(&home.dirs));
        let manifest = HostManifest::parse(&fs::read_to_string(path).unwrap()).unwrap();
        assert_eq!(manifest.extension_ids(), [id('a'), id('b')]);
    }

    #[test]
    fn what_is_not_ours_is_moved_aside_and_never_over_an_older_backup() {
        let home = home();
        let selection = select(&["chromium"], &[]);
        let path = manifest_in(&browsers()[0].user_data_dir(&home.dirs));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        for (contents, backup) in [("{ // not ours", "bak"), ("{\"name\": \"org.example\"}", "bak2"), ("\0", "bak3")] {
            fs::write(&path, contents).unwrap();
            let plan = install(&home, &selection, &[id('a')]);
            assert!(plan.describe().contains("it is not ours"), "{}", plan.describe());
            let kept = path.with_file_name(format!("{}.json.{backup}", host_name()));
            assert_eq!(fs::read_to_string(kept).unwrap(), contents);
            assert!(HostManifest::parse(&fs::read_to_string(&path).unwrap()).is_ok());
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
        let path = manifest_in(&browsers()[0].user_data_dir(&home.dirs));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, b"\xff\xfe").unwrap();
        assert!(install(&home, &selection, &[id('a')]).describe().contains("cannot be read"));
        let long = usize::try_from(MAX_MANIFEST_BYTES).unwrap() + 1;
        fs::write(&path, vec![b' '; long]).unwrap();
        assert!(install(&home, &selection, &[id('a')]).describe().contains("it has 1048577 bytes"));
    }

    #[test]
    fn uninstall_leaves_what_is_not_ours_and_folders_that_others_use() {
        let home = home();
        let selection = select(&["chromium"], &[]);
        let path = manifest_in(&browsers()[0].user_data_dir(&home.dirs));
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
        let path = manifest_in(&browsers()[0].user_data_dir(&home.dirs));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let elsewhere = home.dirs.home.join("elsewhere.json");
        let text = HostManifest::new(Path::new("/old"), &[id('c')]).unwrap().render(Family::Chromium);
        fs::write(&elsewhere, &text).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        install(&home, &selection, &[id('a')]);
        let manifest = HostManifest::parse(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(manifest.extension_ids(), [id('c'), id('a')]);
        assert!(!fs::symlink_metadata(&path).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&elsewhere).unwrap(), text);
    }

    #[test]
    fn a_dangling_symbolic_link_is_moved_aside() {
        let home = home();
        let path = manifest_in(&browsers()[0].user_data_dir(&home.dirs));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink("nowhere", &path).unwrap();
        assert!(install(&home, &select(&["chromium"], &[]), &[id('a')]).describe().contains("cannot be read"));
        assert!(path.is_file());
    }

    #[test]
    fn a_file_where_a_folder_belongs_is_an_error_that_names_it() {
        let home = home();
        let dir = browsers()[0].user_data_dir(&home.dirs);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(MANIFEST_DIR), "").unwrap();
        let targets = survey(&select(&["chromium"], &[]), &home.dirs).unwrap();
        let error = plan_install(&targets, &[id('a')], &home.binary).unwrap().execute().unwrap_err();
        assert!(error.to_string().contains("cannot create the folder"), "{error}");
        assert!(error.to_string().contains(MANIFEST_DIR), "{error}");
    }

    #[test]
    fn the_relay_is_taken_where_it_lies_beside_the_program() {
        let home = home();
        let put = |name: &str| {
            let path = home.dir.path().join(name);
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let program = put("framehost");
        assert_eq!(HostBinary::beside(&program).unwrap().path(), program);
        let relay = put(RELAY_NAME);
        assert_eq!(HostBinary::beside(&program).unwrap().path(), relay);
        fs::set_permissions(&relay, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(HostBinary::beside(&program).unwrap_err().to_string().contains("not executable"));
    }

    #[test]
    fn the_host_program_is_checked() {
        let home = home();
        let check = |path: &Path| HostBinary::check(path).unwrap_err();
        let plain = home.dir.path().join("plain");
        fs::write(&plain, "").unwrap();
        fs::set_permissions(&plain, fs::Permissions::from_mode(0o640)).unwrap();
        let cases = [
            (check(Path::new("bin/framehost")), ErrorKind::InvalidArgument, "must be absolute"),
            (check(Path::new("~/framehost")), ErrorKind::InvalidArgument, "must be absolute"),
            (check(&home.dir.path().join("missing")), ErrorKind::NotFound, "does not exist"),
            (check(home.dir.path()), ErrorKind::FailedPrecondition, "is not a file"),
            (check(&plain), ErrorKind::FailedPrecondition, "not executable (mode 0640)"),
        ];
        for (error, kind, expected) in cases {
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn an_unknown_browser_is_refused() {
        let error = survey(&select(&["netscape"], &[]), &home().dirs).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    }
}
