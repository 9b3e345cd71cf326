//! Hashing, once for each file: what was hashed is remembered by what the file is on disk.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write as _},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::{name::is_lower_hex, system};
use crate::hex;

/// Files whose digests are remembered; with more, the memory begins anew.
const MAX_REMEMBERED: usize = 50_000;

/// Bytes hashed at once.
const READ_BYTES: usize = 1 << 20;

/// Both digests of a file, in hex.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Digests {
    pub(super) sha256: String,
    /// git's name for a blob of these bytes: sha1 over `"blob {len}\0"` and the bytes.
    pub(super) git_sha1: String,
}

/// What a file is on disk; another write makes it another file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct FileKey {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) size: u64,
    pub(super) mtime_s: i64,
    pub(super) mtime_ns: i64,
    /// Unlike the time of the last write it cannot be set back.
    pub(super) ctime_s: i64,
    pub(super) ctime_ns: i64,
}

impl FileKey {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        system::file_key(file, &file.metadata()?)
    }

    /// Has nobody written in between? Links may have come and gone, which changes `ctime` alone.
    pub(super) fn has_same_bytes(&self, other: &Self) -> bool {
        Self { ctime_s: other.ctime_s, ctime_ns: other.ctime_ns, ..*self } == *other
    }
}

/// Hashes while bytes go by.
pub(super) struct Hasher {
    sha256: Sha256,
    sha1: Sha1,
}

impl Hasher {
    /// A hasher for a file of `size` bytes, which git hashes along.
    pub(super) fn new(size: u64) -> Self {
        let mut sha1 = Sha1::new();
        sha1.update(format!("blob {size}\0"));
        Self { sha256: Sha256::new(), sha1 }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        self.sha1.update(bytes);
    }

    pub(super) fn finish(self) -> Digests {
        Digests { sha256: hex::lower(&self.sha256.finalize()), git_sha1: hex::lower(&self.sha1.finalize()) }
    }
}

/// What was hashed, in memory and on disk: one line of JSON for each file, the newest last.
///
/// Cloning shares it.
#[derive(Debug, Clone)]
pub(super) struct DigestMemory {
    path: Arc<Path>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// The file on disk has been read.
    loaded: bool,
    known: BTreeMap<FileKey, Digests>,
    /// Files that are being hashed right now; who comes second waits for the first.
    in_work: BTreeMap<FileKey, Arc<Mutex<()>>>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(flatten)]
    key: FileKey,
    #[serde(flatten)]
    digests: Digests,
}

impl DigestMemory {
    /// A memory at `state_dir/digests.jsonl`, which is read when it is first needed.
    pub(super) fn new(state_dir: &Path) -> Self {
        Self { path: state_dir.join("digests.jsonl").into(), state: Arc::default() }
    }

    /// The digests of an open file, as far as they are remembered.
    pub(super) fn known(&self, file: &File) -> io::Result<(FileKey, Option<Digests>)> {
        let key = FileKey::of(file)?;
        Ok((key, self.loaded_state().known.get(&key).cloned()))
    }

    /// The digests of an open file, hashed now unless they are remembered; `None` if the file changed meanwhile.
    pub(super) fn digests(&self, file: &File) -> io::Result<Option<(FileKey, Digests)>> {
        let key = FileKey::of(file)?;
        let turn = {
            let mut state = self.loaded_state();
            if let Some(known) = state.known.get(&key) {
                return Ok(Some((key, known.clone())));
            }
            Arc::clone(state.in_work.entry(key).or_default())
        };
        let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = self.loaded_state().known.get(&key) {
            return Ok(Some((key, known.clone())));
        }
        let hashed = hash(file, key.size).and_then(|digests| {
            let is_unchanged = FileKey::of(file)?.has_same_bytes(&key);
            Ok(is_unchanged.then_some(digests))
        });
        if let Ok(Some(digests)) = &hashed {
            self.remember(key, digests.clone());
        }
        // After it is remembered: who comes now finds it there.
        self.loaded_state().in_work.remove(&key);
        Ok(hashed?.map(|digests| (key, digests)))
    }

