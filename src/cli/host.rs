//! Host mode: how it is told from a command, and the whole program as a relay, with the hub inside if need be. Browsers
//! usually start `super::relay`.

use std::{
    convert::Infallible,
    env,
    ffi::{OsStr, OsString},
    io,
    process::{self, Command, ExitCode},
    sync::{Arc, OnceLock},
    thread::{self, JoinHandle},
};

use tokio::sync::oneshot;
use tracing_subscriber::filter::LevelFilter;

use crate::{
    error::ErrorKind,
    hub::HubOptions,
    link::RelayPreamble,
    message::Failure,
    models::SharedModels,
    relay::{self, Connector, Fallback, StartEmbedded, StartedHub},
    stdio,
    telemetry::{self, Output},
};

/// How the browser called.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HostMode {
    pub(super) argv: Vec<String>,
    /// The hub is to live in this process.
    pub(super) embedded: bool,
}

/// Tells host mode from a command typed by a person.
pub(super) fn mode(argv: &[OsString], stdin_is_terminal: bool) -> Option<HostMode> {
    let (embedded, rest) = match argv.split_first() {
        Some((first, rest)) if first == "--embedded" => (true, rest),
        Some(_) | None => (false, argv),
    };
    let starts_with = |argument: &OsStr, prefix: &str| argument.to_string_lossy().starts_with(prefix);
    let is_host = match rest {
        [] => !stdin_is_terminal,
        [origin, ..] if starts_with(origin, "chrome-extension://") => true,
        [manifest, _extension_id, ..] => {
            let manifest = std::path::Path::new(manifest);
            manifest.is_absolute() && manifest.extension().is_some_and(|extension| extension == "json")
        }
        [_] => false,
    };
    let argv = rest.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    is_host.then_some(HostMode { argv, embedded })
}

pub(super) fn run(mode: HostMode) -> anyhow::Result<ExitCode> {
    // First of all: from here on nothing that is printed reaches the browser.
    let mut stdio = stdio::set_aside()?;
    telemetry::start(Output::Stderr, super::log_level().as_deref(), LevelFilter::WARN);
    let (connector, stop, hub_thread) = match prepare(mode) {
        Ok(prepared) => prepared,
        Err(error) => {
            // The client's words for it: all that a person sees otherwise is that the host has exited.
            relay::refuse(&mut stdio.output, &Failure::new(ErrorKind::FailedPrecondition, super::in_full(&error)));
            return Err(error);
        }
    };
    let code = relay::run(connector, stdio);
    // A hub in this process puts its files away; the sessions of other relays go on with another hub.
    drop(stop);
    if let Some(thread) = Arc::into_inner(hub_thread).and_then(OnceLock::into_inner)
        && thread.join().is_err()
    {
        tracing::error!("the hub in this process panicked");
    }
    Ok(code)
}

/// The thread of a hub in this process, if one was needed.
type HubThread = Arc<OnceLock<JoinHandle<()>>>;

/// Everything that may fail before there is a conversation.
fn prepare(mode: HostMode) -> anyhow::Result<(Connector, oneshot::Sender<Infallible>, HubThread)> {
    let paths = super::paths()?;
    telemetry::crash::report_panics(&paths.state_dir, "host");
    paths.prepare_runtime_dir()?;
    let hub_command = if mode.embedded {
        None
    } else {
        let mut command = Command::new(env::current_exe()?);
        command.args(["hub", "--detached"]);
        Some(command)
    };
    let embedded = HubOptions {
        runtime_dir: paths.runtime_dir.clone(),
        port: super::port()?,
        // It ends with this process.
        idle_exit: None,
        settings: super::hub::settings(&paths, true)?,
    };
    let models = super::models::shared(&paths)?;
    let (stop, stopped) = oneshot::channel();
    let hub_thread = Arc::new(OnceLock::new());
    let start_embedded = start_embedded(embedded, models, stopped, Arc::clone(&hub_thread));
    let connector = Connector {
        runtime_dir: paths.runtime_dir,
        hub_command,
        fallback: Fallback::Embedded(start_embedded),
        preamble: RelayPreamble { version: env!("CARGO_PKG_VERSION").to_owned(), argv: mode.argv, pid: process::id() },
        started: StartedHub::default(),
    };
    Ok((connector, stop, hub_thread))
}

/// Starts a hub on a thread of this process, once: if that one fails, there is no other way left.
fn start_embedded(
    options: HubOptions,
    models: SharedModels,
    stopped: oneshot::Receiver<Infallible>,
    hub_thread: HubThread,
) -> StartEmbedded {
    let mut parts = Some((options, models, stopped));
    Box::new(move |lock| {
        let Some((options, models, stopped)) = parts.take() else {
            return Err(io::Error::other("the hub in this process has ended"));
        };
        let run = move || {
            // The other end is only ever dropped.
            let stop = || async { drop(stopped.await) };
            if let Err(error) = super::hub::block_on(options, lock, models, stop) {
                tracing::error!(error = super::in_full(&error), "the hub in this process failed");
            }
        };
        let thread = thread::Builder::new().name("hub".to_owned()).spawn(run)?;
        // Set once, as this runs once.
        drop(hub_thread.set(thread));
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_and_harnesses_are_told_from_people() {
        let check = |argv: &[&str], stdin_is_terminal, expected: Option<(&[&str], bool)>| {
            let argv: Vec<_> = argv.iter().map(OsString::from).collect();
            let expected = expected.map(|(argv, embedded)| HostMode {
                argv: argv.iter().map(|argument| (*argument).to_owned()).collect(),
                embedded,
            });
            assert_eq!(mode(&argv, stdin_is_terminal), expected, "{argv:?}");
        };
        let chrome = ["chrome-extension://abcdefghijklmnopabcdefghijklmnop/", "--parent-window=0"];
        let manifest = if cfg!(windows) {
            r"C:\Users\user\AppData\Local\framehost\com.framehost.host.json"
        } else {
            "/home/user/.mozilla/native-messaging-hosts/com.framehost.host.json"
        };
        let firefox = [manifest, "addon@example"];
        check(&chrome, true, Some((&chrome, false)));
        check(&chrome[..1], false, Some((&chrome[..1], false)));
        check(&firefox, false, Some((&firefox, false)));
        check(&[], false, Some((&[], false)));
        check(&["--embedded"], false, Some((&[], true)));
        check(&["--embedded", chrome[0]], true, Some((&chrome[..1], true)));
        check(&[], true, None);
        check(&["--embedded"], true, None);
        for command in [&["status"][..], &["models", "list"], &["--help"], &["status", "--json"], &["x.json", "y"]] {
            check(command, false, None);
        }
    }
}
