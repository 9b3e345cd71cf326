//! Signals, sessions and limits of Unix.

use std::{
    io,
    path::{Path, PathBuf},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How a command is run for the whole machine.
pub(super) const AS_ADMINISTRATOR: &str = "run it with sudo";

/// Is this the administrator, and nobody's own account?
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Away from the browser's process group and terminal.
pub(super) fn leave_session() -> io::Result<()> {
    rustix::process::setsid()?;
    Ok(())
}

/// Away from the directory that this process was started in.
pub(super) fn leave_directory(_runtime_dir: &Path) -> io::Result<()> {
    Ok(rustix::process::chdir("/")?)
}

/// Takes as many descriptors as the system lets us have: sessions may hold thousands of model files open, and the usual
/// soft limit of 1024 is there for programs that use `select`.
pub(super) fn raise_descriptor_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "few files can be open at once");
    }
}

/// Ends as soon as the user or the system wants this process to end, from this call on.
pub(super) fn told_to_stop() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// The user's, and the system's.
pub(super) struct Interruptions {
    interrupt: Signal,
    terminate: Signal,
}

impl Interruptions {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Where a user's programs keep data.
pub(super) fn data_home(home: &Path) -> PathBuf {
    // The specification has relative ones ignored. Source: XDG Base Directory Specification.
    let named = super::variable("XDG_DATA_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    named.unwrap_or_else(|| home.join(".local/share"))
}

/// Where the machine's programs keep data, where manifests are to lie there.
pub(super) fn machine_data() -> PathBuf {
    PathBuf::new()
}
