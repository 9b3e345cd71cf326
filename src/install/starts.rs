//! Whether a program does start: a file may be there, of the right mode, and be half of what was copied.

use std::{
    io::Read as _,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// How long a program may take to tell its version; a busy machine reads it from its disk first.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_millis(5);

/// Bytes of its first words.
const WORDS_BYTES: usize = 256;

/// Runs `program` with the one argument that makes it tell its version and end, and answers with its first words.
///
/// # Errors
///
/// What is wrong, as the end of a sentence about the program.
pub(crate) fn starts(program: &Path, argument: &str) -> Result<String, String> {
    let mut command = Command::new(program);
    command.arg(argument).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|error| format!("cannot be started: {error}"))?;
    let begun = Instant::now();
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if begun.elapsed() < PATIENCE => thread::sleep(INTERVAL),
            Ok(None) => {
                // It is gone, or going.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("does not work: {argument} has not ended after {PATIENCE:?}"));
            }
            Err(error) => return Err(format!("cannot be waited for: {error}")),
        }
    };
    if !status.success() {
        return Err(format!("does not work: {argument} ends with {status}"));
    }
    // It has ended, so what it said is in the pipe. Of what says nothing something else may hold the pipe open.
    let (sender, said) = mpsc::channel();
    if let Some(mut output) = child.stdout.take() {
        thread::spawn(move || {
            let mut words = [0; WORDS_BYTES];
            let length = output.read(&mut words).unwrap_or_default();
            sender.send(String::from_utf8_lossy(words.get(..length).unwrap_or_default()).into_owned())
        });
    }
    // Systems run an empty file as a script that does nothing.
    let said = said.recv_timeout(PATIENCE).ok().filter(|said| !said.is_empty());
    said.ok_or_else(|| format!("does not work: it says nothing to {argument}"))
}
