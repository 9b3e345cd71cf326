//! `hub.log`, and what was in it before: a full file is renamed, and the oldest one goes.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::user;

/// A log file above this is put aside, in bytes.
const MAX_FILE_BYTES: u64 = 2 << 20;

/// Files that were put aside: `hub.log.1` is the newest of them.
const OLD_FILES: u32 = 2;

/// The newest lines.
const NAME: &str = "hub.log";

/// The log file that is written. A line that cannot be written is lost, and no reason to stop: the disk may be full.
#[derive(Debug)]
pub struct LogFile {
    directory: PathBuf,
    file: File,
    written: u64,
    limit: u64,
}

impl LogFile {
    /// Goes on with the log in `directory`, which is made if need be.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn open(directory: &Path) -> io::Result<Self> {
        user::create_closed_folder(directory)?;
        Self::with_limit(directory, MAX_FILE_BYTES)
    }

    fn with_limit(directory: &Path, limit: u64) -> io::Result<Self> {
        let file = append(directory)?;
        let written = file.metadata()?.len();
        Ok(Self { directory: directory.to_owned(), file, written, limit })
    }

    /// Puts the full file aside.
    fn rotate(&mut self) -> io::Result<()> {
        for number in (0..OLD_FILES).rev() {
            match fs::rename(path(&self.directory, number), path(&self.directory, number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        self.file = append(&self.directory)?;
        Ok(())
    }
}

impl Write for LogFile {
    /// Takes a line, or as many as come at once: a file ends with a whole one.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let len = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if self.written > 0 && self.written.saturating_add(len) > self.limit {
            // Where it cannot be put aside it grows on by as much again, and not at each line is that tried.
            let _ = self.rotate();
            self.written = 0;
        }
        self.file.write_all(line)?;
        self.written = self.written.saturating_add(len);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The log's files that are there, the oldest first.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    (0..=OLD_FILES).rev().map(|number| path(directory, number)).filter(|path| path.is_file()).collect()
}

/// The file with the newest lines, whether it is there or not.
pub fn newest(directory: &Path) -> PathBuf {
    path(directory, 0)
}

fn path(directory: &Path, number: u32) -> PathBuf {
    match number {
        0 => directory.join(NAME),
        number => directory.join(format!("{NAME}.{number}")),
    }
}

fn append(directory: &Path) -> io::Result<File> {
    user::append_to(&path(directory, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(directory: &Path) -> Vec<String> {
        files(directory).iter().map(|path| fs::read_to_string(path).unwrap()).collect()
    }

    #[test]
    fn full_files_are_put_aside_and_the_oldest_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogFile::with_limit(dir.path(), 10).unwrap();
        for line in ["one\n", "two\n", "three\n", "a line longer than the limit\n", "four\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(contents(dir.path()), ["three\n", "a line longer than the limit\n", "four\n"]);
        assert_eq!(files(dir.path()).last(), Some(&newest(dir.path())));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
    }

    #[test]
    fn another_start_goes_on_in_the_same_file() {
        let dir = tempfile::tempdir().unwrap();
        LogFile::with_limit(dir.path(), 10).unwrap().write_all(b"one\n").unwrap();
        let mut log = LogFile::with_limit(dir.path(), 10).unwrap();
        log.write_all(b"two\n").unwrap();
        log.write_all(b"three\n").unwrap();
        assert_eq!(contents(dir.path()), ["one\ntwo\n", "three\n"]);
    }

    #[test]
    fn a_file_that_cannot_be_put_aside_is_written_on() {
        let dir = tempfile::tempdir().unwrap();
        // A folder that is not empty cannot be renamed over.
        fs::create_dir_all(dir.path().join("hub.log.1/x")).unwrap();
        fs::create_dir_all(dir.path().join("hub.log.2/x")).unwrap();
        let mut log = LogFile::with_limit(dir.path(), 5).unwrap();
        log.write_all(b"one\n").unwrap();
        log.write_all(b"two\n").unwrap();
        assert_eq!(contents(dir.path()), ["one\ntwo\n"]);
    }
}
