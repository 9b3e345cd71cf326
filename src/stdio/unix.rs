//! Descriptors 0 and 1 on Unix.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, BorrowedFd},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::{Errno, fcntl_dupfd_cloexec},
};

/// The lowest number for a descriptor that is set aside: above the standard three.
const FIRST_FREE: i32 = 3;

pub(super) fn set_aside() -> io::Result<(File, File)> {
    let input = duplicate(rustix::stdio::stdin())?;
    let output = duplicate(rustix::stdio::stdout())?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    Ok((input, output))
}

fn duplicate(fd: BorrowedFd<'_>) -> io::Result<File> {
    // Whoever started us may have left it so for its own end; a read or write in the middle of a message waits.
    let flags = fcntl_getfl(fd)?;
    if flags.contains(OFlags::NONBLOCK) {
        fcntl_setfl(fd, flags - OFlags::NONBLOCK)?;
    }
    Ok(File::from(fcntl_dupfd_cloexec(fd, FIRST_FREE)?))
}

pub(super) fn wait_until_closed(output: &File) {
    loop {
        // Without flags of our own: only an error or a hang-up ends the wait.
        let mut fds = [PollFd::from_borrowed_fd(output.as_fd(), PollFlags::empty())];
        match poll(&mut fds, None) {
            Err(Errno::INTR) => {}
            Ok(_) | Err(_) => return,
        }
    }
}
