//! Files as streams of chunks, with one bound for what all of them read ahead of their clients.
//!
//! Belongs here: how many are read at once, how much of each.
//! Does not belong here: finding files (`served`), bodies and messages (`http`, `grpc`).
//!
//! Invariants:
//! - All chunks that are on their way to clients are no longer than [`BUDGET_BYTES`] and one [`UNIT_BYTES`] a reader,
//!   however many clients have stopped taking theirs.
//! - A client that takes its chunks goes on whatever others do: the last unit is its own.
//!
//! Data path: `served` -> [`FileReader::next`] -> a body's channel -> the transport, which gives the [`Room`] back.

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{ModelError, ModelFile, SharedModels};

/// How long a client may take nothing of a file before it is cut: it has stopped, and holds the file and memory.
pub const STALL_LIMIT: Duration = Duration::from_secs(600);

/// Most bytes of one chunk (512 KiB: Python receives messages of 256 KiB to 1 MiB fastest).
const CHUNK_BYTES: usize = 512 << 10;

/// Bytes on their way to all clients together (64 MiB: some thirty readers at full speed, more with smaller chunks).
const BUDGET_BYTES: usize = 64 << 20;

/// What room is given in (16 KiB), and what each reader may have beyond the budget.
const UNIT_BYTES: usize = 16 << 10;

/// The part of what is left that one chunk may take: with many readers chunks get smaller, for all alike.
const SHARE: usize = 8;

/// Files that are read as streams at once; the next one is refused.
const MAX_READERS: usize = 512;

/// The bound that all readers share. Cloning shares it.
#[derive(Debug, Clone)]
pub(super) struct ReadAhead {
    /// In units.
    budget: Arc<Semaphore>,
    readers: Arc<Semaphore>,
}

impl Default for ReadAhead {
    fn default() -> Self {
        Self {
            budget: Arc::new(Semaphore::new(BUDGET_BYTES / UNIT_BYTES)),
            readers: Arc::new(Semaphore::new(MAX_READERS)),
        }
    }
}

/// Reads a range of a file in chunks, as fast as its client takes them.
#[derive(Debug)]
pub struct FileReader {
    /// What is read.
    pub file: ModelFile,
    left: Range<u64>,
    budget: Arc<Semaphore>,
    /// One unit, for when others have taken all there is.
    own: Arc<Semaphore>,
    _place: OwnedSemaphorePermit,
}

/// Bytes of a file on their way to a client.
#[derive(Debug)]
pub struct FileChunk {
    /// Where they begin in the file.
    pub offset: u64,
    /// At least one, unless the range is empty.
    pub bytes: Bytes,
    /// Kept until they have left.
    pub room: Room,
}

/// A part of what may be on its way; given back when it is dropped.
#[derive(Debug)]
pub struct Room {
    bytes: usize,
    _permit: Option<OwnedSemaphorePermit>,
}

impl SharedModels {
    /// Reads a range of a file for a client that takes it as a stream. `range`: inside the file.
    ///
    /// # Errors
    ///
    /// [`ModelError::TooManyReaders`].
    pub fn reader(&self, file: ModelFile, range: Range<u64>) -> Result<FileReader, ModelError> {
        let ReadAhead { budget, readers } = self.read_ahead.clone();
        let place = readers.try_acquire_owned().map_err(|_| ModelError::TooManyReaders { limit: MAX_READERS })?;
        Ok(FileReader { file, left: range, budget, own: Arc::new(Semaphore::new(1)), _place: place })
    }
}

impl FileReader {
    /// Has everything been read?
    pub const fn is_done(&self) -> bool {
        self.left.start >= self.left.end
    }

    /// The next bytes, as soon as they are there and there is room for them; of a range that is done, none.
    ///
    /// # Errors
    ///
    /// As [`ModelFile::read_some`]; [`ModelError::Stalled`] if there is no room because the client takes nothing.
    ///
    /// # Cancel safety
    ///
    /// The read goes on for nobody; the next call begins at the same place.
    pub async fn next(&mut self) -> Result<FileChunk, ModelError> {
        let stalled = |_| ModelError::Stalled { waited_s: STALL_LIMIT.as_secs() };
        let room = timeout(STALL_LIMIT, self.room()).await.map_err(stalled)?;
        let offset = self.left.start;
        let end = self.left.end.min(offset.saturating_add(room.bytes as u64));
        let bytes = self.file.read_some(offset..end).await?;
        self.left.start += bytes.len() as u64;
        Ok(FileChunk { offset, bytes, room })
    }

