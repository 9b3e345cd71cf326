//! The connection to the compositor: finding it, what it offers, and waits that end.
//!
//! Invariants:
//! - Nothing here waits for longer than it was told to: the socket never blocks, and is polled.
//! - A compositor that stops answering is noticed within [`ANSWER_LIMIT`], whatever else is waited for.

use std::{
    env,
    ffi::OsStr,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use wayland_client::{
    Connection, Dispatch, EventQueue, QueueHandle,
    backend::WaylandError,
    protocol::{
        wl_callback::{self, WlCallback},
        wl_registry::{self, WlRegistry},
        wl_shm::WlShm,
    },
};
use wayland_protocols::xdg::xdg_output::zv1::client::zxdg_output_manager_v1::ZxdgOutputManagerV1;
use wayland_protocols_wlr::screencopy::v1::client::zwlr_screencopy_manager_v1::ZwlrScreencopyManagerV1;

use super::{copy::FrameEvents, outputs::Output};
use crate::source::{
    SourceError, Stop, TICK,
    screen::{socket::connect_to, way::Compositor},
};

/// Longest time that a compositor may take to answer.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// How often it is asked for a sign of life.
const LOOK: Duration = Duration::from_secs(1);

/// Outputs that are looked at.
const MAX_OUTPUTS: usize = 64;

/// What the compositor has said.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) outputs: Vec<Output>,
    pub(super) screencopy: Option<ZwlrScreencopyManagerV1>,
    pub(super) shm: Option<WlShm>,
    pub(super) frame: FrameEvents,
    xdg_outputs: Option<ZxdgOutputManagerV1>,
    /// The last question that was answered.
    answered: u32,
}

/// A connection. Dropping it frees everything that the compositor holds for us.
#[derive(Debug)]
pub(in crate::source::screen) struct Link {
    queue: EventQueue<State>,
    conn: Connection,
    pub(super) state: State,
    /// Questions so far.
    asked: u32,
    /// When the open question was asked.
    asked_at: Option<Instant>,
    next_question: Instant,
}

/// The compositor is gone, or broke off, or said what nobody understands.
pub(super) fn lost(problem: impl std::fmt::Display) -> SourceError {
    SourceError::DeviceLost { device: "the Wayland compositor".to_owned(), problem: problem.to_string() }
}

/// The compositor's socket, as libwayland finds it: an absolute path, or a name in the session's runtime directory. An
/// empty variable is none.
///
/// A descriptor in `WAYLAND_SOCKET` is meant for one program alone, at its start, and is left to others.
fn socket_path(display: Option<&OsStr>, runtime_dir: Option<&OsStr>) -> Result<PathBuf, Compositor> {
    let set = |value: Option<&OsStr>| value.filter(|value| !value.is_empty()).map(Path::new).map(Path::to_owned);
    let Some(display) = set(display) else {
        return Err(Compositor::Absent("WAYLAND_DISPLAY is not set".to_owned()));
    };
    if display.is_absolute() {
        return Ok(display);
    }
    match set(runtime_dir).filter(|folder| folder.is_absolute()) {
        Some(folder) => Ok(folder.join(display)),
        None => {
            let display = display.display();
            let problem = format!("WAYLAND_DISPLAY is {display}, but XDG_RUNTIME_DIR is not set to an absolute path");
            Err(Compositor::Unreachable(problem))
        }
    }
}

impl Link {
    /// Connects to the session's compositor and learns what it offers.
    ///
    /// # Errors
    ///
    /// Why there is none to talk to.
    pub(super) fn to_session(stop: &Stop) -> Result<Self, Compositor> {
        let path = socket_path(env::var_os("WAYLAND_DISPLAY").as_deref(), env::var_os("XDG_RUNTIME_DIR").as_deref())?;
        let stream = connect_to(&path).map_err(|errno| {
            let problem = format!("the Wayland socket cannot be used: {errno}: {}", path.display());
            match errno {
                Errno::NOENT | Errno::NOTDIR | Errno::CONNREFUSED => Compositor::Absent(problem),
                _ => Compositor::Unreachable(problem),
            }
        })?;
        Self::over(stream, stop).map_err(|error| Compositor::Unreachable(format!("{error}: {}", path.display())))
    }