    /// The digests of an open file, hashed now whatever is remembered: a disk loses bytes without writing the file's
    /// times. `None` if the file changed meanwhile.
    pub(super) fn digests_anew(&self, file: &File) -> io::Result<Option<(FileKey, Digests)>> {
        let key = FileKey::of(file)?;
        let digests = hash(file, key.size)?;
        if !FileKey::of(file)?.has_same_bytes(&key) {
            return Ok(None);
        }
        let is_news = self.loaded_state().known.get(&key) != Some(&digests);
        if is_news {
            self.remember(key, digests.clone());
        }
        Ok(Some((key, digests)))
    }

    /// Remembers what was hashed elsewhere.
    pub(super) fn remember(&self, key: FileKey, digests: Digests) {
        let mut state = self.loaded_state();
        if state.known.len() >= MAX_REMEMBERED {
            self.begin_anew(&mut state);
        }
        let line = Line { key, digests };
        if let Err(error) = self.append(&line) {
            tracing::warn!(%error, path = %self.path.display(), "a digest is not remembered over a restart");
        }
        state.known.insert(line.key, line.digests);
    }

    /// The state with what the file on disk knows. A broken line costs only the time to hash again.
    fn loaded_state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.loaded {
            state.loaded = true;
            let text = fs::read(&self.path).unwrap_or_default();
            let lines = text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Line>(line).ok());
            let sound =
                |line: &Line| is_lower_hex(&line.digests.sha256, 64) && is_lower_hex(&line.digests.git_sha1, 40);
            state.known.extend(lines.filter(sound).map(|line| (line.key, line.digests)));
            if state.known.len() > MAX_REMEMBERED {
                self.begin_anew(&mut state);
            }
        }
        state
    }

    /// Which files are still in use is not known; to begin anew costs a hash for each that is.
    fn begin_anew(&self, state: &mut State) {
        state.known.clear();
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "cannot begin a new memory of digests");
        }
    }

    /// Adds a line. Lines of several processes do not mix: each is one write at the end of the file.
    fn append(&self, line: &Line) -> io::Result<()> {
        if let Some(directory) = self.path.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut json = serde_json::to_vec(line)?;
        json.push(b'\n');
        OpenOptions::new().create(true).append(true).open(&self.path)?.write_all(&json)
    }
}

/// Hashes a file from its start, whatever its position is.
fn hash(file: &File, size: u64) -> io::Result<Digests> {
    let mut reader = FromStart { file, offset: 0 };
    let mut hasher = Hasher::new(size);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            read => hasher.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

/// Reads without moving the file's own position, which others share.
struct FromStart<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = system::read_at(self.file, buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &Path, bytes: &[u8]) -> File {
        fs::write(path, bytes).unwrap();
        File::open(path).unwrap()
    }

    #[test]
    fn digests_are_those_of_git_and_sha256sum() {
        let dir = tempfile::tempdir().unwrap();
        let memory = DigestMemory::new(dir.path());
        let (_, digests) = memory.digests(&file(&dir.path().join("f"), b"hello\n")).unwrap().unwrap();
        assert_eq!(digests.sha256, "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
        assert_eq!(digests.git_sha1, "ce013625030ba8dba906f756967f9e9ca394464a");
    }

    #[test]
    fn a_remembered_digest_survives_a_restart_and_ends_with_the_next_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let open = file(&path, b"one");
        let key = FileKey::of(&open).unwrap();
        let marked = Digests { sha256: "a".repeat(64), git_sha1: "b".repeat(40) };
        DigestMemory::new(dir.path()).remember(key, marked.clone());
        // The mark shows that the file was not hashed again.
        assert_eq!(DigestMemory::new(dir.path()).digests(&open).unwrap(), Some((key, marked.clone())));
        let open = file(&path, b"other");
        assert_ne!(DigestMemory::new(dir.path()).digests(&open).unwrap().unwrap().1, marked);
    }

    #[test]
    fn a_broken_memory_is_no_memory() {
        let dir = tempfile::tempdir().unwrap();
        for broken in [&b"{half"[..], b"", b"[]", b"\xff"] {
            fs::write(dir.path().join("digests.jsonl"), broken).unwrap();
            let memory = DigestMemory::new(dir.path());
            assert!(memory.digests(&file(&dir.path().join("f"), b"x")).unwrap().is_some());
        }
    }
}
