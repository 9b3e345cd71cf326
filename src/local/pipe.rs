//! The relay's end of a named pipe.
//!
//! The standard library's files let a read and a write of one pipe wait for each other, for ever if need be. So this one is
//! opened for overlapped operations, each of which is waited for by itself; they can be given up, which
//! `shutdown` and time limits need.
//!
//! Source: Microsoft, "Synchronous and Overlapped Input and Output".

use std::{
    io::{self, Read, Write},
    net::Shutdown,
    os::windows::io::{AsRawHandle as _, FromRawHandle as _, OwnedHandle},
    ptr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use windows_sys::{
    Win32::{
        Foundation::{
            ERROR_BROKEN_PIPE, ERROR_IO_PENDING, ERROR_NO_DATA, ERROR_PIPE_NOT_CONNECTED, HANDLE, WAIT_OBJECT_0,
        },
        Storage::FileSystem::{ReadFile, WriteFile},
        System::{
            IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED},
            Threading::{CreateEventW, INFINITE, SetEvent, WaitForMultipleObjects},
        },
    },
    core::BOOL,
};

use super::chunks;

/// A connection to the hub. Its clones are the same connection.
#[derive(Debug)]
pub struct Stream {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pipe: OwnedHandle,
    /// Set when both directions are shut down: ends every wait.
    closed: OwnedHandle,
    is_closed: AtomicBool,
    /// Milliseconds that a read may take.
    read_timeout: AtomicU32,
    sending: Mutex<Sending>,
}

#[derive(Debug, Default)]
struct Sending {
    has_ended: bool,
    chunk: Vec<u8>,
}

impl Stream {
    /// `pipe`: opened for overlapped operations, in both directions.
    pub(super) fn new(pipe: OwnedHandle) -> io::Result<Self> {
        let shared = Shared {
            pipe,
            closed: event()?,
            is_closed: AtomicBool::new(false),
            read_timeout: AtomicU32::new(INFINITE),
            sending: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The same connection once more.
    ///
    /// # Errors
    ///
    /// None.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { shared: Arc::clone(&self.shared) })
    }

    /// How long a read may take, at least a millisecond; `None`: as long as it takes.
    ///
    /// # Errors
    ///
    /// None.
    pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        let millis = timeout.map_or(INFINITE, |timeout| u32::try_from(timeout.as_millis()).unwrap_or(INFINITE));
        self.shared.read_timeout.store(millis.max(1), Ordering::Relaxed);
        Ok(())
    }

    /// Ends what is sent, or everything.
    ///
    /// # Errors
    ///
    /// If the hub is gone.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        match how {
            Shutdown::Write => self.shared.end_sending(),
            Shutdown::Read | Shutdown::Both => self.shared.close(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.shared.receive(into)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.shared.send(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    #[expect(unsafe_code, reason = "the standard library has no overlapped operations")]
    fn receive(&self, into: &mut [u8]) -> io::Result<usize> {
        let timeout = self.read_timeout.load(Ordering::Relaxed);
        let (start, room) = (into.as_mut_ptr(), u32::try_from(into.len()).unwrap_or(u32::MAX));
        // SAFETY: `into` takes `room` bytes, and outlives the operation, which is over when `wait` returns.
        let read =
            self.wait(timeout, |pipe, operation| unsafe { ReadFile(pipe, start, room, ptr::null_mut(), operation) });
        match read {
            Err(error) if is_gone(&error) => Ok(0),
            other => other,
        }
    }

    /// Sends one chunk; returns how many of `bytes` were in it.
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let mut sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        if sending.has_ended {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = chunks::encode(bytes, &mut sending.chunk);
        self.send_all(&sending.chunk)?;
        Ok(count)
    }

    fn end_sending(&self) -> io::Result<()> {
        let mut sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut sending.has_ended, true) {
            self.send_all(&chunks::END)?;
        }
        Ok(())
    }

    #[expect(unsafe_code, reason = "the standard library has no overlapped operations")]
    fn send_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let (start, len) = (bytes.as_ptr(), u32::try_from(bytes.len()).unwrap_or(u32::MAX));
            // SAFETY: `bytes` has `len` bytes, and outlives the operation, which is over when `wait` returns.
            let written = self
                .wait(INFINITE, |pipe, operation| unsafe { WriteFile(pipe, start, len, ptr::null_mut(), operation) });
            let written = written
                .map_err(|error| if is_gone(&error) { io::Error::from(io::ErrorKind::BrokenPipe) } else { error })?;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    #[expect(unsafe_code, reason = "calls the system")]
    fn close(&self) -> io::Result<()> {
        self.is_closed.store(true, Ordering::Release);
        // SAFETY: the event is there as long as `self`.
        if unsafe { SetEvent(self.closed.as_raw_handle()) } == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Starts an operation and waits for its end, or gives it up: after `timeout` milliseconds, or because the connection
    /// is shut down. The operation is over when this returns.
    #[expect(unsafe_code, reason = "the standard library has no overlapped operations")]
    fn wait(&self, timeout: u32, start: impl FnOnce(HANDLE, *mut OVERLAPPED) -> BOOL) -> io::Result<usize> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(io::Error::from_raw_os_error(ERROR_BROKEN_PIPE.cast_signed()));
        }
        let done = event()?;
        let mut operation = OVERLAPPED { hEvent: done.as_raw_handle(), ..OVERLAPPED::default() };
        let operation = &raw mut operation;
        let pipe = self.pipe.as_raw_handle();
        if start(pipe, operation) == 0 {
            let error = io::Error::last_os_error();
            if error.raw_os_error() != Some(ERROR_IO_PENDING.cast_signed()) {
                return Err(error);
            }
        }
        let events = [done.as_raw_handle(), self.closed.as_raw_handle()];
        // SAFETY: two events are there, and stay until the call returns.
        let ended = unsafe { WaitForMultipleObjects(2, events.as_ptr(), 0, timeout) };
        if ended != WAIT_OBJECT_0 {
            // SAFETY: `operation` is of this pipe. That it is over already is no failure.
            unsafe { CancelIoEx(pipe, operation) };
        }
        let mut count = 0;
        // SAFETY: `operation` is of this pipe, and this waits until the system has no use for it any more.
        let is_done = unsafe { GetOverlappedResult(pipe, operation, &raw mut count, 1) } != 0;
        let outcome = io::Error::last_os_error();
        if is_done {
            return Ok(usize::try_from(count).unwrap_or(usize::MAX));
        }
        if ended == WAIT_OBJECT_0 {
            return Err(outcome);
        }
        if self.is_closed.load(Ordering::Acquire) {
            return Err(io::Error::from_raw_os_error(ERROR_BROKEN_PIPE.cast_signed()));
        }
        // As Unix's sockets have it.
        Err(io::Error::new(io::ErrorKind::WouldBlock, "nothing came in time"))
    }
}

/// The other end is gone.
fn is_gone(error: &io::Error) -> bool {
    let gone = [ERROR_BROKEN_PIPE, ERROR_NO_DATA, ERROR_PIPE_NOT_CONNECTED];
    error.raw_os_error().is_some_and(|code| gone.contains(&code.cast_unsigned()))
}

/// An event that is not set, and stays set once it is.
#[expect(unsafe_code, reason = "calls the system")]
fn event() -> io::Result<OwnedHandle> {
    // SAFETY: no attributes and no name are allowed.
    let event = unsafe { CreateEventW(ptr::null(), 1, 0, ptr::null()) };
    if event.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has made this handle, and nobody else has it.
    Ok(unsafe { OwnedHandle::from_raw_handle(event) })
}
