//! Systems that cannot move bytes from a pipe to a socket.

use super::MoveError;
use crate::{local::Stream, stdio::Input};

pub(in super::super) fn enlarge(_input: &Input) {}

pub(super) fn move_bytes(_input: &Input, _hub: &Stream, _len: usize) -> Result<usize, MoveError> {
    Err(MoveError::Unsupported)
}
