//! The command line, and the two ways in which browsers call framehost-relay, or framehost.
//!
//! Belongs here: arguments, environment variables, what is printed, exit codes.
//! Does not belong here: what the commands do.
//!
//! Host mode is found before anything is parsed: an extension origin as first argument (Chrome), a manifest path and
//! an extension id (Firefox), or no argument and a standard input that is no terminal (a test harness).

mod allow;
mod arguments;
mod capture;
mod care;
mod describe;
mod doctor;
mod env;
mod host;
mod hub;
mod install;
mod logs;
mod models;
mod pull;
mod record;
mod relay;
mod show;
mod status;
mod stdout_thread;
#[cfg_attr(unix, path = "system/unix.rs")]
#[cfg_attr(windows, path = "system/windows.rs")]
mod system;

use std::{
    ffi::OsString,
    io::{self, IsTerminal, Write},
    process::ExitCode,
    time::Duration,
};

use clap::Parser;
use serde_json::{Value, json};

use self::arguments::{Arguments, Command};
pub use self::relay::run_relay;
use crate::{
    config::{ConfigError, DEFAULT_PORT, Paths},
    error::ErrorKind,
    grpc::client::ClientError,
    record::RecordError,
    stream_handler::HandlerError,
};

/// How long a hub that a relay started stays without anything to do.
const DEFAULT_IDLE_EXIT: Duration = Duration::from_secs(30);

/// Runs what the arguments ask for.
pub fn run() -> ExitCode {
    let argv: Vec<OsString> = std::env::args_os().skip(1).collect();
    let result = match host::mode(&argv, io::stdin().is_terminal()) {
        Some(mode) => host::run(mode),
        None => match Arguments::parse().command {
            Command::Hub(arguments) => hub::run(&arguments),
            Command::Status(arguments) => status::run(&arguments),
            Command::Models(command) => models::run(command),
            Command::Env(arguments) => env::run(&arguments),
            Command::Devices(arguments) => capture::devices(&arguments),
            Command::Capture(arguments) => capture::run(&arguments),
            Command::Record(arguments) => record::run(&arguments),
            Command::Install(arguments) => install::install(&arguments),
            Command::Uninstall(arguments) => install::uninstall(&arguments),
            Command::Allow(arguments) => allow::allow(&arguments),
            Command::Revoke(arguments) => allow::revoke(&arguments),
            Command::Logs(arguments) => logs::run(&arguments),
            Command::Completions { shell } => describe::completions(shell),
            Command::Manual { directory } => describe::manual(&directory),
            Command::Doctor(arguments) => doctor::run(&arguments),
        },
    };
    result.unwrap_or_else(failed)
}

fn failed(error: anyhow::Error) -> ExitCode {
    let is_broken_pipe = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    // Whoever read what we print may have seen enough; without a standard error there is nobody to tell.
    if !error.downcast_ref().is_some_and(is_broken_pipe) {
        let _ = writeln!(io::stderr(), "framehost: {}", in_full(&error));
    }
    ExitCode::FAILURE
}

/// The error and its causes. Many of our errors say their cause, for those who print them alone: it is said once.
fn in_full(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let words = cause.to_string();
        if text.is_empty() {
            text = words;
        } else if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
    }
    text
}

/// What failed, for programs.
fn described(error: &anyhow::Error) -> Value {
    let (kind, reason) = if let Some(error) = error.downcast_ref::<RecordError>() {
        (error.kind(), error.reason())
    } else if let Some(error) = error.downcast_ref::<ClientError>() {
        (error.kind(), error.reason())
    } else if let Some(error) = error.downcast_ref::<HandlerError>() {
        (error.kind(), error.reason())
    } else {
        (ErrorKind::Internal, "internal")
    };
    json!({"code": kind.as_str(), "reason": reason, "message": in_full(error)})
}

/// One line for the user.
fn say(line: impl std::fmt::Display) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

/// One line for the user that is no part of the answer. Without a standard error there is nobody to tell.
fn warn(line: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "framehost: {line}");
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

fn paths() -> Result<Paths, ConfigError> {
    Paths::find(variable)
}

/// `FRAMEHOST_PORT`, or the usual port.
fn port() -> Result<u16, ConfigError> {
    number("FRAMEHOST_PORT", "a port from 0 to 65535").map(|port| port.unwrap_or(DEFAULT_PORT))
}

/// `FRAMEHOST_IDLE_EXIT` in seconds, or the usual time.
fn idle_exit() -> Result<Duration, ConfigError> {
    let seconds = number::<u32>("FRAMEHOST_IDLE_EXIT", "whole seconds")?;
    Ok(seconds.map_or(DEFAULT_IDLE_EXIT, |seconds| Duration::from_secs(seconds.into())))
}

fn number<T: std::str::FromStr>(name: &'static str, problem: &'static str) -> Result<Option<T>, ConfigError> {
    let Some(value) = variable(name).filter(|value| !value.is_empty()) else {
        return Ok(None);
    };
    let text = value.to_string_lossy().into_owned();
    text.parse().map(Some).map_err(|_| ConfigError::Variable { name, value: text, problem })
}

fn log_level() -> Option<String> {
    variable("FRAMEHOST_LOG").and_then(|level| level.into_string().ok())
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn an_error_names_each_cause_once() {
        let cause = || io::Error::from(io::ErrorKind::PermissionDenied);
        let error = ConfigError::Directory { source: cause(), path: "/x".into() };
        let text = format!("cannot use the directory /x: {}", cause());
        assert_eq!(in_full(&error.into()), text);
        let error = Err::<(), _>(cause()).context("first").context("second").unwrap_err();
        assert_eq!(in_full(&error), format!("second: first: {}", cause()));
    }
}
