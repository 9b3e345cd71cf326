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

/// Starts logging. `level`: `error`, `warn`, `info`, `debug` or `trace`; anything else is `usual`.
///
/// # Errors
///
/// If the log file cannot be opened.
pub fn start(output: Output<'_>, level: Option<&str>, usual: LevelFilter) -> io::Result<()> {
    let level = level.and_then(|level| level.parse::<LevelFilter>().ok()).unwrap_or(usual);
    let builder = tracing_subscriber::fmt().with_max_level(level).with_target(false);
    let started = match output {
        Output::Stderr => builder.with_writer(io::stderr).with_ansi(false).try_init(),
        Output::File(directory) => builder.with_writer(Mutex::new(open(directory)?)).with_ansi(false).try_init(),
    };
    // The only error is that logging has been started before, and then it goes there.
    drop(started);
    Ok(())
}

fn open(directory: &Path) -> io::Result<File> {
    fs::create_dir_all(directory)?;
    let path = directory.join("hub.log");
    let is_long = fs::metadata(&path).is_ok_and(|metadata| metadata.len() > MAX_LOG_BYTES);
    OpenOptions::new().create(true).append(!is_long).write(true).truncate(is_long).open(path)
}
