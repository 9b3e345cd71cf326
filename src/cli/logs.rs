//! `framehost logs`.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    path::Path,
    process::ExitCode,
    thread,
    time::Duration,
};

use anyhow::bail;

use super::{arguments::LogsArguments, say};
use crate::telemetry::log_file;

/// How often a log that is followed is looked at.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);

pub(super) fn run(arguments: &LogsArguments) -> anyhow::Result<ExitCode> {
    let state_dir = super::paths()?.state_dir;
    let newest = log_file::newest(&state_dir);
    if arguments.path {
        say(newest.display())?;
        return Ok(ExitCode::SUCCESS);
    }
    let files = log_file::files(&state_dir);
    if let Err(error) = fs::read_dir(&state_dir)
        && error.kind() != io::ErrorKind::NotFound
    {
        bail!("cannot look into {}: {error}", state_dir.display());
    }
    if files.is_empty() && !arguments.follow {
        bail!("no hub has written a log yet: {} is not there", newest.display());
    }
    // Where the last line ends, before it is read: what comes in the meantime is shown twice rather than not at all.
    let end = fs::metadata(&newest).map_or(0, |metadata| metadata.len());
    let mut lines = VecDeque::new();
    for file in files {
        for line in BufReader::new(File::open(file)?).split(b'\n') {
            if lines.len() >= arguments.lines {
                lines.pop_front();
            }
            lines.push_back(line?);
        }
    }
    let mut output = io::stdout().lock();
    for line in lines.iter().take(arguments.lines) {
        output.write_all(line)?;
        output.write_all(b"\n")?;
    }
    output.flush()?;
    if arguments.follow {
        follow(&newest, end, &mut output)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows what is added, from file to file, until it is interrupted or nobody reads it.
fn follow(path: &Path, mut at: u64, output: &mut impl io::Write) -> io::Result<()> {
    let mut open: Option<File> = None;
    loop {
        if open.is_none() {
            open = File::open(path).ok();
            if let Some(file) = &mut open {
                file.seek(SeekFrom::Start(at))?;
            }
        }
        if let Some(file) = &mut open {
            let mut added = Vec::new();
            file.read_to_end(&mut added)?;
            output.write_all(&added)?;
            output.flush()?;
            at += u64::try_from(added.len()).unwrap_or_default();
            // It was put aside, and another one has its name.
            if fs::metadata(path).map_or(0, |metadata| metadata.len()) < at {
                (open, at) = (None, 0);
                continue;
            }
        }
        thread::sleep(FOLLOW_INTERVAL);
    }
}
