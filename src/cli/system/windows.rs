//! What a console and Windows tell a program.

use std::{
    io,
    path::{Path, PathBuf},
};

use tokio::signal::windows::{
    CtrlBreak, CtrlC, CtrlClose, CtrlLogoff, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close, ctrl_logoff, ctrl_shutdown,
};

/// How a command is run for the whole machine.
pub(super) const AS_ADMINISTRATOR: &str = "run it as administrator";

/// An administrator is a user like others here.
pub(super) const fn is_root() -> bool {
    false
}

/// Whoever starts a hub in the background starts it without a console.
pub(super) const fn leave_session() -> io::Result<()> {
    Ok(())
}

/// Away from the directory that this process was started in, which could not be removed until it ends. The one with the
/// lock cannot be removed anyway.
pub(super) fn leave_directory(runtime_dir: &Path) -> io::Result<()> {
    std::env::set_current_dir(runtime_dir)
}

/// There is none.
pub(super) const fn raise_descriptor_limit() {}

/// Ends as soon as the user or the system wants this process to end, from this call on.
pub(super) fn told_to_stop() -> io::Result<impl Future<Output = ()>> {
    let mut interruptions = Interruptions::new()?;
    Ok(async move { interruptions.next().await })
}

/// The user's, and the system's.
pub(super) struct Interruptions {
    interrupt: CtrlC,
    interrupt_group: CtrlBreak,
    close: CtrlClose,
    log_off: CtrlLogoff,
    shut_down: CtrlShutdown,
}

impl Interruptions {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: ctrl_c()?,
            interrupt_group: ctrl_break()?,
            close: ctrl_close()?,
            log_off: ctrl_logoff()?,
            shut_down: ctrl_shutdown()?,
        })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.interrupt_group.recv() => {}
            _ = self.close.recv() => {}
            _ = self.log_off.recv() => {}
            _ = self.shut_down.recv() => {}
        }
    }
}

/// Where a user's programs keep data.
pub(super) fn data_home(home: &Path) -> PathBuf {
    directories::BaseDirs::new().map_or_else(|| home.join(r"AppData\Local"), |dirs| dirs.data_local_dir().to_owned())
}

/// Where the machine's programs keep data, where manifests are to lie there.
pub(super) fn machine_data() -> PathBuf {
    let named = super::variable("ProgramData").map(PathBuf::from).filter(|path| path.is_absolute());
    named.unwrap_or_else(|| r"C:\ProgramData".into())
}
