//! The pipes to and from a program. None can be polled here, so each has a thread that moves bytes between the pipe and
//! a bounded store. The threads end with the process: their pipes break.

use std::{
    collections::VecDeque,
    io::{self, Read as _, Write as _},
    os::windows::process::CommandExt,
    process::{ChildStdin, ChildStdout, Command},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use super::Read;

/// Bytes that wait on their way (1 MiB).
const STORE_BYTES: usize = 1 << 20;

/// Bytes that are moved at once (64 KiB).
const PIECE_BYTES: usize = 64 << 10;

/// No window is opened for the program. Source: `winbase.h`.
const CREATE_NO_WINDOW: u32 = 0x0800_0000;

/// Makes a program one that nobody sees.
pub(super) fn prepare(command: &mut Command) {
    command.creation_flags(CREATE_NO_WINDOW);
}

/// Has a program ended?
pub(super) fn has_ended(child: &mut std::process::Child) -> io::Result<bool> {
    Ok(child.try_wait()?.is_some())
}

/// Ends a program.
pub(super) fn kill(child: &mut std::process::Child) -> io::Result<()> {
    child.kill()
}

/// What a program writes.
#[derive(Debug)]
pub(super) struct Output {
    store: Arc<Store>,
}

impl Output {
    /// # Errors
    ///
    /// If no thread can be started.
    pub(super) fn new(mut pipe: ChildStdout) -> io::Result<Self> {
        let store = Arc::new(Store::default());
        let filled = Arc::clone(&store);
        thread::Builder::new().name("ffmpeg-output".to_owned()).spawn(move || {
            let mut piece = vec![0; PIECE_BYTES];
            let ended = loop {
                match pipe.read(&mut piece) {
                    Ok(0) => break Ok(()),
                    Ok(count) if filled.fill(piece.get(..count).unwrap_or_default()) => {}
                    Ok(_) => break Ok(()),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => break Err(error),
                }
            };
            filled.close(ended);
        })?;
        Ok(Self { store })
    }

    /// Reads what is there, waiting for at most `timeout`.
    ///
    /// # Errors
    ///
    /// If the pipe breaks.
    pub(super) fn read(&mut self, into: &mut [u8], timeout: Duration) -> io::Result<Read> {
        self.store.read(into, timeout)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.store.close(Ok(()));
    }
}

/// What a program reads. Dropping it is the end of that, behind what has been written.
#[derive(Debug)]
pub(super) struct Input {
    store: Arc<Store>,
}

impl Input {
    /// # Errors
    ///
    /// If no thread can be started.
    pub(super) fn new(mut pipe: ChildStdin) -> io::Result<Self> {
        let store = Arc::new(Store::default());
        let emptied = Arc::clone(&store);
        thread::Builder::new().name("ffmpeg-input".to_owned()).spawn(move || {
            let mut piece = vec![0; PIECE_BYTES];
            let ended = loop {
                let count = emptied.drain(&mut piece);
                if count == 0 {
                    break Ok(());
                }
                if let Err(error) = pipe.write_all(piece.get(..count).unwrap_or_default()) {
                    break Err(error);
                }
            };
            emptied.close(ended);
        })?;
        Ok(Self { store })
    }

    /// Takes as much as there is room for; 0 if there is none before `timeout`.
    ///
    /// # Errors
    ///
    /// If the program does not read any more.
    pub(super) fn write(&mut self, bytes: &[u8], timeout: Duration) -> io::Result<usize> {
        self.store.write(bytes, timeout)
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.store.close(Ok(()));
    }
}

/// Bytes on their way between a pipe's thread and whoever does not want to wait for it.
#[derive(Debug, Default)]
struct Store {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    bytes: VecDeque<u8>,
    /// Nothing more comes in, and what failed, until it is told.
    closed: Option<io::Result<()>>,
}

impl Store {
    /// Puts all of `bytes` in, waiting for room; `false` if nobody wants them any more. For the thread.
    fn fill(&self, mut bytes: &[u8]) -> bool {
        loop {
            let is_full = |state: &mut State| state.bytes.len() >= STORE_BYTES && state.closed.is_none();
            let mut state = self.changed.wait_while(self.state(), is_full).unwrap_or_else(PoisonError::into_inner);
            if state.closed.is_some() {
                return false;
            }
            let (now, later) = bytes.split_at(bytes.len().min(STORE_BYTES - state.bytes.len()));
            state.bytes.extend(now);
            self.changed.notify_all();
            if later.is_empty() {
                return true;
            }
            bytes = later;
        }
    }

    /// Takes bytes out, waiting for some; 0 at their end. For the thread.
    fn drain(&self, into: &mut [u8]) -> usize {
        let is_empty = |state: &mut State| state.bytes.is_empty() && state.closed.is_none();
        let mut state = self.changed.wait_while(self.state(), is_empty).unwrap_or_else(PoisonError::into_inner);
        let count = state.take(into);
        self.changed.notify_all();
        count
    }

    fn read(&self, into: &mut [u8], timeout: Duration) -> io::Result<Read> {
        let is_empty = |state: &mut State| state.bytes.is_empty() && state.closed.is_none();
        let waited = self.changed.wait_timeout_while(self.state(), timeout, is_empty);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        let count = state.take(into);
        self.changed.notify_all();
        match (count, &mut state.closed) {
            (0, None) => Ok(Read::Nothing),
            (0, Some(ended)) => std::mem::replace(ended, Ok(())).map(|()| Read::End),
            (count, _) => Ok(Read::Bytes(count)),
        }
    }

    fn write(&self, bytes: &[u8], timeout: Duration) -> io::Result<usize> {
        let is_full = |state: &mut State| state.bytes.len() >= STORE_BYTES && state.closed.is_none();
        let waited = self.changed.wait_timeout_while(self.state(), timeout, is_full);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if let Some(ended) = &mut state.closed {
            std::mem::replace(ended, Ok(()))?;
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = bytes.len().min(STORE_BYTES - state.bytes.len());
        state.bytes.extend(bytes.iter().take(count));
        self.changed.notify_all();
        Ok(count)
    }

    /// The first to close it says why.
    fn close(&self, ended: io::Result<()>) {
        self.state().closed.get_or_insert(ended);
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// As many bytes as there are and `into` holds.
    fn take(&mut self, into: &mut [u8]) -> usize {
        // Reading from memory never fails, and stops short where the ring turns.
        let mut count = 0;
        while let Ok(more @ 1..) = self.bytes.read(into.get_mut(count..).unwrap_or_default()) {
            count += more;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_gives_all_that_was_put_in_and_then_its_end() {
        let store = Arc::new(Store::default());
        let sent: Vec<u8> = (0..3 * STORE_BYTES).map(|at| (at % 251) as u8).collect();
        let (filled, all) = (Arc::clone(&store), sent.clone());
        let thread = thread::spawn(move || {
            assert!(filled.fill(&all));
            filled.close(Err(io::ErrorKind::TimedOut.into()));
        });
        let (mut got, mut piece) = (Vec::new(), vec![0; 100_003]);
        let error = loop {
            match store.read(&mut piece, Duration::from_secs(60)) {
                Ok(Read::Bytes(count)) => got.extend_from_slice(&piece[..count]),
                Ok(other) => panic!("{other:?}"),
                Err(error) => break error,
            }
        };
        thread.join().unwrap();
        assert!(got == sent, "{} of {} bytes", got.len(), sent.len());
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(store.read(&mut piece, Duration::ZERO).unwrap(), Read::End);
    }

    #[test]
    fn a_full_store_takes_nothing_and_a_closed_one_fails() {
        let store = Store::default();
        let bytes = vec![7; STORE_BYTES + 1];
        assert_eq!(store.read(&mut [0; 4], Duration::ZERO).unwrap(), Read::Nothing);
        assert_eq!(store.write(&bytes, Duration::ZERO).unwrap(), STORE_BYTES);
        assert_eq!(store.write(&bytes, Duration::from_millis(1)).unwrap(), 0);
        assert_eq!(store.drain(&mut [0; 4]), 4);
        assert_eq!(store.write(&bytes, Duration::ZERO).unwrap(), 4);
        store.close(Ok(()));
        assert_eq!(store.write(&bytes, Duration::ZERO).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert!(!store.fill(&bytes));
        let mut rest = vec![0; STORE_BYTES + 1];
        assert_eq!((store.drain(&mut rest), store.drain(&mut rest)), (STORE_BYTES, 0), "what was written goes first");
    }
}
