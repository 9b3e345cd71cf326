//! Windows: a hub is started away from the browser's console and job, and a program that takes another's place is its child.

use std::{
    io,
    os::windows::process::CommandExt as _,
    process::{self, Child, Command, Stdio},
};

use windows_sys::Win32::{
    Foundation::{HANDLE_FLAG_INHERIT, SetHandleInformation},
    System::{
        Console::{GetStdHandle, STD_ERROR_HANDLE, STD_INPUT_HANDLE, STD_OUTPUT_HANDLE},
        Threading::{CREATE_BREAKAWAY_FROM_JOB, CREATE_NEW_PROCESS_GROUP, DETACHED_PROCESS},
    },
};

/// Starts a program that outlives this one, and the browser.
///
/// # Errors
///
/// If it cannot be started.
pub fn start_detached(command: &mut Command) -> io::Result<Child> {
    keep_standard_handles();
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let detached = DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP;
    // A job may end all that is in it, as browsers' do, and may not let anything out of it.
    match command.creation_flags(detached | CREATE_BREAKAWAY_FROM_JOB).spawn() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => command.creation_flags(detached).spawn(),
        other => other,
    }
}

/// Keeps what the browser has given us from whom we start: a browser that waits for the end of our output would wait for
/// the hub's end.
#[expect(unsafe_code, reason = "calls the system")]
fn keep_standard_handles() {
    for which in [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE] {
        // SAFETY: neither call takes pointers. One that is not there need not be kept.
        unsafe { SetHandleInformation(GetStdHandle(which), HANDLE_FLAG_INHERIT, 0) };
    }
}

/// Has the program take this process's place: it has what this one has, and this one ends as it does. Returns only if it
/// cannot be started.
pub fn replace(program: &mut Command) -> io::Error {
    match program.status() {
        Ok(status) => process::exit(status.code().unwrap_or(1)),
        Err(error) => error,
    }
}
