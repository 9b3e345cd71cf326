//! Logs and crash reports: fields, to stderr or to the hub's files; never payloads, never tokens.
//!
//! ```text
//! <state>/hub.log, hub.log.1, hub.log.2     the newest lines, and those before them
//! <state>/crashes/<time>-<pid>.txt          what a panic has left to be told
//! ```
//!
//! Belongs here: levels, where logs go, what a crash leaves.
//! Does not belong here: what is logged.

pub mod crash;
pub mod log_file;

use std::{io, path::Path, sync::Mutex};

use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use self::log_file::LogFile;

/// Where logs go.
#[derive(Debug, Clone, Copy)]
pub enum Output<'a> {
    /// The terminal, or the browser's own stderr.
    Stderr,
    /// `hub.log` in this directory: a hub in the background has no terminal.
    File(&'a Path),
}

/// The levels that there are, for people.
pub const LEVELS: &str = "error, warn, info, debug, trace, off";

/// Is it one of [`LEVELS`]?
pub fn is_level(text: &str) -> bool {
    text.parse::<LevelFilter>().is_ok()
}

/// Starts logging. `level`: one of [`LEVELS`]; anything else is `usual`. Where the log file
/// cannot be opened, logs go to stderr: that is no reason not to run.
pub fn start(output: Output<'_>, level: Option<&str>, usual: LevelFilter) {
    let level = level.and_then(|level| level.parse::<LevelFilter>().ok()).unwrap_or(usual);
    // What strangers do wrong it says as warnings, one for each connection: they could fill the log with them.
    let of_http2 = if level >= LevelFilter::DEBUG { level } else { level.min(LevelFilter::ERROR) };
    let targets = Targets::new().with_default(level).with_target("h2", of_http2);
    let builder = tracing_subscriber::fmt().with_max_level(level).with_target(false);
    let builder = builder.with_ansi(false);
    let file = match output {
        Output::Stderr => None,
        Output::File(directory) => Some(LogFile::open(directory)),
    };
    // The only error is that logging has been started before, and then it goes there.
    match file {
        Some(Ok(file)) => drop(builder.with_writer(Mutex::new(file)).finish().with(targets).try_init()),
        None => drop(builder.with_writer(io::stderr).finish().with(targets).try_init()),
        Some(Err(error)) => {
            drop(builder.with_writer(io::stderr).finish().with(targets).try_init());
            tracing::warn!(%error, "no log file");
        }
    }
}
