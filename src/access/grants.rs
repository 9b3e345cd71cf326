//! What an extension may do with the hub: the user decides, in `config.json`, and may change his mind at any time.
//!
//! Whoever the browser lets start the host (its manifest names them) may send and watch pictures, read models and know
//! which devices there are. A camera or the screen is for nobody whom the user has not allowed it to.

use std::{
    collections::BTreeMap,
    fmt, io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::version::{self, Version};
use crate::streams::{NoConsent, Sight};

/// How often what goes on is asked about again.
pub const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Words of [`Scope`], by extension. Whoever is not in it may what is usual.
pub type Allowed = BTreeMap<String, Vec<String>>;

/// Something that an extension may be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Send pictures, and watch streams.
    Frames,
    /// Read the model cache, and have models fetched into it.
    Models,
    /// Know which cameras, screens and windows there are.
    Devices,
    /// Capture from cameras, and watch streams of them.
    Camera,
    /// Capture screens and windows, and watch streams of them.
    Screen,
}

/// What an extension may, by what the user has said.
pub fn scopes_of(allowed: &Allowed, extension: &str) -> Vec<Scope> {
    match allowed.get(extension) {
        Some(words) => words.iter().filter_map(|word| Scope::parse(word)).collect(),
        None => Scope::USUAL.to_vec(),
    }
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Frames, Self::Models, Self::Devices, Self::Camera, Self::Screen];

    /// What an extension is allowed of whom the user has said nothing.
    pub const USUAL: [Self; 3] = [Self::Frames, Self::Models, Self::Devices];

    /// The word for it: `camera`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Frames => "frames",
            Self::Models => "models",
            Self::Devices => "devices",
            Self::Camera => "camera",
            Self::Screen => "screen",
        }
    }

    /// Reads a word. `None`: there is no such scope.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == word)
    }

    /// That the user has not allowed it, or does not any more.
    pub fn missing(self, extension: Option<&str>) -> NoConsent {
        let scope = self.as_str();
        let id = extension.unwrap_or("EXTENSION_ID");
        let advice = format!("the user has not allowed this extension {scope}: framehost allow {id} {scope}");
        NoConsent { scope, advice }
    }

    /// What has to be allowed to whoever is to see pictures of a source of this kind.
    pub fn of_source(kind: &str) -> Self {
        match kind {
            "camera" => Self::Camera,
            "screen" => Self::Screen,
            _ => Self::Frames,
        }
    }
}

/// What the user has allowed, by extension. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Grants {
    /// `None`: nobody has said anything.
    file: Option<Arc<File>>,
    known: Arc<Mutex<Known>>,
}

/// Where it is written.
struct File {
    path: PathBuf,
    read: Box<dyn Fn() -> Result<Allowed, Unread> + Send + Sync>,
}

/// Why the file was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unread {
    /// It is not what it has to be: until it changes there is no use in reading it again.
    Broken(String),
    /// The system could not read it now: out of descriptors, say.
    Passing(String),
}

/// The configuration as it was last read.
#[derive(Debug, Default)]
struct Known {
    /// Of the file: when it was written, which one it is, and its length.
    state: Option<Version>,
    /// The same of one that was read and not understood.
    broken: Option<Version>,
    /// The log has been told that it cannot be read.
    has_told: bool,
    /// `None`: it was never read, and nobody may anything.
    by_extension: Option<Allowed>,
}

impl Grants {
    /// What a file says, now and whenever it is asked for. `read` reads it, when it has changed.
    pub fn new(path: PathBuf, read: impl Fn() -> Result<Allowed, Unread> + Send + Sync + 'static) -> Self {
        Self { file: Some(Arc::new(File { path, read: Box::new(read) })), known: Arc::default() }
    }

    /// May it? `extension`: its id; a caller without one is a program of the user's own, and may.
    pub fn allow(&self, extension: Option<&str>, scope: Scope) -> bool {
        extension.is_none_or(|extension| self.of(extension).contains(&scope))
    }

