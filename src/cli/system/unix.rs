//! Signals, sessions and limits of Unix.

use std::{
    fs, io,
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

/// The user's, the system's, and the terminal's when it is closed.
pub(super) struct Interruptions {
    interrupt: Signal,
    terminate: Signal,
    /// Not with `nohup`.
    hang_up: Option<Signal>,
}

impl Interruptions {
    pub(super) fn new() -> io::Result<Self> {
        let hang_up = (!outlives_terminal()).then(|| signal(SignalKind::hangup())).transpose()?;
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())?, hang_up })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            // A terminal that is closed is told by the kernel and by its shell: the second is no impatience.
            Some(()) = async { self.hang_up.as_mut()?.recv().await } => self.hang_up = None,
        }
    }
}

/// Was it said to go on when its terminal is closed, as `nohup` does? Where the system does not tell, it is left as it was.
///
/// Source: `proc_pid_status(5)`, `SigIgn`; SIGHUP is the first signal.
fn outlives_terminal() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_none_or(|mask| mask & 1 != 0)
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
