//! The user's token for the hub, where huggingface_hub keeps it.

use std::{
    ffi::OsString,
    fmt, fs,
    path::{Path, PathBuf},
};

/// Longest token file that is read, in bytes.
const MAX_TOKEN_BYTES: u64 = 4096;

/// A token, or the file that it is read from at each use, so that a login is noticed. `Debug` shows neither.
#[derive(Clone, Default)]
pub struct TokenFile {
    given: Option<String>,
    path: Option<PathBuf>,
}

impl TokenFile {
    /// By huggingface_hub's own order: HF_TOKEN, HUGGING_FACE_HUB_TOKEN, then the file that a login writes.
    ///
    /// `lookup`: an environment variable. `home`: the user's.
    ///
    /// Source: huggingface_hub, `utils/_auth.py` and `constants.py`.
    pub fn find(lookup: impl Fn(&str) -> Option<OsString>, home: &Path) -> Self {
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        if set("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some_and(|value| is_true(&value)) {
            return Self::default();
        }
        let given = set("HF_TOKEN").or_else(|| set("HUGGING_FACE_HUB_TOKEN"));
        let path = set("HF_TOKEN_PATH").map(PathBuf::from).unwrap_or_else(|| {
            let hf_home = set("HF_HOME").map(PathBuf::from);
            let cache = set("XDG_CACHE_HOME").map_or_else(|| home.join(".cache"), PathBuf::from);
            hf_home.unwrap_or_else(|| cache.join("huggingface")).join("token")
        });
        Self { given: given.and_then(|token| clean(&token.into_string().ok()?)), path: Some(path) }
    }

    /// The token, as it is now.
    pub(super) fn read(&self) -> Option<String> {
        if self.given.is_some() {
            return self.given.clone();
        }
        let path = self.path.as_deref()?;
        let is_small = fs::metadata(path).is_ok_and(|metadata| metadata.len() <= MAX_TOKEN_BYTES);
        clean(&is_small.then(|| fs::read_to_string(path).ok())??)
    }
}

/// Line ends are common in files, and nothing that a header may carry.
fn clean(text: &str) -> Option<String> {
    let token = text.trim();
    let is_plain = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain.then(|| token.to_owned())
}

fn is_true(value: &std::ffi::OsStr) -> bool {
    value.to_str().is_some_and(|value| ["1", "ON", "YES", "TRUE"].contains(&value.to_ascii_uppercase().as_str()))
}

impl fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenFile")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_where_a_login_leaves_it() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".cache/huggingface/token");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        let find = |set: &[(&str, &str)]| {
            let lookup = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
            TokenFile::find(lookup, home.path())
        };
        let found = find(&[]);
        assert_eq!(found.read(), None);
        fs::write(&file, "hf_file\n").unwrap();
        assert_eq!(found.read().as_deref(), Some("hf_file"), "a login after the start is noticed");
        assert_eq!(find(&[("HF_TOKEN", "hf_env")]).read().as_deref(), Some("hf_env"));
        assert_eq!(find(&[("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]).read(), None);
        fs::write(&file, "two words").unwrap();
        assert_eq!(found.read(), None);
        assert!(!format!("{:?}", find(&[("HF_TOKEN", "hf_env")])).contains("hf_env"));
    }
}
