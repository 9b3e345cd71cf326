//! Where the cache directory is, by huggingface_hub's own order.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

/// The cache directory that Python would use.
///
/// `lookup`: an environment variable; an empty one counts as unset. `home`: the user's.
///
/// Source: huggingface_hub, `constants.py`.
pub fn cache_dir(lookup: impl Fn(&str) -> Option<OsString>, home: &Path) -> PathBuf {
    let directory = |name: &str| lookup(name).filter(|value| !value.is_empty()).map(|value| expand(value, home));
    directory("HF_HUB_CACHE")
        .or_else(|| directory("HUGGINGFACE_HUB_CACHE"))
        .or_else(|| directory("HF_HOME").map(|hf_home| hf_home.join("hub")))
        .or_else(|| directory("XDG_CACHE_HOME").map(|cache| cache.join("huggingface").join("hub")))
        .unwrap_or_else(|| [".cache", "huggingface", "hub"].iter().fold(home.to_owned(), |path, part| path.join(part)))
}

/// `~` and `~/…` as Python's `expanduser` reads them.
fn expand(value: OsString, home: &Path) -> PathBuf {
    let path = PathBuf::from(value);
    match path.strip_prefix("~") {
        Ok(rest) if rest.as_os_str().is_empty() => home.to_owned(),
        Ok(rest) => home.join(rest),
        Err(_) => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_variable_that_is_set_wins() {
        let check = |set: &[(&str, &str)], expected: &str| {
            let lookup = |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| OsString::from(value));
            assert_eq!(cache_dir(lookup, Path::new("/home/user")), Path::new(expected), "{set:?}");
        };
        check(&[], "/home/user/.cache/huggingface/hub");
        check(&[("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub");
        check(&[("XDG_CACHE_HOME", "/x"), ("HF_HOME", "~/hf")], "/home/user/hf/hub");
        check(&[("HF_HOME", "/h"), ("HUGGINGFACE_HUB_CACHE", "/old")], "/old");
        check(&[("HF_HUB_CACHE", "/new"), ("HUGGINGFACE_HUB_CACHE", "/old")], "/new");
        check(&[("HF_HUB_CACHE", ""), ("HF_HOME", "~")], "/home/user/hub");
    }
}
