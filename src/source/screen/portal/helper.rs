//! Where the program `framehost-portal` is.

use std::{
    env,
    ffi::OsStr,
    path::{Path, PathBuf},
};

/// Its file name.
const NAME: &str = "framehost-portal";

/// Where it may lie, seen from the directory of the running program.
const BESIDE: [&str; 4] = ["", "../libexec", "../libexec/framehost", "../lib/framehost"];

/// Finds the program: beside the running one, in `libexec` next to that, or in `PATH`.
///
/// # Errors
///
/// How to get it.
pub(super) fn find() -> Result<PathBuf, String> {
    let running = env::current_exe().ok();
    let path = env::var_os("PATH").unwrap_or_default();
    find_from(running.as_deref(), &path, Path::is_file).ok_or_else(|| {
        format!(
            "{NAME} was found neither beside framehost nor in PATH: build it where libpipewire's headers are (Debian, \
             Ubuntu: apt install libpipewire-0.3-dev libclang-dev pkg-config; cargo build --release --features portal) \
             and put it there"
        )
    })
}

fn find_from(running: Option<&Path>, path: &OsStr, is_there: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let beside = running.and_then(Path::parent).into_iter().flat_map(|dir| BESIDE.map(|way| dir.join(way).join(NAME)));
    // An empty or relative entry would find what lies in whatever directory the program was started.
    let in_path = env::split_paths(path).filter(|dir| dir.is_absolute()).map(|dir| dir.join(NAME));
    beside.chain(in_path).find(|candidate| is_there(candidate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_program_is_taken() {
        let running = Path::new("/opt/framehost/bin/framehost");
        let path = OsStr::new(":relative:/usr/local/bin:/usr/bin");
        let find = |there: &[&str]| {
            let found = find_from(Some(running), path, |candidate| there.iter().any(|one| candidate == Path::new(one)));
            found.map(|found| found.display().to_string())
        };
        let beside = "/opt/framehost/bin/./framehost-portal";
        let libexec = "/opt/framehost/bin/../libexec/framehost-portal";
        let in_path = "/usr/bin/framehost-portal";
        assert_eq!(find(&[in_path, libexec, beside]).unwrap(), "/opt/framehost/bin/framehost-portal");
        assert_eq!(find(&[in_path, libexec]).as_deref(), Some(libexec));
        assert_eq!(find(&[in_path]).as_deref(), Some(in_path));
        assert_eq!(find(&["framehost-portal", "relative/framehost-portal", "/framehost-portal"]), None);
        assert_eq!(find_from(None, OsStr::new("/usr/bin"), |_| true).unwrap(), Path::new(in_path));
    }
}
