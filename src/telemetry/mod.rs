//! Logs: fields, to stderr or to the hub's file; never payloads, never tokens.
//!
//! Belongs here: levels, where logs go.
//! Does not belong here: what is logged.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::Path,
    sync::Mutex,
};

use tracing_subscriber::filter::LevelFilter;

/// A log file above this is begun anew at the next start, in bytes.
const MAX_LOG_BYTES: u64 = 4 << 20;

/// Where logs go.
#[derive(Debug, Clone, Copy)]
pub enum Output<'a> {
    /// The terminal, or the browser's own stderr.
    Stderr,
    /// `hub.log` in this directory: a hub in the background has no terminal.
    File(&'a Path),
}

/// Starts logging. `level`: `error`, `warn`, `info`, `debug` or `trace`; anything else is `usual`. Where the log file
/// cannot be opened, logs go to stderr: that is no reason not to run.
pub fn start(output: Output<'_>, level: Option<&str>, usual: LevelFilter) {
    let level = level.and_then(|level| level.parse::<LevelFilter>().ok()).unwrap_or(usual);
    let builder = tracing_subscriber::fmt().with_max_level(level).with_target(false);
    let builder = builder.with_ansi(false);
    let file = match output {
        Output::Stderr => None,
        Output::File(directory) => Some(open(directory)),
    };
    // The only error is that logging has been started before, and then it goes there.
    match file {
        Some(Ok(file)) => drop(builder.with_writer(Mutex::new(file)).try_init()),
        None => drop(builder.with_writer(io::stderr).try_init()),
        Some(Err(error)) => {
            drop(builder.with_writer(io::stderr).try_init());
            tracing::warn!(%error, "no log file");
        }
    }
}

fn open(directory: &Path) -> io::Result<File> {
    fs::create_dir_all(directory)?;
    let path = directory.join("hub.log");
    let is_long = fs::metadata(&path).is_ok_and(|metadata| metadata.len() > MAX_LOG_BYTES);
    OpenOptions::new().create(true).append(!is_long).write(true).truncate(is_long).open(path)
}
