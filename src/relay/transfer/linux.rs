//! `splice(2)`: the pipe's pages become the socket's, and nobody copies what is in them.

use std::os::fd::AsFd;

use rustix::{
    io::Errno,
    pipe::{SpliceFlags, fcntl_setpipe_size, splice},
};

use super::MoveError;
use crate::{local::Stream, stdio::Input};

/// Bytes under way in the pipe and in the socket (1 MiB each: what the kernel grants a user without asking, or less).
/// With room for a whole picture the browser, the relay and the hub wait for each other less often.
const IN_FLIGHT_BYTES: usize = 1 << 20;

/// Makes room for more bytes under way. That it is refused costs speed and nothing else.
pub(in super::super) fn enlarge(input: &Input) {
    if let Err(error) = fcntl_setpipe_size(input.as_fd(), IN_FLIGHT_BYTES) {
        tracing::debug!(%error, "stdin stays as small as it is");
    }
}

pub(super) fn move_bytes(input: &Input, hub: &Stream, len: usize) -> Result<usize, MoveError> {
    loop {
        match splice(input.as_fd(), None, hub.as_fd(), None, len, SpliceFlags::MOVE) {
            Ok(moved) => return Ok(moved),
            Err(Errno::INTR) => {}
            // The input is no pipe, or the kernel is older than splicing into this kind of socket.
            Err(Errno::INVAL | Errno::NOSYS) => return Err(MoveError::Unsupported),
            // Pipes have no errors of their own, so it is the socket's.
            Err(_) => return Err(MoveError::HubGone),
        }
    }
}
