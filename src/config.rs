//! Directories, and the one configuration file.
//!
//! Belongs here: where framehost keeps things, what it remembers between runs.
//! Does not belong here: framehost's own variables (`cli` passes them in), the cache's own rules (`models::cache_dir`).
//!
//! ```text
//! <runtime>/hub.sock, hub.lock, hub.json      $FRAMEHOST_RUNTIME_DIR, $XDG_RUNTIME_DIR/framehost, /tmp/framehost-UID
//! <config>/config.json                        $FRAMEHOST_CONFIG_DIR, ~/.config/framehost
//! <config>/config.json.lock                   held while that is changed; it stays, as removing it would let two hold it
//! <state>/hub.log, crashes/, digests.jsonl, caches/
//!                                             $FRAMEHOST_CONFIG_DIR/state, ~/.local/state/framehost
//! ```
//!
//! On Windows without these variables: `%LOCALAPPDATA%\framehost\run`, `%APPDATA%\framehost\config`,
//! `%LOCALAPPDATA%\framehost\data`.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{
    access::{Allowed, Grants, Unread},
    link::SOCKET_FILE,
    local,
    models::{self, Upstream},
    user,
};

/// Port for gRPC and HTTP unless `FRAMEHOST_PORT` says otherwise.
pub const DEFAULT_PORT: u16 = 50_052;

/// How long another process may have the configuration's lock: one that is stopped has it for ever.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// Pause between two tries for it.
const LOCK_INTERVAL: Duration = Duration::from_millis(10);

/// Variables that name the model cache, the first that counts first.
pub const CACHE_VARIABLES: [&str; 3] = ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME"];

/// Where things are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// Sockets and locks, gone after a restart of the machine.
    pub runtime_dir: PathBuf,
    /// `config.json`.
    pub config_dir: PathBuf,
    /// Logs, and what is remembered about the cache.
    pub state_dir: PathBuf,
    /// The user's home.
    pub home: PathBuf,
}

/// What is remembered between runs, because a hub that a browser starts has not the user's shell environment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// The model cache, once a command has run where the environment names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_dir: Option<PathBuf>,
    /// Where models are fetched from, once a command has run where the environment names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Bytes that the model cache may take: a pull that leaves more clears away what was used longest ago. No limit unless
    /// set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models_max_bytes: Option<u64>,
    /// The ffmpeg program, where it is not in `PATH`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ffmpeg: Option<PathBuf>,
    /// Directories whose video files extensions may open; none unless set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub video_dirs: Vec<PathBuf>,
    /// What extensions may do, by their ids: words of [`Scope`](crate::access::Scope). Who is not named may what is usual.
    #[serde(default, skip_serializing_if = "Allowed::is_empty")]
    pub extensions: Allowed,
    /// What another version of framehost wrote there: it stays.
    #[serde(flatten)]
    pub others: serde_json::Map<String, serde_json::Value>,
}

/// Why framehost has no place to run in.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each field is named in its variant's message")]
pub enum ConfigError {
    /// No home directory.
    #[error("the user has no home directory: set HOME")]
    NoHome,

    /// The directory cannot be made or looked at.
    #[error("cannot use the directory {}: {source}", path.display())]
    Directory { source: io::Error, path: PathBuf },

    /// Others could put a socket of theirs there.
    #[error("the runtime directory has to be the user's own and not writable for others: {}", path.display())]
    NotPrivate { path: PathBuf },

    /// The operating system has no room for the socket's name.
    #[error(
        "the path of the local socket has {len} bytes, and {limit} are possible: \
         set FRAMEHOST_RUNTIME_DIR to a shorter one than {}", path.display()
    )]
    SocketPathTooLong { len: usize, limit: usize, path: PathBuf },

    /// The configuration file is not what it has to be.
    #[error("cannot read the configuration file {}: {problem}", path.display())]
    Config { problem: String, path: PathBuf },

    /// The system does not give the configuration file, now at least.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Unreadable { source: io::Error, path: PathBuf },

    /// The configuration file cannot be written; the one that was there is as it was.
    #[error("cannot write the configuration file {}: {source}", path.display())]
    Unwritable { source: io::Error, path: PathBuf },

    /// A variable with a value that it cannot have.
    #[error("{name}={value:?}: {problem}")]
    Variable { name: &'static str, value: String, problem: &'static str },
}

