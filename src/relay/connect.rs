//! Finds the hub, or starts one: as a process of its own or, if that cannot be, inside this one, or by the program that
//! takes its place.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::process;
use crate::{
    error::ErrorKind,
    hub::lock::{self, HubLock},
    link::{self, HubPreamble, LINK_VERSION, LinkError, RelayPreamble, SOCKET_FILE},
    local::{self, Stream},
};

/// First pause between two looks for the socket; it doubles up to [`MAX_PAUSE`].
const MIN_PAUSE: Duration = Duration::from_millis(1);

/// Longest pause between two looks for the socket.
const MAX_PAUSE: Duration = Duration::from_millis(20);

/// How long a hub that took the connection may take to say who it is.
const PREAMBLE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long after starting a hub another one is started, if that one has ended: it may have lost the lock to a hub that is
/// leaving.
const RESPAWN_AFTER: Duration = Duration::from_millis(200);

/// Starts a hub inside this process, which then holds the lock.
pub type StartEmbedded = Box<dyn FnMut(HubLock) -> io::Result<()> + Send>;

/// What is left if no process can be started.
pub enum Fallback {
    /// A hub inside this process.
    Embedded(StartEmbedded),
    /// This program takes this process's place. Only until the first hub has answered: it knows nothing of a session.
    Replace(Command),
    /// No other way.
    Nothing,
}

/// What it takes to get a hub.
pub struct Connector {
    /// Where `hub.sock` and `hub.lock` are.
    pub runtime_dir: PathBuf,
    /// The command that runs a hub as a process of its own; `None` always falls back.
    pub hub_command: Option<Command>,
    /// What is left if no process can be started.
    pub fallback: Fallback,
    /// What the hub is told of this relay.
    pub preamble: RelayPreamble,
    /// The hub that was started; at first none was.
    pub started: StartedHub,
}

/// What becomes of the hub that a relay has started.
#[derive(Debug, Clone, Default)]
pub struct StartedHub {
    is_alive: Arc<AtomicBool>,
    has_failed: Arc<AtomicBool>,
}

/// Why there is no hub.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each field is named in its variant's message")]
pub enum ConnectError {
    /// Nobody answered in time.
    #[error("no hub answered within {} ms: {last}", waited.as_millis())]
    Timeout { waited: Duration, last: String },

    /// A hub was started, and could not run.
    #[error("the hub could not start: framehost logs says why, and framehost doctor what to do")]
    HubFailed,

    /// The hub is another framehost.
    #[error("the running hub cannot be used: {0}")]
    Link(#[from] LinkError),

    /// This process's own resources.
    #[error("cannot connect to a hub: {0}")]
    Io(#[from] io::Error),
}

impl ConnectError {
    /// Class reported to peers.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Timeout { .. } | Self::HubFailed | Self::Io(_) => ErrorKind::Unavailable,
            Self::Link(error) => error.kind(),
        }
    }
}

impl Connector {
    /// A connection to a hub that has accepted it.
    ///
    /// # Errors
    ///
    /// [`ConnectError`], after `patience` at most where a hub might still come.
    pub fn connect(&mut self, patience: Duration) -> Result<Stream, ConnectError> {
        let began = Instant::now();
        let mut pause = MIN_PAUSE;
        let mut last_start: Option<Instant> = None;
        loop {
            let problem = match dial(&self.runtime_dir, &self.preamble) {
                Ok((hub, _)) => {
                    if matches!(self.fallback, Fallback::Replace(_)) {
                        self.fallback = Fallback::Nothing;
                    }
                    return Ok(hub);
                }
                // It died or left between our connecting and its preamble: look again.
                Err(error @ (LinkError::Io(_) | LinkError::Silent)) => error.to_string(),
                // It has read of us, and leaves as soon as nobody needs it: look again.
                Err(LinkError::Version { theirs }) if theirs < LINK_VERSION => format!(
                    "the hub of an older framehost (link version {theirs}) still serves others: close its extensions, \
                     or stop it"
                ),
                Err(error) => return Err(error.into()),
            };
            // One that is slow, or waits for something, is not helped by another.
            let is_due = last_start.is_none_or(|start| start.elapsed() > RESPAWN_AFTER);
            if is_due && !self.started.is_alive.load(Ordering::Acquire) {
                self.start()?;
                last_start = Some(Instant::now());
            }
            if began.elapsed() > patience {
                if self.started.has_failed.swap(false, Ordering::AcqRel) {
                    return Err(ConnectError::HubFailed);
                }
                return Err(ConnectError::Timeout { waited: patience, last: problem });
            }
            thread::sleep(pause);
            pause = (pause * 2).min(MAX_PAUSE);
        }
    }

    /// Starts a hub. That it loses the race for the lock is no error: the winner is a hub, too.
    fn start(&mut self) -> io::Result<()> {
        if let Some(command) = &mut self.hub_command {
            match process::start_detached(command) {
                Ok(mut child) => {
                    // Collects the child if it ends before us. Without this thread it would be a zombie until then.
                    let started = self.started.clone();
                    self.started.is_alive.store(true, Ordering::Release);
                    let wait = move || {
                        // One that has lost the race for the lock ends well.
                        if child.wait().is_ok_and(|status| !status.success()) {
                            started.has_failed.store(true, Ordering::Release);
                        }
                        started.is_alive.store(false, Ordering::Release);
                    };
                    let thread = thread::Builder::new().name("hub-child".to_owned()).stack_size(64 << 10);
                    // Nobody would say when it ends.
                    thread.spawn(wait).inspect_err(|_| self.started.is_alive.store(false, Ordering::Release))?;
                    return Ok(());
                }
                Err(error) => tracing::warn!(%error, "cannot start a hub process"),
            }
        }
        match &mut self.fallback {
            Fallback::Embedded(start) => match lock::try_lock(&self.runtime_dir)? {
                Some(lock) => start(lock),
                None => Ok(()),
            },
            // Returns only if it fails.
            Fallback::Replace(program) => Err(process::replace(program)),
            Fallback::Nothing => Err(io::Error::other("no process can be started for one")),
        }
    }
}

/// Connects to the hub that runs, waits until it has accepted, and gives what it says of itself, too.
///
/// # Errors
///
/// [`LinkError::Io`] if none runs or it leaves, [`LinkError::Silent`] if it does not answer, and what its preamble says.
pub fn dial(runtime_dir: &Path, preamble: &RelayPreamble) -> Result<(Stream, HubPreamble), LinkError> {
    let mut hub = local::connect(&runtime_dir.join(SOCKET_FILE))?;
    // What it says counts, also if it closes without having read of us: a hub of another version may.
    let sent = hub.write_all(&link::encode_preamble(preamble)?);
    hub.set_read_timeout(Some(PREAMBLE_TIMEOUT))?;
    let accepted: HubPreamble = link::read_preamble(&mut hub)?;
    sent?;
    tracing::debug!(version = accepted.version, pid = accepted.pid, "found a hub");
    hub.set_read_timeout(None)?;
    Ok((hub, accepted))
}
