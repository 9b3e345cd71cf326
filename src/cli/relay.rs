//! `framehost-relay`: host mode alone, as a program of its own. It holds nothing of the hub, of devices or of codecs, so
//! that what a browser starts for each port is small and there at once.
//!
//! The hub is `framehost` beside it. Where no process can be started, `framehost` takes this one's place, with the hub
//! inside; so it does for everything that is no host mode.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{self, IsTerminal},
    path::PathBuf,
    process::{self, Command, ExitCode},
};

use anyhow::bail;
use tracing_subscriber::filter::LevelFilter;

use super::host::{self, HostMode};
use crate::{
    config::Config,
    error::ErrorKind,
    link::RelayPreamble,
    message::Failure,
    relay::{self, Connector, Fallback, StartedHub},
    stdio::{self, SetAside},
    telemetry::{self, Output},
};

/// Runs what the arguments ask for.
pub fn run_relay() -> ExitCode {
    let argv: Vec<OsString> = env::args_os().skip(1).collect();
    let result = match host::mode(&argv, io::stdin().is_terminal()) {
        Some(mode) if !mode.embedded => relay(mode),
        Some(_) | None => program().and_then(|program| {
            // Returns only if it fails.
            let error = relay::replace(Command::new(&program).args(&argv));
            Err(anyhow::Error::new(error).context(format!("cannot start {}", program.display())))
        }),
    };
    result.unwrap_or_else(super::failed)
}

/// The whole program.
fn program() -> anyhow::Result<PathBuf> {
    let own = env::current_exe()?;
    let program = own.with_file_name(format!("framehost{}", env::consts::EXE_SUFFIX));
    // It would start itself for ever.
    if fs::canonicalize(&program).is_ok_and(|program| fs::canonicalize(&own).is_ok_and(|own| own == program)) {
        bail!("{} is framehost-relay, and has to be framehost: install both programs once more", program.display());
    }
    Ok(program)
}

fn relay(mode: HostMode) -> anyhow::Result<ExitCode> {
    // First of all: from here on nothing that is printed reaches the browser.
    let mut stdio = stdio::set_aside()?;
    telemetry::start(Output::Stderr, super::log_level().as_deref(), LevelFilter::WARN);
    match connector(mode, &stdio) {
        Ok(connector) => Ok(relay::run(connector, stdio)),
        Err(error) => {
            relay::refuse(&mut stdio.output, &Failure::new(ErrorKind::FailedPrecondition, super::in_full(&error)));
            Err(error)
        }
    }
}

fn connector(mode: HostMode, stdio: &SetAside) -> anyhow::Result<Connector> {
    let paths = super::paths()?;
    paths.prepare_runtime_dir()?;
    // What would keep a hub from starting is said here, where there is somebody to hear it.
    Config::read(&paths)?;
    super::port()?;
    super::idle_exit()?;
    let program = program()?;
    let mut hub_command = Command::new(&program);
    hub_command.args(["hub", "--detached"]);
    let mut whole = Command::new(&program);
    let (input, output) = stdio.duplicate()?;
    whole.arg("--embedded").args(&mode.argv).stdin(input).stdout(output);
    Ok(Connector {
        runtime_dir: paths.runtime_dir,
        hub_command: Some(hub_command),
        fallback: Fallback::Replace(whole),
        preamble: RelayPreamble { version: env!("CARGO_PKG_VERSION").to_owned(), argv: mode.argv, pid: process::id() },
        started: StartedHub::default(),
    })
}
