//! The model cache.

use std::{fs, io, path::Path};

use super::{Access, Finding, Whose, quoted, system, unlocked};
use crate::{models, user};

/// Less than this many bytes on the cache's disk (1 GiB) are not enough for the next model, as a rule.
const LITTLE_SPACE: u64 = 1 << 30;

/// Whether models can be read and added. `named_in`: the configuration file, if that is what names the directory.
pub fn check_cache(cache_dir: &Path, named_in: Option<&Path>) -> Vec<Finding> {
    let subject = cache_dir.display();
    let elsewhere = match named_in {
        Some(file) => format!("let \"cache_dir\" in {} name another directory", quoted(file)),
        None => "name another directory by HF_HUB_CACHE".to_owned(),
    };
    // A relative path has a finding of its own.
    let Some(there) = user::nearest(cache_dir) else {
        return Vec::new();
    };
    let place = there.display();
    let wrong = |check, problem: String, error: &io::Error| {
        // Above the cache itself what is missing may be a disk, and what is closed may be everybody's.
        let advice = if there == cache_dir || matches!(system::whose(there), Whose::Own | Whose::InOwnPlace) {
            unlocked(there, "u+rwx", error, &elsewhere)
        } else {
            format!("mount the disk that it is to be on; or {elsewhere}")
        };
        vec![Finding::error(check, &subject, problem, advice)]
    };
    if let Some(error) = user::leads_nowhere(cache_dir) {
        return wrong("cache_dir_dangling", error.to_string(), &error);
    }
    if !there.is_dir() {
        let error = io::Error::from(io::ErrorKind::NotADirectory);
        return wrong("cache_dir_not_a_directory", format!("{place} is not a directory"), &error);
    }
    let write = if there == cache_dir { Access::Into } else { Access::Above };
    for (access, check, cannot) in
        [(Access::List, "cache_dir_unreadable", "read"), (write, "cache_dir_unwritable", "written")]
    {
        if let Err(error) = system::may(there, access) {
            return wrong(check, format!("{place} cannot be {cannot}: {error}"), &error);
        }
    }
    let mut findings: Vec<Finding> = check_models(cache_dir, &elsewhere).into_iter().collect();
    if let Some(free) = models::free_bytes_in(there) {
        findings.extend(check_space(cache_dir, free, &elsewhere));
    }
    if findings.is_empty() {
        let message = if there == cache_dir { "it can be read and written" } else { "it is made with the first model" };
        findings.push(Finding::ok("cache_dir", subject, message));
    }
    findings
}

/// Models that somebody else fetched, as with sudo: they can be read, and nothing can be added to them.
fn check_models(cache_dir: &Path, elsewhere: &str) -> Option<Finding> {
    let is_model = |name: &str| name.starts_with("models--");
    let mut closed: Vec<String> = Vec::new();
    for entry in fs::read_dir(cache_dir).ok()?.filter_map(Result::ok) {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        let is_closed = |path: &Path| {
            path.is_dir() && (system::may(path, Access::List).is_err() || system::may(path, Access::Into).is_err())
        };
        let folders = ["", "blobs", "refs", "snapshots"].map(|folder| path.join(folder));
        if is_model(&name) && folders.iter().any(|folder| is_closed(folder)) {
            closed.push(name);
        }
    }
    closed.sort();
    let first = cache_dir.join(closed.first()?);
    let others = match closed.len() {
        1 => String::new(),
        count => format!(" and {} others", count - 1),
    };
    let problem = format!("nothing can be added to {}{others}", first.display());
    // A program that ran as root left them, as a rule; a mode that somebody has set is its owner's to change.
    let mut owners = ["", "blobs", "refs", "snapshots"].iter().map(|folder| system::whose(&first.join(folder)));
    let advice = match owners.find(|whose| *whose != Whose::Own) {
        None => system::chmod("-R u+rwX", &first),
        Some(Whose::InOwnPlace) => system::take_over(cache_dir),
        Some(_) => format!("ask its owner to; or {elsewhere}"),
    };
    Some(Finding::warning("cache_models_unwritable", cache_dir.display(), problem, advice))
}

/// `free`: bytes that the user may still write.
fn check_space(cache_dir: &Path, free: u64, elsewhere: &str) -> Option<Finding> {
    let problem = format!("its disk has {} MB left", free / 1_000_000);
    let advice =
        format!("framehost models gc; that clears away what nobody can ask for any more; or make room, or {elsewhere}");
    (free < LITTLE_SPACE).then(|| Finding::warning("cache_disk_full", cache_dir.display(), problem, advice))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_full_before_the_next_model_does_not_fit() {
        let check = |free| check_space(Path::new("/cache"), free, "").map(|finding| finding.message);
        assert_eq!(check(u64::MAX), None);
        assert_eq!(check(LITTLE_SPACE), None);
        assert_eq!(check(LITTLE_SPACE - 1).unwrap(), "its disk has 1073 MB left");
        assert_eq!(check(0).unwrap(), "its disk has 0 MB left");
    }
}
