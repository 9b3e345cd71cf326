//! Owners, modes and processes of Unix, and the commands that help there.

use std::{
    fmt::Display,
    fs::{self, Metadata},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process,
};

use rustix::fs::Access as Rights;

use super::{Access, HubProcess, Whose, aside, quoted};
use crate::user;

/// How to get ffmpeg.
pub(super) const GET_FFMPEG: &str = "sudo apt install ffmpeg";

/// May the user do that? Nothing is changed.
pub(super) fn may(path: &Path, access: Access) -> io::Result<()> {
    let rights = match access {
        Access::Enter => Rights::EXEC_OK,
        Access::List => Rights::READ_OK | Rights::EXEC_OK,
        Access::Write => Rights::WRITE_OK,
        Access::Into | Access::Above => Rights::WRITE_OK | Rights::EXEC_OK,
        Access::Device => Rights::READ_OK | Rights::WRITE_OK,
    };
    Ok(rustix::fs::access(path, rights)?)
}

/// The command that sets a mode.
pub(super) fn chmod(mode: &str, path: &Path) -> String {
    format!("chmod {mode} {}", quoted(path))
}

/// The same for what is not the user's.
pub(super) fn chmod_as_root(mode: &str, path: &Path) -> String {
    format!("sudo {}", chmod(mode, path))
}

/// The command that opens a folder, and a file in it, to their owner.
pub(super) fn open_up(folder: &Path, file: &Path) -> String {
    let open_folder = chmod("u+rwX", folder);
    // Whether it is there a closed folder does not tell.
    if may(folder, Access::Enter).is_ok() { format!("{open_folder} {}", quoted(file)) } else { open_folder }
}

/// Who else owns what is at `path`, as a part of a sentence; `None` if it is this user's, or not there.
pub(super) fn other_owner(path: &Path) -> Option<String> {
    let uid = fs::metadata(path).ok()?.uid();
    match uid {
        _ if uid == own_uid() => None,
        0 => Some("it belongs to root".to_owned()),
        _ => Some(format!("it belongs to another user (uid {uid})")),
    }
}

/// The command that lets a process end itself.
pub(super) fn end(pid: impl Display) -> String {
    format!("kill {pid}")
}

/// The command that ends a process that does not end itself.
pub(super) fn end_at_once(pid: impl Display) -> String {
    format!("kill -9 {pid}")
}

/// The command that removes these files, whose names are quoted.
pub(super) fn remove(files: &str) -> String {
    format!("rm -f {files}")
}

/// Whose it is.
pub(super) fn whose(path: &Path) -> Whose {
    if other_owner(path).is_none() {
        Whose::Own
    } else if home().is_some_and(|home| home.starts_with(path)) {
        Whose::AboveHome
    } else if is_in_own_home(path) || is_in_own_folder(path) || is_own_runtime_dir_of_root(path) {
        Whose::InOwnPlace
    } else {
        Whose::Others
    }
}

/// Could nobody but the user and root have put it there? `/run/user/1000/framehost` is such a place. Root's own folders are
/// no place of root's alone.
fn is_in_own_folder(path: &Path) -> bool {
    !is_root() && path.parent().is_some_and(|folder| user::is_private(folder).unwrap_or(false))
}

/// Where everybody may make folders, one of this user's name that is root's is of a sudo's making.
fn is_own_runtime_dir_of_root(path: &Path) -> bool {
    path == user::runtime_dir(Path::new("")) && fs::symlink_metadata(path).is_ok_and(|found| found.uid() == 0)
}

/// The command that gives `path`, with all that is in it, back to who runs it. The name is the shell's to find: with sudo it
/// is still the user's.
pub(super) fn take_over(path: &Path) -> String {
    format!("sudo chown -R \"$(id -un):\" {}", quoted(path))
}

/// What to do where the runtime directory cannot be had.
pub(super) fn another_runtime_dir() -> String {
    format!(
        "name a directory of yours by XDG_RUNTIME_DIR, as a login does (/run/user/{}), or by FRAMEHOST_RUNTIME_DIR, or \
         unset both",
        own_uid()
    )
}

/// What keeps a folder from being the user's alone, and what to do.
pub(super) fn not_private(path: &Path, metadata: &Metadata) -> Option<(String, String)> {
    let mode = mode(metadata);
    if let Some(owner) = other_owner(path) {
        let advice = if whose(path) == Whose::InOwnPlace { take_over(path) } else { another_runtime_dir() };
        return Some((format!("{owner}, and has to be yours (mode {mode:03o})"), advice));
    }
    // Root owns what is everybody's: /tmp is no folder to close.
    let may_be_closed = !is_root() || is_in_own_home(path) || path == user::runtime_dir(Path::new(""));
    let close = || if may_be_closed { chmod("700", path) } else { another_runtime_dir() };
    if mode & 0o022 != 0 {
        return Some((format!("others could put a socket of theirs there (mode {mode:03o})"), close()));
    }
    (mode & 0o700 != 0o700).then(|| (format!("no hub can write there (mode {mode:03o})"), close()))
}

