//! From stdin to the hub, on a thread of its own: a read of stdin cannot be cancelled.

use std::{
    io::{self, BufReader, Read},
    net::Shutdown,
    process,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use super::transfer::{Transfer, enlarge, forward};
use crate::{
    framing::PREFIX_BYTES,
    local::Stream,
    stdio::{ClosedWatch, Input},
};

/// Room for what comes from the hub, in bytes: answers and events, most of them short.
const INCOMING_BYTES: usize = 64 << 10;

/// How long the other thread may take to leave when nobody is left to carry anything to; it may be looking for a hub.
const LEAVE_TIMEOUT: Duration = Duration::from_millis(50);

/// The current connection to a hub, and whether there still is something to send on it.
#[derive(Debug, Default)]
pub(super) struct HubEnd {
    stream: Mutex<Option<Stream>>,
    input_ended: AtomicBool,
}

impl HubEnd {
    /// Takes a new hub for what comes from the browser, and returns the end that its messages come from.
    pub(super) fn replace(&self, hub: Stream) -> io::Result<BufReader<Stream>> {
        let incoming = BufReader::with_capacity(INCOMING_BYTES, hub.try_clone()?);
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
        if let Some(hub) = self.stream().take() {
            // One that is only not understood any more would leave the other thread waiting for it.
            let _ = hub.shutdown(Shutdown::Both);
        }
    }

    pub(super) fn input_ended(&self) -> bool {
        self.input_ended.load(Ordering::Acquire)
    }

    /// A connection to send one message on.
    fn current(&self) -> Option<Stream> {
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

    fn stream(&self) -> MutexGuard<'_, Option<Stream>> {
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
        // The hub may still be answering. If nobody reads its answers, there is nothing to wait for: the end of the
        // link is what the other thread leaves on.
        output.wait();
        hub_end.lose();
        thread::sleep(LEAVE_TIMEOUT);
        process::exit(0);
    })?;
    Ok(())
}

/// Carries whole messages, each to the hub that is there when it begins.
fn carry(input: Input, hub_end: &HubEnd) -> io::Result<()> {
    enlarge(&input);
    let mut transfer = Transfer::new(input);
    loop {
        let mut prefix = [0; PREFIX_BYTES];
        if !read_prefix(transfer.input(), &mut prefix)? {
            return Ok(());
        }
        let mut hub = hub_end.current();
        forward(&mut hub, &prefix);
        let mut left = usize::try_from(u32::from_ne_bytes(prefix)).unwrap_or(usize::MAX);
        while left > 0 {
            let carried = transfer.some(&mut hub, left)?;
            if carried == 0 {
                return Ok(());
            }
            left -= carried;
        }
    }
}

/// Reads a prefix; `false` at the end of input, also in the middle of a prefix: then there is no message to carry.
fn read_prefix(input: &mut Input, prefix: &mut [u8; PREFIX_BYTES]) -> io::Result<bool> {
    match input.read_exact(prefix) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
