//! The connection to the X server: no wait for it is without a limit.
//!
//! Invariants:
//! - Every wait of x11rb goes through [`Patient::poll`], and ends when the server has been silent for [`SILENCE`] or the
//!   source is told to stop. What can be read or written at once waits no more than it did without.
//! - A connection on which a wait has ended so waits for nothing any more: its replies have lost their order.

use std::{
    env, io,
    net::{TcpStream, ToSocketAddrs as _},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use x11rb::{
    errors::{ConnectError, DisplayParsingError, ReplyError},
    reexports::x11rb_protocol::{
        parse_display::{ConnectAddress, parse_display},
        xauth::{Family, get_auth},
    },
    rust_connection::{DefaultStream, PollMode, RustConnection, Stream},
    utils::RawFdContainer,
};

use super::super::socket::connect_to;
use crate::source::{SourceError, Stop, TICK};

/// How long the server may be silent while it is waited for.
const SILENCE: Duration = Duration::from_secs(5);

/// A connection to an X server.
pub(super) type Link = RustConnection<Patient>;

/// A socket to an X server, for as long as that answers.
#[derive(Debug)]
pub(super) struct Patient {
    socket: DefaultStream,
    silence: Duration,
    stop: Stop,
    is_given_up: AtomicBool,
}

impl Patient {
    fn new(socket: DefaultStream, silence: Duration, stop: &Stop) -> Self {
        Self { socket, silence, stop: stop.clone(), is_given_up: AtomicBool::new(false) }
    }

    fn give_up(&self, kind: io::ErrorKind, problem: String) -> io::Result<()> {
        self.is_given_up.store(true, Ordering::Relaxed);
        Err(io::Error::new(kind, problem))
    }
}

impl Stream for Patient {
    fn poll(&self, mode: PollMode) -> io::Result<()> {
        if self.is_given_up.load(Ordering::Relaxed) {
            return self.give_up(io::ErrorKind::TimedOut, "it has not answered before".to_owned());
        }
        let mut wanted = PollFlags::empty();
        wanted.set(PollFlags::IN, mode.readable());
        wanted.set(PollFlags::OUT, mode.writable());
        let tick = Timespec { tv_sec: 0, tv_nsec: TICK.subsec_nanos().into() };
        let began = Instant::now();
        loop {
            match poll(&mut [PollFd::new(&self.socket, wanted)], Some(&tick)) {
                Ok(0) if self.stop.is_set() => {
                    return self.give_up(io::ErrorKind::ConnectionAborted, "it was given up".to_owned());
                }
                Ok(0) if began.elapsed() >= self.silence => {
                    let problem = format!("it has not answered for {} ms", self.silence.as_millis());
                    return self.give_up(io::ErrorKind::TimedOut, problem);
                }
                Ok(0) | Err(Errno::INTR) => {}
                // What is wrong with the socket, reading or writing tells.
                Ok(_) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn read(&self, into: &mut [u8], descriptors: &mut Vec<RawFdContainer>) -> io::Result<usize> {
        self.socket.read(into, descriptors)
    }

    fn write(&self, from: &[u8], descriptors: &mut Vec<RawFdContainer>) -> io::Result<usize> {
        self.socket.write(from, descriptors)
    }

    fn write_vectored(&self, from: &[io::IoSlice<'_>], descriptors: &mut Vec<RawFdContainer>) -> io::Result<usize> {
        self.socket.write_vectored(from, descriptors)
    }
}

/// Connects to the display that the environment names. `stop` ends this, and every later wait.
///
/// # Errors
///
/// [`SourceError::NoDisplay`] where there is none, [`SourceError::DeviceLost`] where it does not answer.
pub(super) fn connect(stop: &Stop) -> Result<(Link, usize), SourceError> {
    open(stop).map_err(|error| match error {
        ConnectError::IoError(error) if error.kind() == io::ErrorKind::TimedOut => lost(error),
        error => {
            let display = |name| env::var(name).unwrap_or_else(|_| "not set".to_owned());
            let (x11, wayland) = (display("DISPLAY"), display("WAYLAND_DISPLAY"));
            SourceError::NoDisplay { problem: format!("{error} (DISPLAY is {x11}, WAYLAND_DISPLAY is {wayland})") }
        }
    })
}

fn open(stop: &Stop) -> Result<(Link, usize), ConnectError> {
    let display = parse_display(None)?;
    let screen_number = usize::from(display.screen);
    let mut failed = ConnectError::from(DisplayParsingError::Unknown);
    for address in display.connect_instruction() {
        match reach(&address) {
            Ok((socket, (family, peer))) => {
                // Without a cookie it is tried, too: the server says whether it wants one.
                let (name, data) = get_auth(family, &peer, display.display).ok().flatten().unwrap_or_default();
                let stream = Patient::new(socket, SILENCE, stop);
                let conn = Link::connect_to_stream_with_auth_info(stream, screen_number, name, data)?;
                return Ok((conn, screen_number));
            }
            Err(error) => failed = error.into(),
        }
    }
    Err(failed)
}

/// A server of another machine may take [`SILENCE`] for each of its addresses.
fn reach(address: &ConnectAddress<'_>) -> io::Result<(DefaultStream, (Family, Vec<u8>))> {
    let mut failed = io::Error::new(io::ErrorKind::Unsupported, "the display has an address of an unknown kind");
    match address {
        ConnectAddress::Socket(path) => return DefaultStream::from_unix_stream(connect_to(Path::new(path))?),
        ConnectAddress::Hostname(host, port) => {
            for address in (*host, *port).to_socket_addrs()? {
                match TcpStream::connect_timeout(&address, SILENCE) {
                    Ok(stream) => return DefaultStream::from_tcp_stream(stream),
                    Err(error) => failed = error,
                }
            }
        }
        _ => {}
    }
    Err(failed)
}

/// What the server said, or that it is gone.
pub(super) fn lost(error: impl std::fmt::Display) -> SourceError {
    SourceError::DeviceLost { device: "the X11 display".to_owned(), problem: error.to_string() }
}

/// The answer to what the server may refuse, as what was asked about may have gone meanwhile.
///
/// # Errors
///
/// [`SourceError::DeviceLost`] if nothing was answered.
pub(super) fn unless_refused<T>(reply: Result<T, ReplyError>) -> Result<Option<T>, SourceError> {
    match reply {
        Ok(reply) => Ok(Some(reply)),
        Err(ReplyError::X11Error(error)) => {
            tracing::trace!(?error, "the X server refused");
            Ok(None)
        }
        Err(error @ ReplyError::ConnectionError(_)) => Err(lost(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    fn wait(silence: Duration, stop: &Stop) -> io::Error {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let stream = Patient::new(DefaultStream::from_unix_stream(ours).unwrap().0, silence, stop);
        stream.poll(PollMode::Writable).unwrap();
        let error = stream.poll(PollMode::Readable).unwrap_err();
        assert!(stream.poll(PollMode::Writable).is_err(), "nothing is waited for after that");
        error
    }

    #[test]
    fn a_server_that_says_nothing_is_not_waited_for() {
        assert_eq!(wait(Duration::ZERO, &Stop::default()).kind(), io::ErrorKind::TimedOut);
        let stop = Stop::default();
        stop.set();
        assert_eq!(wait(Duration::MAX, &stop).kind(), io::ErrorKind::ConnectionAborted);
    }

    #[test]
    fn a_server_that_hangs_up_is_no_silence() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let stream = Patient::new(DefaultStream::from_unix_stream(ours).unwrap().0, SILENCE, &Stop::default());
        drop(theirs);
        stream.poll(PollMode::Readable).unwrap();
        assert_eq!(stream.read(&mut [0], &mut Vec::new()).unwrap(), 0);
    }
}