    /// Waits until the user takes it back; for ever, where nobody can.
    pub async fn revoked(&self, extension: Option<&str>, scope: Scope) {
        while self.allow(extension, scope) {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Which sources it may watch, now and later.
    pub fn sight(&self, extension: Option<&str>) -> Sight {
        let Some(extension) = extension else {
            return Sight::default();
        };
        let (grants, id) = (self.clone(), extension.to_owned());
        Sight::new(extension, move |source| {
            let allowed = grants.of(&id);
            let needed = [Scope::Frames, Scope::of_source(source)];
            let missing = needed.into_iter().find(|scope| !allowed.contains(scope));
            missing.map_or(Ok(()), |scope| Err(scope.missing(Some(&id))))
        })
    }

    /// All that an extension may.
    pub fn of(&self, extension: &str) -> Vec<Scope> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = &self.file {
            known.read(file);
        }
        match (&known.by_extension, &self.file) {
            (Some(allowed), _) => scopes_of(allowed, extension),
            (None, Some(_)) => Vec::new(),
            (None, None) => Scope::USUAL.to_vec(),
        }
    }
}

impl Known {
    /// Reads the file again if it is another one. One that cannot be read changes nothing, and is read again as soon as
    /// it can be: what was taken back may stand in it.
    fn read(&mut self, file: &File) {
        let state = match file.path.metadata() {
            Ok(metadata) => Some(version::of(&metadata)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return self.stays(&error.to_string()),
        };
        let is_read = self.by_extension.is_some() && state == self.state;
        if is_read || (state.is_some() && state == self.broken) {
            return;
        }
        match (file.read)() {
            Ok(allowed) => (self.state, self.by_extension, self.has_told) = (state, Some(allowed), false),
            Err(Unread::Broken(problem)) => {
                self.stays(&problem);
                self.broken = state;
            }
            Err(Unread::Passing(problem)) => self.stays(&problem),
        }
    }

    fn stays(&mut self, problem: &str) {
        if !self.has_told {
            let meanwhile = match &self.by_extension {
                Some(_) => "what extensions may do stays as it was",
                None => "extensions may do nothing until it can be read",
            };
            tracing::warn!(problem, "{meanwhile}");
            self.has_told = true;
        }
    }
}

impl fmt::Debug for File {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("File").field("path", &self.path).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const ID: &str = "abcdefghijklmnopabcdefghijklmnop";

    #[test]
    fn what_the_user_says_holds_at_once_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("allowed.json");
        let from = path.clone();
        let read = move || match fs::read(&from) {
            Ok(json) => serde_json::from_slice(&json).map_err(|error| Unread::Broken(error.to_string())),
            Err(_) => Ok(Allowed::new()),
        };
        let grants = Grants::new(path.clone(), read);
        let check = |expected: &[Scope]| {
            let allowed = Scope::ALL.into_iter().filter(|scope| grants.allow(Some(ID), *scope));
            assert_eq!(allowed.collect::<Vec<_>>(), expected);
        };
        check(&Scope::USUAL);
        for words in [&["camera", "of_tomorrow"][..], &[], &["screen", "models"]] {
            fs::write(&path, serde_json::json!({ID: words}).to_string()).unwrap();
            let expected: Vec<_> = Scope::ALL.into_iter().filter(|scope| words.contains(&scope.as_str())).collect();
            check(&expected);
            assert_eq!(grants.of("another"), Scope::USUAL);
            assert!(grants.allow(None, Scope::Camera), "a program of the user's own");
        }
        fs::write(&path, "{").unwrap();
        check(&[Scope::Models, Scope::Screen]);
        fs::remove_file(path).unwrap();
        check(&Scope::USUAL);
    }

    #[test]
    fn nobody_may_anything_until_it_was_read_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("allowed.json");
        let check = |problem: fn() -> Unread| {
            fs::write(&path, "{").unwrap();
            let grants = Grants::new(path.clone(), move || Err(problem()));
            assert_eq!(grants.of(ID), []);
            assert!(grants.allow(None, Scope::Camera), "a program of the user's own");
        };
        check(|| Unread::Broken(String::new()));
        check(|| Unread::Passing(String::new()));
    }

    #[test]
    fn words_and_kinds_of_sources_stand_for_scopes() {
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.as_str()), Some(scope));
        }
        assert_eq!(Scope::parse("everything"), None);
        let of = ["camera", "screen", "file", "synthetic", "extension", "worker"].map(Scope::of_source);
        assert_eq!(of, [Scope::Camera, Scope::Screen, Scope::Frames, Scope::Frames, Scope::Frames, Scope::Frames]);
    }
}