impl Paths {
    /// Where things are kept, by the environment. Makes nothing.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoHome`].
    pub fn find(lookup: impl Fn(&str) -> Option<OsString>) -> Result<Self, ConfigError> {
        // A hub leaves the directory that it was started in, so what is relative is taken now.
        let directory = |name: &str| lookup(name).filter(|value| !value.is_empty()).map(|path| absolute(path.into()));
        let base = directories::BaseDirs::new().ok_or(ConfigError::NoHome)?;
        let project = directories::ProjectDirs::from("", "", "framehost").ok_or(ConfigError::NoHome)?;
        let runtime_dir = directory("FRAMEHOST_RUNTIME_DIR")
            .or_else(|| project.runtime_dir().map(Path::to_owned))
            .unwrap_or_else(|| user::runtime_dir(project.data_local_dir()));
        let own = directory("FRAMEHOST_CONFIG_DIR");
        let state_dir = match &own {
            Some(own) => own.join("state"),
            None => project.state_dir().unwrap_or_else(|| project.data_local_dir()).to_owned(),
        };
        let config_dir = own.unwrap_or_else(|| project.config_dir().to_owned());
        Ok(Self { runtime_dir, config_dir, state_dir, home: base.home_dir().to_owned() })
    }

    /// The configuration.
    pub fn config_file(&self) -> PathBuf {
        self.config_dir.join("config.json")
    }

    /// Whoever changes the configuration holds its lock.
    pub fn config_lock(&self) -> PathBuf {
        self.config_dir.join("config.json.lock")
    }

    /// Makes the runtime directory, and makes sure that it is private and that a socket's name fits.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn prepare_runtime_dir(&self) -> Result<(), ConfigError> {
        let path = &self.runtime_dir;
        let failed = |source| ConfigError::Directory { source, path: path.clone() };
        let len = path.join(SOCKET_FILE).as_os_str().len();
        if let Some(limit) = local::MAX_PATH_BYTES.filter(|limit| len > *limit) {
            return Err(ConfigError::SocketPathTooLong { len, limit, path: path.clone() });
        }
        user::create_folder(path).map_err(failed)?;
        self.check_runtime_dir()
    }

    /// Makes sure that the runtime directory is private, so that whoever answers there is this user's hub.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Directory`] without one, [`ConfigError::NotPrivate`].
    pub fn check_runtime_dir(&self) -> Result<(), ConfigError> {
        let path = &self.runtime_dir;
        if user::is_private(path).map_err(|source| ConfigError::Directory { source, path: path.clone() })? {
            return Ok(());
        }
        Err(ConfigError::NotPrivate { path: path.clone() })
    }
}

impl Config {
    /// Reads the file; none is an empty one, but not where a link to it leads nowhere.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Config`], [`ConfigError::Unreadable`].
    pub fn read(paths: &Paths) -> Result<Self, ConfigError> {
        let path = paths.config_file();
        let failed = |problem: String| ConfigError::Config { problem, path: path.clone() };
        match user::read_file(&path) {
            Ok(json) => serde_json::from_slice(&json).map_err(|error| failed(error.to_string())),
            // Whoever keeps it on a disk that is not mounted has said something there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => match user::leads_nowhere(&path) {
                Some(source) => Err(ConfigError::Unreadable { source, path }),
                None => Ok(Self::default()),
            },
            Err(source) => Err(ConfigError::Unreadable { source, path }),
        }
    }

    /// Reads, changes and writes the file, alone among all who do: what two of them say at once, both have said. Answers
    /// with the configuration as it is then.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn update(paths: &Paths, change: impl FnOnce(&mut Self)) -> Result<Self, ConfigError> {
        let path = paths.config_lock();
        if let Some(source) = user::leads_nowhere(&paths.config_file()) {
            return Err(ConfigError::Unreadable { source, path: paths.config_file() });
        }
        let no_directory = |source| ConfigError::Directory { source, path: paths.config_dir.clone() };
        user::create_folder(&paths.config_dir).map_err(no_directory)?;
        let failed = |source| ConfigError::Unwritable { source, path: path.clone() };
        let lock = user::open_lock_file(&path).map_err(failed)?;
        take(&lock).map_err(failed)?;
        let mut config = Self::read(paths)?;
        change(&mut config);
        config.write(paths)?;
        Ok(config)
    }

    /// Writes the file whole.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Unwritable`].
    fn write(&self, paths: &Paths) -> Result<(), ConfigError> {
        // One that is a link stays one: it leads to where somebody keeps such files.
        let file = paths.config_file();
        let path = fs::canonicalize(&file).unwrap_or_else(|_| file.clone());
        let temporary = path.with_file_name(format!("config.json.{}", std::process::id()));
        let write = || -> io::Result<()> {
            // The upstream's address may hold a password.
            let mut file = user::create_file(&temporary)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_all()?;
            // Windows renames no file over another that is open.
            drop(file);
            fs::rename(&temporary, &path)
        };
        write().map_err(|source| {
            // The first error is the one that matters.
            let _ = fs::remove_file(&temporary);
            ConfigError::Unwritable { source, path: path.clone() }
        })
    }
}

