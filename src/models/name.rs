//! Names from a peer: model ids, revisions, commits and file paths, each checked when it is made.

use std::path::PathBuf;

use super::ModelError;

/// Longest model id, in bytes. Source: huggingface_hub, `validate_repo_id`.
const MAX_MODEL_ID_BYTES: usize = 96;

/// Longest revision or file path, in bytes; each of its components has at most 255.
const MAX_PATH_BYTES: usize = 1024;

/// Longest component of a path, in bytes: what file systems take.
const MAX_COMPONENT_BYTES: usize = 255;

/// `name` or `org/name`, by the Hub's own rules.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelId(String);

/// A branch, a tag, or a commit. `main` unless said otherwise.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(String);

/// 40 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Commit(String);

/// A relative path inside a model, `/` between its components.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(String);

/// A file of a model, as peers name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileName {
    /// The model.
    pub model_id: ModelId,
    /// Of the model.
    pub revision: Revision,
    /// Inside the model.
    pub file_path: FilePath,
}

impl FileName {
    /// Reads the three parts. `revision`: empty means `main`.
    ///
    /// # Errors
    ///
    /// [`ModelError::Name`] with the part that cannot be.
    pub fn parse(model_id: &str, file_path: &str, revision: &str) -> Result<Self, ModelError> {
        Ok(Self {
            model_id: ModelId::parse(model_id)?,
            revision: if revision.is_empty() { Revision::default() } else { Revision::parse(revision)? },
            file_path: FilePath::parse(file_path)?,
        })
    }
}

fn refuse(field: &'static str, value: &str, problem: &'static str) -> ModelError {
    ModelError::Name { field, value: value.chars().take(100).collect(), problem }
}

impl ModelId {
    /// Reads a model id.
    ///
    /// # Errors
    ///
    /// [`ModelError::Name`].
    pub fn parse(id: &str) -> Result<Self, ModelError> {
        let refuse = |problem| Err(refuse("model_id", id, problem));
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let edges_are_plain = |segment: &str| !segment.starts_with(['-', '.']) && !segment.ends_with(['-', '.']);
        if id.is_empty() || id.len() > MAX_MODEL_ID_BYTES {
            return refuse("1 to 96 characters");
        }
        if id.split('/').count() > 2 {
            return refuse("\"name\" or \"org/name\"");
        }
        if !id.split('/').all(|segment| !segment.is_empty() && segment.bytes().all(allowed)) {
            return refuse("letters, digits, '.', '_', '-' and one '/'");
        }
        if !id.split('/').all(edges_are_plain) || id.contains("--") || id.contains("..") {
            return refuse("no '-' or '.' at an end, no \"--\", no \"..\"");
        }
        if id.ends_with(".git") {
            return refuse("no \".git\" at the end");
        }
        Ok(Self(id.to_owned()))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The model's folder in the cache: `models--org--name`.
    pub fn folder_name(&self) -> String {
        format!("models--{}", self.0.replace('/', "--"))
    }

    /// The model whose folder this is.
    pub fn from_folder_name(folder: &str) -> Option<Self> {
        Self::parse(&folder.strip_prefix("models--")?.replacen("--", "/", 1)).ok()
    }
}

impl Revision {
    /// Reads a revision.
    ///
    /// # Errors
    ///
    /// [`ModelError::Name`].
    pub fn parse(revision: &str) -> Result<Self, ModelError> {
        check_components("revision", revision)?;
        Ok(Self(revision.to_owned()))
    }

    /// The revision.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn relative_path(&self) -> PathBuf {
        self.0.split('/').collect()
    }
}

impl From<Commit> for Revision {
    fn from(commit: Commit) -> Self {
        Self(commit.0)
    }
}

impl Default for Revision {
    fn default() -> Self {
        Self("main".to_owned())
    }
}