    fn over(stream: UnixStream, stop: &Stop) -> Result<Self, SourceError> {
        let conn = Connection::from_socket(stream).map_err(lost)?;
        let queue = conn.new_event_queue();
        conn.display().get_registry(&queue.handle(), ());
        let next_question = Instant::now();
        let mut link = Self { queue, conn, state: State::default(), asked: 0, asked_at: None, next_question };
        // What there is; then what it is like.
        link.round(stop)?;
        link.round(stop)?;
        Ok(link)
    }

    /// What can be seen of the session.
    pub(in crate::source::screen) const fn compositor(&self) -> Compositor {
        if self.state.screencopy.is_some() && self.state.shm.is_some() {
            Compositor::WithScreencopy
        } else {
            Compositor::WithoutScreencopy
        }
    }

    pub(super) fn handle(&self) -> QueueHandle<State> {
        self.queue.handle()
    }

    /// Waits until the compositor has done everything that it was asked for.
    fn round(&mut self, stop: &Stop) -> Result<(), SourceError> {
        self.ask();
        while self.asked_at.is_some() {
            if stop.is_set() {
                return Err(lost("it was given up"));
            }
            self.pump(Instant::now() + TICK)?;
            self.check_alive()?;
        }
        Ok(())
    }

    fn ask(&mut self) {
        self.asked += 1;
        self.conn.display().sync(&self.queue.handle(), self.asked);
        self.asked_at = Some(Instant::now());
    }

    /// To be called often, after [`Self::pump`]: asks for a sign of life now and then.
    pub(super) fn check_alive(&mut self) -> Result<(), SourceError> {
        let now = Instant::now();
        match self.asked_at {
            Some(_) if self.state.answered == self.asked => {
                self.asked_at = None;
                self.next_question = now + LOOK;
            }
            Some(at) if now.saturating_duration_since(at) > ANSWER_LIMIT => {
                return Err(lost(format_args!("it has not answered for {} s", ANSWER_LIMIT.as_secs())));
            }
            None if now >= self.next_question => self.ask(),
            Some(_) | None => {}
        }
        Ok(())
    }

