//! A file that never opens, for tests: its ffprobe says nothing, for longer than any test waits.

#![allow(clippy::unwrap_used, reason = "a test panics")]

use std::{
    fs::File,
    io::{self, Read},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use super::{SourceOptions, SourceSpec, file::FileOptions};

/// Below ffprobe's silence, after which an opening ends by itself.
const LIMIT: Duration = Duration::from_secs(10);

/// The file, and its ffprobe.
#[derive(Debug)]
pub(crate) struct Hanging {
    dir: TempDir,
}

impl Hanging {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Written by another process: one of ours that forks meanwhile would keep the program from being run. The pipe
        // is open as long as the program runs.
        let script =
            "echo video >video; mkfifo alive; printf '#!/bin/sh\nexec tail -f /dev/null 9>\"$0.alive\"\n' >ffprobe
            ln -s alive ffprobe.alive; cp ffprobe ffmpeg; chmod +x ffmpeg ffprobe";
        let made = Command::new("/bin/sh").args(["-ec", script]).current_dir(dir.path()).status().unwrap();
        assert!(made.success());
        Self { dir }
    }

    pub(crate) fn options(&self) -> SourceOptions {
        SourceOptions { ffmpeg: Some(self.dir.path().join("ffmpeg")), ..SourceOptions::default() }
    }

    pub(crate) fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("video")
    }

    pub(crate) fn spec(&self) -> SourceSpec {
        SourceSpec::File(FileOptions::new(self.path()))
    }

    /// Returns when it is being opened, with what ends when that does.
    pub(crate) async fn begun(&self) -> Begun {
        let alive = self.dir.path().join("alive");
        Begun(within_limit(move || File::open(alive)).await)
    }
}

/// An opening that has begun.
#[derive(Debug)]
pub(crate) struct Begun(File);

impl Begun {
    /// Returns when it has been given up.
    pub(crate) async fn given_up(mut self) {
        within_limit(move || self.0.read_to_end(&mut Vec::new())).await;
    }
}

async fn within_limit<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> T {
    tokio::time::timeout(LIMIT, tokio::task::spawn_blocking(work)).await.unwrap().unwrap().unwrap()
}
