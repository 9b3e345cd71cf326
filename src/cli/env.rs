//! `framehost env`.

use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde_json::json;

use super::{
    arguments::{EnvArguments, Shell},
    say, status,
};
use crate::{config::Paths, doctor::quoted, hub::RuntimeFile, proxy, relay, telemetry::log_file};

/// How long a hub that this command has started stays without anything to do (1 hour): whoever set the variables will
/// use them.
const IDLE_EXIT_S: u32 = 3600;

/// How long a hub may take to be there.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How long after a hub was started another one is, if that has lost the lock to one that was leaving.
const RESPAWN_AFTER: Duration = Duration::from_secs(1);

/// How often it is looked for.
const START_INTERVAL: Duration = Duration::from_millis(20);

pub(super) fn run(arguments: &EnvArguments) -> anyhow::Result<ExitCode> {
    let paths = super::paths()?;
    let running = match status::running(&paths)? {
        Some(running) => running,
        None => start(&paths)?,
    };
    let endpoint = format!("http://{}", running.grpc);
    let mut variables = vec![("HF_ENDPOINT", endpoint)];
    variables.extend(proxy::no_proxy(super::variable));
    match arguments.shell {
        Shell::Sh => variables
            .iter()
            .try_for_each(|(name, value)| say(format_args!("export {name}={}", quoted(Path::new(value)))))?,
        Shell::Powershell => variables
            .iter()
            .try_for_each(|(name, value)| say(format_args!("$env:{name} = '{}'", value.replace('\'', "''"))))?,
        Shell::Json => say(json!(variables.into_iter().collect::<BTreeMap<_, _>>()))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn start(paths: &Paths) -> anyhow::Result<RuntimeFile> {
    paths.prepare_runtime_dir()?;
    let program = std::env::current_exe().context("cannot find this program")?;
    let idle_exit = IDLE_EXIT_S.to_string();
    let mut command = Command::new(program);
    command.args(["hub", "--detached", "--idle-exit", &idle_exit]);
    let mut hub = relay::start_detached(&mut command).context("cannot start the hub")?;
    let mut started = Instant::now();
    let began = started;
    while began.elapsed() < START_TIMEOUT {
        if let Some(running) = status::running(paths)? {
            return Ok(running);
        }
        match hub.try_wait()? {
            Some(status) if !status.success() => {
                let log = log_file::newest(&paths.state_dir);
                bail!("the hub could not start: framehost logs says why ({})", log.display());
            }
            // It has lost the race for the lock to another, which is about to be there, or is leaving.
            Some(_) if started.elapsed() > RESPAWN_AFTER => {
                hub = relay::start_detached(&mut command).context("cannot start the hub")?;
                started = Instant::now();
            }
            _ => thread::sleep(START_INTERVAL),
        }
    }
    bail!("the hub did not start within {} s: framehost doctor may say why", START_TIMEOUT.as_secs());
}
