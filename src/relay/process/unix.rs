//! Unix: a hub leaves the session by itself, and a program can take another's place.

use std::{
    io,
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
};

/// Starts a program that outlives this one, and the browser.
///
/// # Errors
///
/// If it cannot be started.
pub fn start_detached(command: &mut Command) -> io::Result<Child> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
}

/// Has the program take this process's place. Returns only if it fails.
pub fn replace(program: &mut Command) -> io::Error {
    program.exec()
}