/// Locks the configuration. Whoever changes it has it for milliseconds.
fn take(lock: &File) -> io::Result<()> {
    let began = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if began.elapsed() > LOCK_PATIENCE => {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "another process has held its lock for seconds"));
            }
            Err(TryLockError::WouldBlock) => thread::sleep(LOCK_INTERVAL),
        }
    }
}

/// What extensions may do, as the configuration says it now and later.
pub fn grants(paths: &Paths) -> Grants {
    let read_from = paths.clone();
    Grants::new(paths.config_file(), move || {
        Config::read(&read_from).map(|config| config.extensions).map_err(|error| match error {
            ConfigError::Unreadable { .. } => Unread::Passing(error.to_string()),
            _ => Unread::Broken(error.to_string()),
        })
    })
}

/// A variable that is set to something. What is no Unicode has a sign in it that no address and no level has.
pub(crate) fn text(lookup: impl Fn(&str) -> Option<OsString>, name: &str) -> Option<String> {
    lookup(name).map(|value| value.to_string_lossy().into_owned()).filter(|value| !value.is_empty())
}

/// The cache directory: the environment's word, else the remembered one, else Hugging Face's usual place. A directory
/// that the environment names is remembered for hubs that are started without that environment.
///
/// # Errors
///
/// [`ConfigError`] if the configuration file cannot be read.
pub fn cache_dir(paths: &Paths, lookup: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, ConfigError> {
    let is_named = CACHE_VARIABLES.iter().any(|name| lookup(name).is_some_and(|value| !value.is_empty()));
    let present = present_cache_dir(paths, &lookup)?;
    let config = Config::read(paths)?;
    // The first to name a directory is remembered: one that is named for a single command must not move the hub. One that
    // can be none is not.
    let can_be = user::nearest(&present).is_some_and(Path::is_dir);
    if is_named && can_be && config.cache_dir.is_none() {
        // It can be used, too, where it cannot be remembered.
        let remember = |config: &mut Config| config.cache_dir = config.cache_dir.take().or(Some(present.clone()));
        if let Err(error) = Config::update(paths, remember) {
            tracing::warn!(%error, "the model cache is not remembered");
        }
    }
    Ok(present)
}

/// As [`cache_dir`], and remembers nothing.
///
/// # Errors
///
/// As there.
pub fn present_cache_dir(paths: &Paths, lookup: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, ConfigError> {
    let is_named = CACHE_VARIABLES.iter().any(|name| lookup(name).is_some_and(|value| !value.is_empty()));
    let usual = absolute(models::cache_dir(lookup, &paths.home));
    let remembered = Config::read(paths)?.cache_dir.filter(|_| !is_named);
    Ok(remembered.unwrap_or(usual))
}

/// Where models are fetched from that the cache does not have: a location for `models::Upstream`; `None` is the usual
/// one. The environment's word, else the remembered one. A location that the environment names is remembered for hubs
/// that are started without that environment.
///
/// # Errors
///
/// [`ConfigError`] if the configuration file cannot be read.
pub fn upstream(paths: &Paths, lookup: impl Fn(&str) -> Option<OsString>) -> Result<Option<String>, ConfigError> {
    let text = |name: &str| text(&lookup, name);
    let is_true = |value: String| ["1", "ON", "YES", "TRUE"].contains(&value.to_ascii_uppercase().as_str());
    // huggingface_hub's own switch, for this process alone.
    if text("HF_HUB_OFFLINE").is_some_and(is_true) {
        return Ok(Some("off".to_owned()));
    }
    let config = Config::read(paths)?;
    // Workers are pointed at this very hub by HF_ENDPOINT: on this machine it names no upstream.
    let named = text("FRAMEHOST_UPSTREAM").or_else(|| text("HF_ENDPOINT").filter(|url| !Upstream::is_here(url)));
    let remembered = config.upstream.clone().filter(|location| match Upstream::check(location) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, "what config.json has as upstream is none");
            false
        }
    });
    match (named, remembered) {
        (Some(named), Some(_)) => Ok(Some(named)),
        // Whoever starts a hub later could not tell where it comes from.
        (Some(named), None) if Upstream::check(&named).is_err() => Ok(Some(named)),
        (Some(named), None) => {
            if let Err(error) = Config::update(paths, |config| config.upstream = Some(named.clone())) {
                tracing::warn!(%error, "the upstream is not remembered");
            }
            Ok(Some(named))
        }
        // Not the public hub: whoever has named another one may not want to ask it.
        (None, None) if config.upstream.is_some() => Ok(Some("off".to_owned())),
        (None, remembered) => Ok(remembered),
    }
}

