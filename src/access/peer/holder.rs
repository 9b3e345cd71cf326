//! Whether a browser holds a socket, by the descriptors of this user's processes (`/proc`).

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use super::browser;

/// Does a browser hold the socket with this inode? A browser that does not let itself be looked into is taken to, unless
/// another process is found that does.
pub(super) fn is_browser_of(inode: u32) -> bool {
    let link = format!("socket:[{inode}]");
    let mut hidden = false;
    for process in processes().filter(|process| is_browser(process)) {
        match has_open(&process, &link) {
            Ok(true) => return true,
            Ok(false) => {}
            Err(error) => hidden |= error.kind() == io::ErrorKind::PermissionDenied,
        }
    }
    hidden && !processes().any(|process| has_open(&process, &link).unwrap_or(false))
}

fn processes() -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let is_process = |name: &str| name.bytes().all(|byte| byte.is_ascii_digit());
    entries.filter(move |entry| entry.file_name().to_str().is_some_and(is_process)).map(|entry| entry.path())
}

fn is_browser(process: &Path) -> bool {
    let name = match fs::read_link(process.join("exe")) {
        Ok(program) => program.file_name().map(|name| name.to_string_lossy().into_owned()),
        // It has none, or hides it, and still has a name.
        Err(_) => fs::read_to_string(process.join("comm")).ok(),
    };
    // After an update the file is another one.
    let name = name.unwrap_or_default();
    browser::is_program(name.trim_end().trim_end_matches(" (deleted)"))
}

/// Is one of its descriptors this?
fn has_open(process: &Path, link: &str) -> io::Result<bool> {
    for entry in fs::read_dir(process.join("fd"))? {
        if entry.and_then(|entry| fs::read_link(entry.path())).is_ok_and(|target| target.as_os_str() == link) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        net::TcpListener,
        process::{Command, Stdio},
        time::{Duration, Instant},
    };

    use super::super::system::{is_browser, look_up};
    use crate::access::Peer;

    /// Who is at the other end of a connection that a shell of that name has made.
    fn caller(name: &str) -> (Peer, bool) {
        let dir = tempfile::tempdir().unwrap();
        let shell = dir.path().join(name);
        std::fs::copy(std::fs::canonicalize("/bin/bash").unwrap(), &shell).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = format!("exec 9<>/dev/tcp/127.0.0.1/{port}; echo hello >&9; read -r _");
        let mut child = Command::new(&shell).args(["-c", &script]).stdin(Stdio::piped()).spawn().unwrap();
        let (mut stream, peer) = listener.accept().unwrap();
        stream.read_exact(&mut [0; 5]).unwrap();
        let local = stream.local_addr().unwrap();
        let found = (look_up(peer, local), is_browser(peer, local));
        drop(child.stdin.take());
        child.wait().unwrap();
        found
    }

    #[test]
    fn a_browser_is_known_by_its_program_and_not_by_what_it_says() {
        assert_eq!(caller("chrome"), (Peer::SameUser, true));
        assert_eq!(caller("firefox-esr"), (Peer::SameUser, true));
        assert_eq!(caller("python3"), (Peer::SameUser, false));
    }

    #[test]
    fn a_connection_that_nobody_holds_any_more_is_taken_for_a_browsers() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, peer) = listener.accept().unwrap();
        let local = server.local_addr().unwrap();
        assert!(!is_browser(peer, local));
        drop(client);
        // A child that another test starts has it open until it is another program.
        let began = Instant::now();
        while !is_browser(peer, local) {
            assert!(began.elapsed() < Duration::from_secs(20), "somebody holds it still");
        }
    }
}