/// What is wrong with a manifest's owner and mode, and what to do. `repair`: the command that writes it anew.
pub(super) fn wrong_manifest(
    path: &Path,
    metadata: &Metadata,
    is_for_everybody: bool,
    repair: &str,
) -> Vec<(String, String)> {
    let (mode, uid) = (mode(metadata), metadata.uid());
    let readable = if uid == own_uid() { chmod("644", path) } else { chmod_as_root("644", path) };
    let mut wrong = Vec::new();
    if mode & 0o002 != 0 {
        let problem = format!("everybody on this machine could let it start something else (mode {mode:03o})");
        wrong.push((problem, readable));
    } else if is_for_everybody && mode & 0o004 == 0 {
        let problem = format!("it is for everybody on this machine, who cannot read it (mode {mode:03o})");
        wrong.push((problem, readable));
    }
    if user::is_strangers(metadata) {
        let chown = format!("sudo chown root: {}", quoted(path));
        let problem = format!("it belongs to another user (uid {uid}), who could let it start something else");
        wrong.push((problem, if is_for_everybody { chown } else { repair.to_owned() }));
    }
    wrong
}

/// What is wrong with the configuration's owner and mode, and what to do.
pub(super) fn wrong_configuration(path: &Path, metadata: &Metadata) -> Option<(String, String)> {
    let (mode, uid) = (mode(metadata), metadata.uid());
    if user::is_strangers(metadata) {
        let problem = format!("it belongs to another user (uid {uid}), who decides what extensions may");
        let advice =
            format!("{}; and framehost allow anew what you want allowed: what it says is not yours", aside(path));
        return Some((problem, advice));
    }
    let problem = || format!("everybody on this machine decides what extensions may (mode {mode:03o})");
    (mode & 0o002 != 0).then(|| (problem(), chmod("600", path)))
}

/// May everybody on the machine change it, or put something else into it? Where a folder is sticky, only what nobody has
/// put there yet.
pub(super) fn is_open_to_all(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| mode(&metadata) & 0o002 != 0 && metadata.mode() & 0o1000 == 0)
}

/// Do others not get to what is in a folder?
pub(super) fn is_closed_to_others(folder: &Path) -> bool {
    fs::metadata(folder).is_ok_and(|metadata| mode(&metadata) & 0o001 == 0)
}

/// May it be started without giving another user's program what this user may?
pub(super) fn is_trusted(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| !user::is_strangers(&metadata)) && !is_open_to_all(path)
}

/// Is it below the user's home, which is the user's? What a link there leads to may be elsewhere.
fn is_in_own_home(path: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let Some(home) = home().as_deref().map(real) else { return false };
    let path = real(path);
    path != home && path.starts_with(&home) && other_owner(&home).is_none()
}

/// Is the user's home there, and the user's?
pub(super) fn has_own_home() -> bool {
    home().is_some_and(|home| home.is_dir() && other_owner(&home).is_none())
}

fn home() -> Option<PathBuf> {
    directories::BaseDirs::new().map(|base| base.home_dir().to_owned())
}

/// How others may read a file that is for the user alone.
pub(crate) fn shown_to_others(metadata: &Metadata) -> Option<String> {
    let mode = mode(metadata);
    (mode & 0o077 != 0).then(|| format!("mode {mode:03o}"))
}

/// Who holds the lock, as the kernel lists it. Source: `proc_locks(5)`.
pub(crate) fn process_of_lock(lock: &Path) -> Option<HubProcess> {
    let inode = fs::metadata(lock).ok()?.ino().to_string();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    // 1: FLOCK  ADVISORY  WRITE 1234 fe:00:5678 0 EOF
    let pid = locks.lines().find_map(|line| match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        [_, "FLOCK", _, _, pid, file, ..] if file.rsplit(':').next() == Some(inode.as_str()) => pid.parse::<u32>().ok(),
        _ => None,
    })?;
    // One that waits for an answer holds nothing: this is not us.
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).ok().filter(|_| pid != process::id())?;
    // 1234 (framehost) S …: the name may hold anything.
    let (before, after) = status.rsplit_once(')')?;
    let name = before.split_once('(').map_or_else(String::new, |(_, name)| name.to_owned());
    let is_stopped = matches!(after.trim_start().chars().next(), Some('T' | 't'));
    Some(HubProcess { pid, name, is_stopped })
}

/// Is this the administrator, and nobody's own account?
pub(super) fn is_root() -> bool {
    own_uid() == 0
}

/// How to find who listens on a port.
pub(super) fn name_listener(port: u16) -> String {
    format!("ss -ltnp 'sport = :{port}' names it")
}

fn mode(metadata: &Metadata) -> u32 {
    metadata.mode() & 0o777
}

/// This process's user.
fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}