/// A path that holds whatever the current directory is.
fn absolute(path: PathBuf) -> PathBuf {
    // It fails for an empty path, and without a current directory: then there is nothing better.
    std::path::absolute(&path).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(root: &Path) -> Paths {
        let named = |name: &str| match name {
            "FRAMEHOST_RUNTIME_DIR" => Some(root.join("run").into()),
            "FRAMEHOST_CONFIG_DIR" => Some(root.join("config").into()),
            _ => None,
        };
        Paths::find(named).unwrap()
    }

    #[test]
    fn the_runtime_directory_is_made_again_and_again() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(dir.path());
        paths.prepare_runtime_dir().unwrap();
        paths.prepare_runtime_dir().unwrap();
        fs::remove_dir(&paths.runtime_dir).unwrap();
        fs::write(&paths.runtime_dir, "").unwrap();
        assert!(paths.prepare_runtime_dir().is_err());
    }

    #[cfg(unix)]
    #[test]
    fn the_runtime_directory_is_made_private_or_refused() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

        let dir = tempfile::tempdir().unwrap();
        let paths = paths(dir.path());
        paths.prepare_runtime_dir().unwrap();
        paths.prepare_runtime_dir().unwrap();
        assert_eq!(fs::metadata(&paths.runtime_dir).unwrap().mode() & 0o777, 0o700);
        fs::set_permissions(&paths.runtime_dir, fs::Permissions::from_mode(0o770)).unwrap();
        assert!(matches!(paths.prepare_runtime_dir(), Err(ConfigError::NotPrivate { .. })));
        fs::remove_dir(&paths.runtime_dir).unwrap();
        symlink(dir.path(), &paths.runtime_dir).unwrap();
        assert!(matches!(paths.prepare_runtime_dir(), Err(ConfigError::NotPrivate { .. })));
    }

    #[cfg(unix)]
    #[test]
    fn a_socket_path_that_does_not_fit_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let limit = local::MAX_PATH_BYTES.unwrap();
        for (len, fits) in [(limit, true), (limit + 1, false)] {
            let used = dir.path().as_os_str().len() + "/".len() + "/hub.sock".len();
            let runtime_dir = dir.path().join("r".repeat(len - used));
            let result = Paths { runtime_dir, ..paths(dir.path()) }.prepare_runtime_dir();
            assert_eq!(result.is_ok(), fits, "{result:?}");
        }
    }

    #[test]
    fn a_cache_that_the_environment_names_once_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(dir.path());
        let none = |_: &str| None;
        let named = |value: &'static str| move |name: &str| (name == "HF_HUB_CACHE").then(|| OsString::from(value));
        assert_eq!(cache_dir(&paths, none).unwrap(), models::cache_dir(none, &paths.home));
        assert_eq!(cache_dir(&paths, named("/one")).unwrap(), absolute("/one".into()));
        assert_eq!(cache_dir(&paths, none).unwrap(), absolute("/one".into()));
        assert_eq!(cache_dir(&paths, named("/two")).unwrap(), absolute("/two".into()));
        assert_eq!(cache_dir(&paths, none).unwrap(), absolute("/one".into()));
    }

    #[test]
    fn an_upstream_is_named_remembered_and_never_this_hub() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(dir.path());
        let check = |set: &[(&str, &str)], expected: Option<&str>| {
            let lookup = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
            assert_eq!(upstream(&paths, lookup).unwrap().as_deref(), expected, "{set:?}");
        };
        check(&[], None);
        check(&[("HF_ENDPOINT", "http://127.0.0.1:50052")], None);
        check(&[("HF_HUB_OFFLINE", "1")], Some("off"));
        check(&[("HF_ENDPOINT", "https://mirror.example")], Some("https://mirror.example"));
        check(&[], Some("https://mirror.example"));
        check(&[("FRAMEHOST_UPSTREAM", "/models")], Some("/models"));
        check(&[("HF_ENDPOINT", "http://localhost:50052")], Some("https://mirror.example"));
    }

    #[cfg(unix)]
    #[test]
    fn what_can_be_no_place_is_not_remembered() {
        use std::os::unix::ffi::OsStringExt as _;

        let dir = tempfile::tempdir().unwrap();
        let paths = paths(dir.path());
        let named = |place: &'static str| move |name: &str| (name == "HF_HUB_CACHE").then(|| OsString::from(place));
        assert_eq!(cache_dir(&paths, named("/dev/null/hub")).unwrap(), Path::new("/dev/null/hub"));
        assert_eq!(Config::read(&paths).unwrap().cache_dir, None);
        let bytes = |name: &str| (name == "FRAMEHOST_UPSTREAM").then(|| OsString::from_vec(vec![0xFF]));
        let location = upstream(&paths, bytes).unwrap().unwrap();
        assert!(Upstream::check(&location).is_err(), "it is said to be none, and nobody else is asked");
        assert_eq!(Config::read(&paths).unwrap().upstream, None);
    }

    #[test]
    fn an_upstream_that_is_none_is_not_remembered_and_keeps_no_hub_from_starting() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(dir.path());
        let named = |value: &'static str| move |name: &str| (name == "HF_ENDPOINT").then(|| OsString::from(value));
        // The command that it was said to says what is wrong with it.
        assert_eq!(upstream(&paths, named("mirror.example")).unwrap().as_deref(), Some("mirror.example"));
        assert_eq!(upstream(&paths, |_| None).unwrap(), None);
        let config = Config { upstream: Some("mirror.example".to_owned()), ..Config::default() };
        Config::update(&paths, |present| *present = config).unwrap();
        assert_eq!(upstream(&paths, |_| None).unwrap().as_deref(), Some("off"));
        let right = "https://mirror.example";
        assert_eq!(upstream(&paths, named(right)).unwrap().as_deref(), Some(right));
        assert_eq!(upstream(&paths, |_| None).unwrap().as_deref(), Some(right), "it takes the wrong one's place");
    }

    #[test]
    fn what_another_version_wrote_stays() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(dir.path());
        fs::create_dir_all(&paths.config_dir).unwrap();
        let path = paths.config_dir.join("config.json");
        fs::write(&path, r#"{"video_dirs": ["/v"], "of_tomorrow": {"a": 1}}"#).unwrap();
        let named = |name: &str| (name == "HF_HUB_CACHE").then(|| OsString::from("/one"));
        cache_dir(&paths, named).unwrap();
        let written: serde_json::Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        assert_eq!(
            written,
            serde_json::json!({"cache_dir": absolute("/one".into()), "video_dirs": ["/v"], "of_tomorrow": {"a": 1}})
        );
    }

    #[test]
    fn a_broken_configuration_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let paths = paths(dir.path());
        fs::create_dir_all(&paths.config_dir).unwrap();
        fs::write(paths.config_dir.join("config.json"), "{").unwrap();
        assert!(Config::read(&paths).unwrap_err().to_string().contains("config.json"));
    }
}
