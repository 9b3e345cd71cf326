//! Bytes from stdin to the hub's socket: moved inside the kernel where it can do that, copied through a buffer otherwise.

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "unknown.rs")]
mod system;

use std::{
    io::{self, Read, Write},
    net::Shutdown,
};

pub(super) use self::system::enlarge;
use crate::{local::Stream, stdio::Input};

/// Bytes copied at once (64 KiB: as much as a pipe holds unless it was enlarged).
const COPY_BYTES: usize = 64 << 10;

/// Why bytes could not be moved. None is lost: they can still be read from the input.
#[derive(Debug)]
enum MoveError {
    /// The system cannot move bytes between these two at all.
    Unsupported,
    /// The hub takes no more.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "only Linux can move any"))]
    HubGone,
}

/// The way to the hub.
#[derive(Debug)]
pub(super) struct Transfer {
    input: Input,
    /// Until the system says that it cannot.
    moves: bool,
    /// For copying; empty until it is needed.
    buffer: Vec<u8>,
}

impl Transfer {
    pub(super) fn new(input: Input) -> Self {
        Self { input, moves: true, buffer: Vec::new() }
    }

    pub(super) fn input(&mut self) -> &mut Input {
        &mut self.input
    }

    /// Takes up to `len` bytes from the input, at least one, and sends them to the hub if it is still there; otherwise
    /// they are dropped. Returns how many, 0 at the end of input.
    pub(super) fn some(&mut self, hub: &mut Option<Stream>, len: usize) -> io::Result<usize> {
        if self.moves
            && let Some(stream) = hub
        {
            match system::move_bytes(&self.input, stream, len) {
                Ok(moved) => return Ok(moved),
                Err(MoveError::Unsupported) => self.moves = false,
                Err(MoveError::HubGone) => give_up(hub),
            }
        }
        self.buffer.resize(COPY_BYTES, 0);
        let room = len.min(COPY_BYTES);
        let read = self.input.read(self.buffer.get_mut(..room).unwrap_or_default())?;
        forward(hub, self.buffer.get(..read).unwrap_or_default());
        Ok(read)
    }
}

/// Sends to the hub if it is still there; otherwise the bytes are dropped, and with them the rest of the message.
pub(super) fn forward(hub: &mut Option<Stream>, bytes: &[u8]) {
    if let Some(stream) = hub
        && stream.write_all(bytes).is_err()
    {
        give_up(hub);
    }
}

/// Ends the link for both directions: a hub that has got half a message must not take the next one for its rest.
fn give_up(hub: &mut Option<Stream>) {
    if let Some(stream) = hub.take() {
        // It may be closed already.
        let _ = stream.shutdown(Shutdown::Both);
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::{fs::File, os::fd::OwnedFd, thread};

    use super::*;

    const LEN: usize = 300_000;

    fn message() -> Vec<u8> {
        (0..LEN).map(|at| u8::try_from(at % 251).unwrap()).collect()
    }

    /// Inputs of every kind that holds a message and the beginning of another.
    fn inputs() -> Vec<(&'static str, Input)> {
        let bytes = [message(), b"next".to_vec()].concat();
        let (pipe, mut pipe_end) = io::pipe().unwrap();
        let (socket, mut socket_end) = Stream::pair().unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&bytes).unwrap();
        let file = file.reopen().unwrap();
        thread::spawn({
            let bytes = bytes.clone();
            move || pipe_end.write_all(&bytes)
        });
        thread::spawn(move || socket_end.write_all(&bytes));
        vec![("pipe", File::from(OwnedFd::from(pipe))), ("socket", File::from(OwnedFd::from(socket))), ("file", file)]
    }

    /// Carries the message, and gives what is left in the input.
    fn carry(input: Input, hub: &mut Option<Stream>) -> Vec<u8> {
        let mut transfer = Transfer::new(input);
        let mut left = LEN;
        while left > 0 {
            let carried = transfer.some(hub, left).unwrap();
            assert!((1..=left).contains(&carried));
            left -= carried;
        }
        let mut rest = Vec::new();
        transfer.input().read_to_end(&mut rest).unwrap();
        assert_eq!(transfer.some(hub, 1).unwrap(), 0, "the end of input");
        rest
    }

    #[test]
    fn a_message_arrives_whatever_the_input_is() {
        for (kind, input) in inputs() {
            enlarge(&input);
            let (hub, mut far) = Stream::pair().unwrap();
            let arrived = thread::spawn(move || {
                let mut arrived = Vec::new();
                far.read_to_end(&mut arrived).map(|_| arrived)
            });
            assert_eq!(carry(input, &mut Some(hub)), b"next", "{kind}");
            assert!(arrived.join().unwrap().unwrap() == message(), "{kind}");
        }
    }

    #[test]
    fn a_message_that_a_dead_hub_does_not_take_is_dropped_whole() {
        for (kind, input) in inputs() {
            let (hub, mut far) = Stream::pair().unwrap();
            let reading = thread::spawn(move || far.read_exact(&mut [0; 1000]));
            let mut hub = Some(hub);
            assert_eq!(carry(input, &mut hub), b"next", "{kind}");
            assert!(hub.is_none(), "{kind}: the hub is still there");
            reading.join().unwrap().unwrap();
        }
    }
}
