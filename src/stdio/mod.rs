//! Standard input and output, which belong to the browser.
//!
//! Belongs here: setting stdout aside, writing whole messages to it, noticing that nobody reads it any more.
//! Does not belong here: what is read and written (`relay`).
//!
//! Invariants:
//! - After [`set_aside`] nothing but [`MessageWriter`] reaches the browser: standard output is stderr, so that no library
//!   and no `println!` can corrupt the port.
//! - A message is written whole and flushed, and never longer than the browser takes.

#[cfg_attr(unix, path = "unix.rs")]
#[cfg_attr(windows, path = "windows.rs")]
mod system;

use std::{
    fs::File,
    io::{self, Write},
    process::Stdio,
    sync::Arc,
};

use crate::framing::{MAX_OUTBOUND_BODY, encode_prefix};

/// Standard input, unbuffered: who reads it brings the buffer.
pub type Input = File;

/// Both ends of the browser's port.
#[derive(Debug)]
pub struct SetAside {
    /// What the browser sends.
    pub input: Input,
    /// What the browser gets.
    pub output: MessageWriter,
}

impl SetAside {
    /// Both once more, for a program that takes this one's place.
    ///
    /// # Errors
    ///
    /// If descriptors cannot be duplicated.
    pub fn duplicate(&self) -> io::Result<(Stdio, Stdio)> {
        Ok((self.input.try_clone()?.into(), self.output.output.try_clone()?.into()))
    }
}

/// Takes stdin and stdout for the browser. To be called once, before anything is printed.
///
/// # Errors
///
/// If descriptors are missing or cannot be duplicated.
pub fn set_aside() -> io::Result<SetAside> {
    let (input, output) = system::set_aside()?;
    Ok(SetAside { input, output: MessageWriter { output: Arc::new(output), buffer: Vec::new() } })
}

/// The only writer to the browser.
#[derive(Debug)]
pub struct MessageWriter {
    output: Arc<File>,
    /// Prefix and body together, so that a small message is one write.
    buffer: Vec<u8>,
}

impl MessageWriter {
    /// Writes one message.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if the browser would close the port on it, and what the pipe says.
    pub fn write(&mut self, body: &[u8]) -> io::Result<()> {
        let prefix = encode_prefix(body.len(), MAX_OUTBOUND_BODY)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        self.buffer.clear();
        self.buffer.extend_from_slice(&prefix);
        self.buffer.extend_from_slice(body);
        (&*self.output).write_all(&self.buffer)
    }

    /// Tells another thread when nobody reads any more.
    pub fn closed_watch(&self) -> ClosedWatch {
        ClosedWatch { output: Arc::clone(&self.output) }
    }
}

/// Waits for the browser to close its end of stdout.
#[derive(Debug)]
pub struct ClosedWatch {
    output: Arc<File>,
}

impl ClosedWatch {
    /// Returns when nobody reads stdout any more.
    pub fn wait(&self) {
        system::wait_until_closed(&self.output);
    }
}
