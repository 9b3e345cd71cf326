//! Writing what arrives, in whatever order, and hashing it in the right one.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use super::{ModelError, Progress, partial::PartialFile};
use crate::models::{
    digest::{Digests, Hasher},
    system::{NOTE_BYTES, read_exact_at, write_all_at},
};

/// Bytes hashed at once.
const HASH_BYTES: usize = 1 << 20;

/// Bytes of a file, from one of the pieces that are fetched in parallel.
#[derive(Debug)]
pub(super) struct Chunk {
    /// Where its piece begins in the file.
    pub(super) piece_start: u64,
    pub(super) offset: u64,
    pub(super) bytes: Bytes,
}

/// Writes chunks until there are no more, and hashes behind. The part has its digests if every byte has come.
pub(super) fn write(
    mut part: PartialFile,
    done: u64,
    size: u64,
    mut chunks: mpsc::Receiver<Chunk>,
    progress: &watch::Sender<Progress>,
) -> Result<PartialFile, ModelError> {
    let mark = Mark::new(done);
    let path = part.path().to_owned();
    let failed = |action| ModelError::io(action, path.clone());
    let digests = thread::scope(|scope| {
        let hashing = thread::Builder::new().name("download-hash".to_owned());
        let hashing =
            hashing.spawn_scoped(scope, || hash(&part.file, size, &mark)).map_err(failed("start a thread"))?;
        let written = write_chunks(&part, &mark, done, &mut chunks, progress);
        mark.close();
        let hashed = hashing.join().unwrap_or_else(|_| Err(io::Error::other("the hashing thread panicked")));
        written.and_then(|()| hashed.map_err(failed("hash a partial file")))
    })?;
    part.digests = digests;
    Ok(part)
}

fn write_chunks(
    part: &PartialFile,
    mark: &Mark,
    done: u64,
    chunks: &mut mpsc::Receiver<Chunk>,
    progress: &watch::Sender<Progress>,
) -> Result<(), ModelError> {
    let mut filled = Filled { done, beyond: BTreeMap::new() };
    let mut noted = done;
    progress.send_modify(|progress| progress.ready = done);
    let mut result = Ok(());
    while let Some(Chunk { piece_start, offset, bytes }) = chunks.blocking_recv() {
        if let Err(error) = write_all_at(&part.file, &bytes, offset) {
            result = Err(ModelError::io("write a partial file", part.path())(error));
            break;
        }
        let before = filled.done;
        filled.add(piece_start, offset + bytes.len() as u64);
        if filled.done > before {
            mark.raise(filled.done);
            progress.send_modify(|progress| progress.ready = filled.done);
        }
        if filled.done - noted >= NOTE_BYTES {
            noted = filled.done;
            part.note_done(noted);
        }
    }
    part.note_done(filled.done);
    result
}

/// Which bytes are there.
struct Filled {
    /// From the start.
    done: u64,
    /// Parts beyond that: where each begins, and how far it is.
    beyond: BTreeMap<u64, u64>,
}

impl Filled {
    fn add(&mut self, piece_start: u64, end: u64) {
        if piece_start <= self.done {
            self.done = self.done.max(end);
        } else {
            self.beyond.insert(piece_start, end);
        }
        while let Some(next) = self.beyond.first_entry() {
            if *next.key() > self.done {
                return;
            }
            self.done = self.done.max(next.remove());
        }
    }
}

/// How far the hashing may go.
struct Mark {
    state: Mutex<(u64, bool)>,
    raised: Condvar,
}

impl Mark {
    const fn new(done: u64) -> Self {
        Self { state: Mutex::new((done, false)), raised: Condvar::new() }
    }

    fn raise(&self, done: u64) {
        self.lock().0 = done;
        self.raised.notify_one();
    }

    fn close(&self) {
        self.lock().1 = true;
        self.raised.notify_one();
    }

    /// Waits until there is more than `seen`; `None`: there will not be.
    fn beyond(&self, seen: u64) -> Option<u64> {
        let state = self.raised.wait_while(self.lock(), |(done, closed)| *done <= seen && !*closed);
        let (done, _) = *state.unwrap_or_else(PoisonError::into_inner);
        (done > seen).then_some(done)
    }

    fn lock(&self) -> MutexGuard<'_, (u64, bool)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hashes behind the mark; `None` if the file did not become whole.
fn hash(file: &File, size: u64, mark: &Mark) -> io::Result<Option<Digests>> {
    let mut hasher = Hasher::new(size);
    let mut buffer = vec![0; HASH_BYTES];
    let mut hashed = 0;
    while hashed < size {
        let Some(done) = mark.beyond(hashed) else { return Ok(None) };
        while hashed < done {
            let length = usize::try_from(done - hashed).unwrap_or(usize::MAX).min(HASH_BYTES);
            let bytes = buffer.get_mut(..length).unwrap_or_default();
            read_exact_at(file, bytes, hashed)?;
            hasher.update(bytes);
            hashed += length as u64;
        }
    }
    Ok(Some(hasher.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_come_out_of_order_are_counted_when_the_gap_is_closed() {
        let mut filled = Filled { done: 0, beyond: BTreeMap::new() };
        let mut check = |piece_start, end, done| {
            filled.add(piece_start, end);
            assert_eq!(filled.done, done, "after {piece_start}..{end}");
        };
        check(10, 15, 0);
        check(20, 30, 0);
        check(0, 5, 5);
        check(0, 10, 15);
        check(10, 20, 30);
        check(30, 31, 31);
    }
}
