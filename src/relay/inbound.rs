//! From stdin to the hub, on a thread of its own: a read of stdin cannot be cancelled.

use std::{
    io::{self, BufReader, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    process,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::{
    framing::PREFIX_BYTES,
    stdio::{ClosedWatch, Input},
};

/// Bytes carried at once (64 KiB: as much as a pipe holds unless it was enlarged).
const COPY_BYTES: usize = 64 << 10;

/// The current connection to a hub, and whether there still is something to send on it.
#[derive(Debug, Default)]
pub(super) struct HubEnd {
    stream: Mutex<Option<UnixStream>>,
    input_ended: AtomicBool,
}

impl HubEnd {
    /// Takes a new hub for what comes from the browser, and returns the end that its messages come from.
    pub(super) fn replace(&self, hub: UnixStream) -> io::Result<BufReader<UnixStream>> {
        let incoming = BufReader::with_capacity(COPY_BYTES, hub.try_clone()?);
        let mut stream = self.stream();
        if self.input_ended() {
            // The end of input may have come while there was no hub to be told.
            hub.shutdown(Shutdown::Write)?;
        }
        *stream = Some(hub);
        Ok(incoming)
    }

    /// Forgets a hub that died. A message that is being sent to it ends here, at the latest with the next write.
    pub(super) fn lose(&self) {
        *self.stream() = None;
    }

    pub(super) fn input_ended(&self) -> bool {
        self.input_ended.load(Ordering::Acquire)
    }

    /// A connection to send one message on.
    fn current(&self) -> Option<UnixStream> {
        self.stream().as_ref()?.try_clone().ok()
    }

    fn end_input(&self) {
        let stream = self.stream();
        self.input_ended.store(true, Ordering::Release);
        if let Some(hub) = &*stream {
            // A failure is the hub's death, which the other direction notices.
            let _ = hub.shutdown(Shutdown::Write);
        }
    }

    fn stream(&self) -> MutexGuard<'_, Option<UnixStream>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the thread.
pub(super) fn spawn(input: Input, hub_end: std::sync::Arc<HubEnd>, output: ClosedWatch) -> io::Result<()> {
    thread::Builder::new().name("relay-inbound".to_owned()).stack_size(256 << 10).spawn(move || {
        if let Err(error) = carry(input, &hub_end) {
            tracing::debug!(%error, "the browser's end broke");
        }
        hub_end.end_input();
        // The hub may still be answering. If nobody reads its answers, there is nothing to wait for.
        output.wait();
        process::exit(0);
    })?;
    Ok(())
}

/// Carries whole messages, each to the hub that is there when it begins.
fn carry(mut input: Input, hub_end: &HubEnd) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        let mut prefix = [0; PREFIX_BYTES];
        if !read_prefix(&mut input, &mut prefix)? {
            return Ok(());
        }
        let mut hub = hub_end.current();
        forward(&mut hub, &prefix);
        let mut left = u64::from(u32::from_ne_bytes(prefix));
        while left > 0 {
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let piece = buffer.get_mut(..room).unwrap_or_default();
            let read = input.read(piece)?;
            if read == 0 {
                return Ok(());
            }
            forward(&mut hub, piece.get(..read).unwrap_or_default());
            left -= read as u64;
        }
    }
}

/// Reads a prefix; `false` at the end of input. Part of a prefix is handed on: the session says what is missing.
fn read_prefix(input: &mut Input, prefix: &mut [u8; PREFIX_BYTES]) -> io::Result<bool> {
    match input.read_exact(prefix) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sends to the hub if it is still there; otherwise the bytes are dropped, and with them the rest of the message.
fn forward(hub: &mut Option<UnixStream>, bytes: &[u8]) {
    if let Some(stream) = hub
        && stream.write_all(bytes).is_err()
    {
        *hub = None;
    }
}
