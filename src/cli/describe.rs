//! What shells and `man` are told of the command line, made of the arguments themselves.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
};

use anyhow::Context;
use clap::CommandFactory;
use clap_complete::Shell;

use super::arguments::Arguments;

/// `framehost completions`.
pub(super) fn completions(shell: Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "framehost", &mut script);
    io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// `framehost manual`: a page for the program, and one for each of its commands.
pub(super) fn manual(directory: &Path) -> anyhow::Result<ExitCode> {
    let write = || clap_mangen::generate_to(Arguments::command(), directory);
    write().with_context(|| format!("cannot write the manual into {}", directory.display()))?;
    Ok(ExitCode::SUCCESS)
}