    /// Sends what is to be sent, and takes in what has come; waits until `due` for something to come.
    pub(super) fn pump(&mut self, due: Instant) -> Result<(), SourceError> {
        loop {
            if self.queue.dispatch_pending(&mut self.state).map_err(lost)? > 0 {
                return Ok(());
            }
            let is_sent = match self.queue.flush() {
                Ok(()) => true,
                Err(WaylandError::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => false,
                Err(error) => return Err(lost(error)),
            };
            let Some(guard) = self.queue.prepare_read() else {
                continue;
            };
            let left = due.saturating_duration_since(Instant::now());
            if !is_ready(guard.connection_fd(), is_sent, left)? {
                return Ok(());
            }
            match guard.read() {
                Ok(_) => {}
                Err(WaylandError::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(lost(error)),
            }
        }
    }
}

/// Waits until there is something to read, or room to write where that is needed; `false` if not in time.
fn is_ready(socket: BorrowedFd<'_>, is_sent: bool, time: Duration) -> Result<bool, SourceError> {
    let wanted = if is_sent { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
    let mut sockets = [PollFd::from_borrowed_fd(socket.as_fd(), wanted)];
    let time = Timespec { tv_sec: time.as_secs().try_into().unwrap_or(i64::MAX), tv_nsec: time.subsec_nanos().into() };
    match poll(&mut sockets, Some(&time)) {
        Ok(count) => Ok(count > 0),
        Err(Errno::INTR) => Ok(false),
        Err(errno) => Err(lost(errno)),
    }
}

impl Dispatch<WlRegistry, ()> for State {
    fn event(
        state: &mut Self,
        registry: &WlRegistry,
        event: wl_registry::Event,
        (): &(),
        _: &Connection,
        handle: &QueueHandle<Self>,
    ) {
        match event {
            wl_registry::Event::Global { name, interface, version } => match interface.as_str() {
                "wl_output" if state.outputs.len() < MAX_OUTPUTS => {
                    state.outputs.push(Output::new(name, registry.bind(name, version.min(4), handle, name)));
                }
                "wl_shm" => state.shm = Some(registry.bind(name, 1, handle, ())),
                "zxdg_output_manager_v1" => {
                    state.xdg_outputs = Some(registry.bind(name, version.min(3), handle, ()));
                }
                "zwlr_screencopy_manager_v1" => {
                    state.screencopy = Some(registry.bind(name, version.min(3), handle, ()));
                }
                _ => return,
            },
            wl_registry::Event::GlobalRemove { name } => {
                state.outputs.extract_if(.., |output| output.global == name).for_each(|output| output.release());
            }
            _ => {}
        }
        if let Some(manager) = &state.xdg_outputs {
            state.outputs.iter_mut().for_each(|output| output.ask_more(manager, handle));
        }
    }
}

impl Dispatch<WlCallback, u32> for State {
    fn event(
        state: &mut Self,
        _: &WlCallback,
        event: wl_callback::Event,
        number: &u32,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        if let wl_callback::Event::Done { .. } = event {
            state.answered = *number;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_where_libwayland_looks_for_it() {
        let path = |display: &str, folder: &str| {
            socket_path(Some(display.as_ref()), Some(folder.as_ref())).map(|path| path.display().to_string())
        };
        assert_eq!(path("wayland-1", "/run/user/7").unwrap(), "/run/user/7/wayland-1");
        assert_eq!(path("/tmp/way", "/run/user/7").unwrap(), "/tmp/way");
        assert_eq!(path("/tmp/way", "").unwrap(), "/tmp/way");
        assert!(matches!(path("", "/run/user/7"), Err(Compositor::Absent(_))));
        assert!(matches!(path("wayland-1", ""), Err(Compositor::Unreachable(_))));
        assert!(matches!(path("wayland-1", "here"), Err(Compositor::Unreachable(_))));
        assert!(matches!(socket_path(None, Some("/run".as_ref())), Err(Compositor::Absent(_))));
        assert!(matches!(socket_path(Some("wayland-1".as_ref()), None), Err(Compositor::Unreachable(_))));
    }

    #[test]
    fn a_compositor_that_says_nothing_or_hangs_up_is_not_waited_for() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let stop = Stop::default();
        stop.set();
        let before = Instant::now();
        assert!(Link::over(ours, &stop).is_err());
        assert!(before.elapsed() < ANSWER_LIMIT, "told to stop");
        drop(theirs);
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert!(Link::over(ours, &Stop::default()).unwrap_err().is_lost());
        assert!(before.elapsed() < ANSWER_LIMIT, "hung up");
    }

    #[test]
    fn an_answer_that_does_not_come_is_a_loss() {
        let (ours, _theirs) = UnixStream::pair().unwrap();
        let conn = Connection::from_socket(ours).unwrap();
        let queue = conn.new_event_queue();
        let now = Instant::now();
        let mut link = Link { queue, conn, state: State::default(), asked: 0, asked_at: None, next_question: now };
        link.check_alive().unwrap();
        assert!(link.asked_at.is_some(), "the question is due");
        link.check_alive().unwrap();
        link.asked_at = now.checked_sub(ANSWER_LIMIT + Duration::from_millis(1));
        assert!(link.check_alive().unwrap_err().is_lost());
        link.state.answered = link.asked;
        link.check_alive().unwrap();
        assert!(link.asked_at.is_none());
    }
}
