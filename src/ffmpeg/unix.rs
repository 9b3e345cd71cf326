//! The pipes to and from a program: never blocking, and polled.

use std::{
    io,
    os::{fd::AsFd, unix::process::CommandExt},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    io::Errno,
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid},
};

use super::Read;

/// Bytes that a pipe from or to a program holds (1 MiB: what an unprivileged process may have).
#[cfg(target_os = "linux")]
const PIPE_BYTES: usize = 1 << 20;

/// Keeps the terminal's interruptions away from a program: it ends when its owner is done with it.
pub(super) fn prepare(command: &mut Command) {
    command.process_group(0);
}

/// Has a program ended? It is not waited for: its number stays its own.
pub(super) fn has_ended(child: &mut Child) -> io::Result<bool> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(pid(child)?), options)?.is_some())
}

fn pid(child: &Child) -> io::Result<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// Ends a program with all that it has started: it may be a script around the real one.
pub(super) fn kill(child: &mut Child) -> io::Result<()> {
    // As long as it was not waited for, nobody else has its number; and those that it has left behind have its group's.
    if has_ended(child).is_ok()
        && let Err(error) = kill_process_group(pid(child)?, Signal::KILL)
    {
        tracing::debug!(%error, "a program's group could not be ended");
    }
    child.kill()
}

/// What a program writes.
#[derive(Debug)]
pub(super) struct Output {
    pipe: ChildStdout,
}

impl Output {
    /// # Errors
    ///
    /// If the pipe cannot be set up.
    pub(super) fn new(pipe: ChildStdout) -> io::Result<Self> {
        enlarge(&pipe);
        set_nonblocking(&pipe)?;
        Ok(Self { pipe })
    }

    /// Reads what is there, waiting for at most `timeout`.
    ///
    /// # Errors
    ///
    /// If the pipe breaks.
    pub(super) fn read(&mut self, into: &mut [u8], timeout: Duration) -> io::Result<Read> {
        let due = Instant::now() + timeout;
        loop {
            match rustix::io::read(&self.pipe, &mut *into) {
                Ok(0) => return Ok(Read::End),
                Ok(count) => return Ok(Read::Bytes(count)),
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Read::Nothing);
            }
            wait(&self.pipe, PollFlags::IN, left)?;
        }
    }
}

/// What a program reads. Dropping it is the end of that.
#[derive(Debug)]
pub(super) struct Input {
    pipe: ChildStdin,
}

impl Input {
    /// # Errors
    ///
    /// If the pipe cannot be set up.
    pub(super) fn new(pipe: ChildStdin) -> io::Result<Self> {
        enlarge(&pipe);
        set_nonblocking(&pipe)?;
        Ok(Self { pipe })
    }

    /// Writes as much as the program takes now; 0 if it takes nothing at once, and then not before it would or `timeout`.
    ///
    /// # Errors
    ///
    /// If the program does not read any more.
    pub(super) fn write(&mut self, bytes: &[u8], timeout: Duration) -> io::Result<usize> {
        match rustix::io::write(&self.pipe, bytes) {
            Ok(count) => return Ok(count),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        wait(&self.pipe, PollFlags::OUT, timeout)?;
        Ok(0)
    }
}

/// Waits for at most `timeout`; a signal may end that earlier.
fn wait(pipe: impl AsFd, flags: PollFlags, timeout: Duration) -> io::Result<()> {
    let timeout = Timespec::try_from(timeout).map_err(io::Error::other)?;
    match poll(&mut [PollFd::new(&pipe, flags)], Some(&timeout)) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A smaller pipe is slower, and no more than that.
fn enlarge(pipe: impl AsFd) {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::pipe::fcntl_setpipe_size(&pipe, PIPE_BYTES) {
        tracing::debug!(%error, "a pipe of a program stays small");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = pipe;
}

fn set_nonblocking(pipe: impl AsFd) -> io::Result<()> {
    Ok(fcntl_setfl(&pipe, fcntl_getfl(&pipe)? | OFlags::NONBLOCK)?)
}