    /// Room for a chunk: of what all share or, where that is taken, this reader's own.
    async fn room(&self) -> Room {
        let share = (self.budget.available_permits() / SHARE).clamp(1, CHUNK_BYTES / UNIT_BYTES);
        // A power of two: what one gives back is as long as what the next one takes, and memory does not crumble.
        let share = 1 << share.ilog2();
        let shared = Arc::clone(&self.budget).try_acquire_many_owned(u32::try_from(share).unwrap_or(1));
        match shared {
            Ok(permit) => Room { bytes: share * UNIT_BYTES, _permit: Some(permit) },
            // The semaphore is never closed.
            Err(_) => Room { bytes: UNIT_BYTES, _permit: Arc::clone(&self.own).acquire_owned().await.ok() },
        }
    }
}

impl FileChunk {
    /// The bytes, which take the room along: it is given back when the transport lets go of them.
    pub fn into_bytes(self) -> Bytes {
        struct Held {
            bytes: Bytes,
            _room: Room,
        }
        impl AsRef<[u8]> for Held {
            fn as_ref(&self) -> &[u8] {
                &self.bytes
            }
        }
        Bytes::from_owner(Held { bytes: self.bytes, _room: self.room })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::models::{FileName, ImportOptions, ModelId, ModelStore, StoreOptions, Upstream};

    const FILE_BYTES: usize = 8 << 20;

    async fn models(dir: &tempfile::TempDir) -> (SharedModels, FileName) {
        let source = dir.path().join("source");
        fs::create_dir_all(&source).unwrap();
        fs::write(source.join("large"), vec![7; FILE_BYTES]).unwrap();
        let options = StoreOptions { cache_dir: dir.path().join("hub"), state_dir: dir.path().join("state") };
        let store = ModelStore::new(options);
        store.import(&source, &ModelId::parse("org/name").unwrap(), &ImportOptions::default()).unwrap();
        let models = SharedModels::new(store, Upstream::off());
        let name = FileName::parse("org/name", "large", "").unwrap();
        assert!(models.open_cached(name.clone()).await.unwrap().resolved.verified);
        (models, name)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn readers_that_stop_share_a_budget_and_one_that_goes_on_gets_everything() {
        let dir = tempfile::tempdir().unwrap();
        let (models, name) = models(&dir).await;
        let reader = || async { models.reader(models.stream(name.clone()).await.unwrap(), 0..FILE_BYTES as u64) };
        let mut stopped = Vec::new();
        let mut held = Vec::new();
        for _ in 0..MAX_READERS - 1 {
            let mut reader = reader().await.unwrap();
            // As much as a transport holds of one that takes nothing, or as there is.
            for _ in 0..4 {
                let Ok(chunk) = tokio::time::timeout(Duration::from_millis(5), reader.next()).await else { break };
                held.push(chunk.unwrap());
            }
            stopped.push(reader);
        }
        let bytes: usize = held.iter().map(|chunk| chunk.bytes.len()).sum();
        assert!(bytes <= BUDGET_BYTES + MAX_READERS * UNIT_BYTES, "{bytes}");

        let mut honest = reader().await.unwrap();
        let refused = reader().await.unwrap_err();
        assert!(matches!(refused, ModelError::TooManyReaders { limit: MAX_READERS }));
        let mut got = 0;
        while !honest.is_done() {
            let chunk = honest.next().await.unwrap().into_bytes();
            assert!(chunk.iter().all(|&byte| byte == 7));
            got += chunk.len();
        }
        assert_eq!(got, FILE_BYTES);
        drop((held, stopped, honest));
        assert_eq!(models.read_ahead.budget.available_permits(), BUDGET_BYTES / UNIT_BYTES);
        assert_eq!(reader().await.unwrap().next().await.unwrap().bytes.len(), CHUNK_BYTES);
    }
}