impl Commit {
    /// Reads a commit; `None` if it is not 40 lower-case hex digits.
    pub fn parse(commit: &str) -> Option<Self> {
        is_lower_hex(commit, 40).then(|| Self(commit.to_owned()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FilePath {
    /// Reads a file path.
    ///
    /// # Errors
    ///
    /// [`ModelError::Name`].
    pub fn parse(path: &str) -> Result<Self, ModelError> {
        check_components("file_path", path)?;
        Ok(Self(path.to_owned()))
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path's components, each plain.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }

    pub(super) fn relative_path(&self) -> PathBuf {
        self.components().collect()
    }

    /// Is this the path of a file that only some systems can have: no trick, and no path here either?
    pub(super) fn is_unportable(path: &str) -> bool {
        let is_plain = !path.is_empty() && path.len() <= MAX_PATH_BYTES && path.split('/').find_map(trick).is_none();
        is_plain && Self::parse(path).is_err()
    }
}

/// Is this so many lower-case hex digits?
pub(super) fn is_lower_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// Refuses what could leave its folder or cannot be a file on one of the systems that share models.
fn check_components(field: &'static str, path: &str) -> Result<(), ModelError> {
    if path.is_empty() || path.len() > MAX_PATH_BYTES {
        return Err(refuse(field, path, "1 to 1024 bytes"));
    }
    match path.split('/').find_map(|component| trick(component).or_else(|| unportable(component))) {
        Some(problem) => Err(refuse(field, path, problem)),
        None => Ok(()),
    }
}

/// What is wrong with a component that honest models have nowhere.
fn trick(component: &str) -> Option<&'static str> {
    match component {
        "" => Some("relative, with no empty component"),
        "." | ".." => Some("no \".\" or \"..\" component"),
        long if long.len() > MAX_COMPONENT_BYTES => Some("components of at most 255 bytes"),
        odd if odd.contains(|c: char| c.is_control() || c == '\\') => Some("no control character and no \\"),
        _ => None,
    }
}

/// What is wrong with a component that is a file's name on some systems, and none on Windows.
fn unportable(component: &str) -> Option<&'static str> {
    match component {
        odd if odd.contains([':', '<', '>', '"', '|', '?', '*']) => Some("none of : < > \" | ? *"),
        odd if odd.ends_with(['.', ' ']) => Some("no '.' or space at the end of a component"),
        odd if is_windows_device(odd) => Some("no name of a Windows device"),
        _ => None,
    }
}

/// `CON`, `nul.txt`, `COM1.json`, …: on Windows they are devices in every folder.
///
/// Source: Microsoft, "Naming Files, Paths, and Namespaces".
fn is_windows_device(component: &str) -> bool {
    let stem = component.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    if matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$") {
        return true;
    }
    let number = stem.strip_prefix("COM").or_else(|| stem.strip_prefix("LPT"));
    number.is_some_and(|number| {
        let mut digits = number.chars();
        matches!(digits.next(), Some('0'..='9' | '¹' | '²' | '³')) && digits.next().is_none()
    })
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn model_ids_follow_the_hubs_rules() {
        for good in ["gpt2", "org/name", "a.b/c_d-e", &format!("o/{}", "x".repeat(94))] {
            assert_eq!(ModelId::parse(good).unwrap().as_str(), good);
        }
        let too_long = format!("o/{}", "x".repeat(95));
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a/b/c",
            "a--b",
            "models--a",
            "a..b",
            "../x",
            "-a",
            "a-",
            ".a",
            "a.",
            "a b",
            "a\\b",
            "ä",
            "a\0",
            "a.git",
            "o/.",
            &too_long,
        ] {
            let error = ModelId::parse(bad).unwrap_err();
            assert_eq!((error.kind(), error.field()), (crate::error::ErrorKind::InvalidArgument, Some("model_id")));
        }
    }

    #[test]
    fn folder_names_round_trip_and_foreign_ones_are_none() {
        for id in ["gpt2", "org/name"] {
            let id = ModelId::parse(id).unwrap();
            assert_eq!(ModelId::from_folder_name(&id.folder_name()), Some(id));
        }
        for foreign in ["models--", "models--a--b--c", "datasets--a--b", "models--..--x", ".locks"] {
            assert_eq!(ModelId::from_folder_name(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn file_paths_stay_inside_and_are_files_everywhere() {
        for good in
            ["config.json", "onnx/model_q4.onnx", ".gitattributes", "a b/c", "…", "console.txt", "COM10", "nul-a"]
        {
            assert_eq!(FilePath::parse(good).unwrap().as_str(), good);
        }
        let (long, deep) = ("x".repeat(256), "x/".repeat(513));
        for bad in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a//b",
            "a/",
            ".",
            "./a",
            "a\0b",
            "a\nb",
            "a\\b",
            "C:/x",
            "c:x",
            "CON",
            "con.txt",
            "a/NUL",
            "nul .json",
            "lpt9.bin",
            "COM¹",
            "a.",
            "a ",
            "a?b",
            &long,
            &deep,
        ] {
            assert!(matches!(FilePath::parse(bad), Err(ModelError::Name { field: "file_path", .. })), "{bad:?}");
        }
        assert!(FilePath::parse(&"x".repeat(255)).is_ok());
    }

    #[test]
    fn what_only_some_systems_can_have_is_told_from_tricks() {
        for unportable in ["a:b.png", "a/what?", "aux.txt", "folder./x", "C:/x"] {
            assert!(FilePath::is_unportable(unportable), "{unportable}");
        }
        for other in ["a.png", "../a:b", "a\\b:c", "a:b\0", "/a:b", ""] {
            assert!(!FilePath::is_unportable(other), "{other:?}");
        }
    }

    #[test]
    fn revisions_may_have_slashes_but_no_tricks() {
        for good in ["main", "refs/pr/1", "v1.0", "0123456789abcdef0123456789abcdef01234567"] {
            assert!(Revision::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "../main", "a//b", "/main", "refs/..", "a\0"] {
            assert!(matches!(Revision::parse(bad), Err(ModelError::Name { field: "revision", .. })), "{bad:?}");
        }
        assert_eq!(Commit::parse(&"A".repeat(40)), None);
        assert_eq!(Commit::parse(&"a".repeat(39)), None);
        assert!(Commit::parse(&"a".repeat(40)).is_some());
    }

    proptest! {
        #[test]
        fn an_accepted_path_stays_under_its_root(path in "[a-z./\\\\:\\x00 ~-]{0,40}") {
            if let Ok(path) = FilePath::parse(&path) {
                let joined = Path::new("/root").join(path.relative_path());
                let is_plain = |component: Component<'_>| matches!(component, Component::Normal(_));
                prop_assert!(joined.components().skip(1).all(is_plain));
                prop_assert!(joined.starts_with("/root") && joined != Path::new("/root"));
            }
        }

        #[test]
        fn junk_never_panics(junk in any::<String>()) {
            let _ = (ModelId::parse(&junk), Revision::parse(&junk), FilePath::parse(&junk), Commit::parse(&junk));
            let _ = ModelId::from_folder_name(&junk);
        }
    }
}
