//! `framehost env`.

use std::{
    process::{Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::json;

use super::{
    arguments::{EnvArguments, Shell},
    say, status,
};
use crate::{config::Paths, hub::RuntimeFile};

/// How long a hub that this command has started stays without anything to do (1 hour): whoever set the variables will
/// use them.
const IDLE_EXIT_S: u32 = 3600;

/// How long a hub may take to be there.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How often it is looked for.
const START_INTERVAL: Duration = Duration::from_millis(20);

pub(super) fn run(arguments: &EnvArguments) -> anyhow::Result<ExitCode> {
    let paths = super::paths()?;
    let running = match status::running(&paths)? {
        Some(running) => running,
        None => start(&paths)?,
    };
    let endpoint = format!("http://{}", running.grpc);
    match arguments.shell {
        Shell::Sh => say(format_args!("export HF_ENDPOINT={endpoint}"))?,
        Shell::Powershell => say(format_args!("$env:HF_ENDPOINT = \"{endpoint}\""))?,
        Shell::Json => say(json!({"HF_ENDPOINT": endpoint}))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn start(paths: &Paths) -> anyhow::Result<RuntimeFile> {
    paths.prepare_runtime_dir()?;
    let program = std::env::current_exe().context("cannot find this program")?;
    let idle_exit = IDLE_EXIT_S.to_string();
    let mut command = Command::new(program);
    command.args(["hub", "--detached", "--idle-exit", &idle_exit]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut hub = command.spawn().context("cannot start the hub")?;
    let began = Instant::now();
    while began.elapsed() < START_TIMEOUT {
        if let Some(running) = status::running(paths)? {
            return Ok(running);
        }
        // One that has lost the race for the lock ends well, and the other is about to be there.
        if hub.try_wait()?.is_some_and(|status| !status.success()) {
            bail!("the hub could not start: framehost logs says why");
        }
        thread::sleep(START_INTERVAL);
    }
    bail!("the hub did not start within {} s", START_TIMEOUT.as_secs());
}
