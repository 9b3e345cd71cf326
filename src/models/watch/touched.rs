//! Which models something has happened to: told by the file system's thread, taken by the one that lists.

use std::{
    collections::BTreeSet,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// How long nothing may have happened before the models are listed: a snapshot is many links.
const QUIET: Duration = Duration::from_millis(50);

/// How long it may go on to happen: a download takes a while, and is told of meanwhile.
const MAX_NOISE: Duration = Duration::from_millis(500);

/// Folders that are remembered by name; with more, all are listed.
const MAX_FOLDERS: usize = 4096;

/// What has happened since it was last taken.
#[derive(Debug, Default)]
pub(super) struct Touched {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Debug, Default)]
struct State {
    folders: BTreeSet<String>,
    all: bool,
    /// Counts what has happened.
    count: u64,
    ended: bool,
}

/// What is to be listed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ToList {
    pub(super) all: bool,
    /// Folders of the cache.
    pub(super) folders: BTreeSet<String>,
}

impl Touched {
    /// Something has happened in a folder of the cache.
    pub(super) fn folder(&self, folder: &str) {
        let mut state = self.lock();
        state.count += 1;
        if state.folders.len() >= MAX_FOLDERS {
            state.all = true;
        } else if !state.folders.contains(folder) {
            state.folders.insert(folder.to_owned());
        }
        self.news.notify_one();
    }

    /// Anything may have happened.
    pub(super) fn all(&self) {
        let mut state = self.lock();
        state.count += 1;
        state.all = true;
        self.news.notify_one();
    }

    /// Nobody wants to know any more.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.news.notify_one();
    }

    /// Waits until something has happened and it is quiet again, at most `timeout` for that to begin; `None`: it is over.
    pub(super) fn wait(&self, timeout: Duration) -> Option<ToList> {
        let is_silent = |state: &mut State| !state.ended && !state.all && state.folders.is_empty();
        let waited = self.news.wait_timeout_while(self.lock(), timeout, is_silent);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let began = Instant::now();
        while !state.ended && (state.all || !state.folders.is_empty()) {
            let count = state.count;
            drop(state);
            thread::sleep(QUIET);
            state = self.lock();
            if state.count == count || began.elapsed() >= MAX_NOISE {
                break;
            }
        }
        if state.ended {
            return None;
        }
        Some(ToList { all: std::mem::take(&mut state.all), folders: std::mem::take(&mut state.folders) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
