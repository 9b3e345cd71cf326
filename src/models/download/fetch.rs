//! Fetching a file in pieces, several at once, each taken up again where it was cut.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_stream::StreamExt;

use super::{
    ModelError, Progress, Wanted,
    partial::PartialFile,
    write::{Chunk, write},
};
use crate::models::{
    name::is_lower_hex,
    upstream::{Backoff, FileBytes, Upstream, UpstreamError},
};

/// Bytes of a piece (16 MiB): few enough that the file is readable from its start early.
const PIECE_BYTES: u64 = 16 << 20;

/// Pieces that are fetched at once.
const PIECES_AT_ONCE: usize = 4;

/// How many bytes have to come in [`ENOUGH_TIME`], from whoever is worth waiting for (64 KiB).
const ENOUGH_BYTES: usize = 64 << 10;

/// How long they may take: a line of 10 kbit/s brings them.
const ENOUGH_TIME: Duration = Duration::from_secs(60);

/// Chunks between the connections and the disk.
const CHUNKS_AHEAD: usize = 64;

/// Fetches what is missing and checks the whole.
pub(super) async fn fetch(
    upstream: &Arc<Upstream>,
    wanted: &Wanted,
    part: PartialFile,
    progress: &Arc<watch::Sender<Progress>>,
) -> Result<PartialFile, ModelError> {
    let size = wanted.size_bytes;
    let done = part.done(size);
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let writing = {
        let progress = Arc::clone(progress);
        tokio::task::spawn_blocking(move || write(part, done, size, receiver, &progress))
    };
    // The writer ends when every sender is gone, and has kept what came.
    let fetched = fetch_pieces(upstream, wanted, done, sender).await;
    let written = writing.await.unwrap_or_else(|error| {
        Err(ModelError::io("write a partial file", "framehost-partial")(std::io::Error::other(error)))
    });
    // A full disk is the reason, and that nobody takes the bytes any more what follows from it.
    let part = written?;
    fetched?;
    let Some(digests) = &part.digests else {
        let problem = "it ended early".to_owned();
        return Err(UpstreamError::Unreachable { problem, url: upstream.to_string() }.into());
    };
    let actual = if is_lower_hex(&wanted.etag, 64) { &digests.sha256 } else { &digests.git_sha1 };
    if *actual == wanted.etag {
        return Ok(part);
    }
    let (expected, actual) = (wanted.etag.clone(), actual.clone());
    part.remove();
    Err(ModelError::DownloadMismatch {
        expected,
        actual,
        file_path: wanted.file_path.as_str().to_owned(),
        upstream: upstream.to_string(),
    })
}

async fn fetch_pieces(
    upstream: &Arc<Upstream>,
    wanted: &Wanted,
    done: u64,
    sender: mpsc::Sender<Chunk>,
) -> Result<(), ModelError> {
    let size = wanted.size_bytes;
    if done == size {
        return Ok(());
    }
    let first = done..size.min(done + PIECE_BYTES);
    let next = Arc::new(AtomicU64::new(first.end));
    let fetcher = Fetcher { upstream: Arc::clone(upstream), wanted: Arc::new(wanted.clone()), next, sender };
    let (opened, mut backoff) = fetcher.open_first(first.clone()).await?;
    if !opened.is_range {
        // This server knows no ranges, and its first answer is the whole file.
        return Ok(fetcher.fetch_piece(first.start..size, Some(opened), &mut backoff).await?);
    }
    let mut pieces = JoinSet::new();
    let others = fetcher.clone();
    pieces.spawn(async move {
        fetcher.fetch_piece(first, Some(opened), &mut backoff).await?;
        fetcher.fetch_rest().await
    });
    for _ in 1..PIECES_AT_ONCE {
        let fetcher = others.clone();
        pieces.spawn(async move { fetcher.fetch_rest().await });
    }
    drop(others);
    while let Some(ended) = pieces.join_next().await {
        // Whoever fails ends the others: they are dropped with the set.
        ended.map_err(|error| UpstreamError::Answer { problem: error.to_string(), url: upstream.to_string() })??;
    }
    Ok(())
}

/// Fetches pieces of one file. Cloning makes another that takes pieces from the same file.
#[derive(Clone)]
struct Fetcher {
    upstream: Arc<Upstream>,
    wanted: Arc<Wanted>,
    /// Where the next piece begins.
    next: Arc<AtomicU64>,
    sender: mpsc::Sender<Chunk>,
}

impl Fetcher {
    /// The answer that tells whether the server knows ranges.
    async fn open_first(&self, range: Range<u64>) -> Result<(FileBytes, Backoff), UpstreamError> {
        let mut backoff = Backoff::default();
        loop {
            let error = match self.open(range.clone()).await {
                Ok(opened) => return Ok((opened, backoff)),
                Err(error) => error,
            };
            match backoff.after(&error) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(error),
            }
        }
    }

    /// Fetches pieces until there are no more.
    async fn fetch_rest(&self) -> Result<(), UpstreamError> {
        let size = self.wanted.size_bytes;
        loop {
            let start = self.next.fetch_add(PIECE_BYTES, Ordering::Relaxed);
            if start >= size {
                return Ok(());
            }
            self.fetch_piece(start..size.min(start + PIECE_BYTES), None, &mut Backoff::default()).await?;
        }
    }

    /// Fetches one piece, as often as it is cut.
    async fn fetch_piece(
        &self,
        piece: Range<u64>,
        mut opened: Option<FileBytes>,
        backoff: &mut Backoff,
    ) -> Result<(), UpstreamError> {
        let mut at = piece.start;
        loop {
            let answer = match opened.take() {
                Some(answer) => Ok(answer),
                None => self.open(at..piece.end).await,
            };
            let error = match answer {
                Ok(answer) => match self.take(answer, &piece, &mut at, backoff).await {
                    Ok(()) if at == piece.end => return Ok(()),
                    Ok(()) if self.sender.is_closed() => return Ok(()),
                    Ok(()) => {
                        let url = self.upstream.to_string();
                        UpstreamError::Unreachable { problem: format!("it was cut at byte {at}"), url }
                    }
                    Err(error) => error,
                },
                Err(error) => error,
            };
            match backoff.after(&error) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(error),
            }
        }
    }

    async fn open(&self, range: Range<u64>) -> Result<FileBytes, UpstreamError> {
        let Wanted { model_id, commit, file_path, size_bytes, .. } = &*self.wanted;
        self.upstream.read(model_id, commit, file_path, range, *size_bytes).await
    }

    /// Hands on what an answer brings of the piece, from `at` on.
    async fn take(
        &self,
        mut answer: FileBytes,
        piece: &Range<u64>,
        at: &mut u64,
        backoff: &mut Backoff,
    ) -> Result<(), UpstreamError> {
        let mut offset = answer.offset;
        let mut slow = Slowness::new();
        while *at < piece.end
            && let Some(bytes) = answer.bytes.next().await
        {
            let bytes = bytes?;
            if slow.is_too_slow(bytes.len()) {
                let problem = format!("it sends less than {ENOUGH_BYTES} bytes in {ENOUGH_TIME:?}");
                return Err(UpstreamError::Unreachable { problem, url: self.upstream.to_string() });
            }
            let start = offset;
            offset += bytes.len() as u64;
            // From a server that knows no ranges comes first what is there already.
            let from = usize::try_from(at.saturating_sub(start)).unwrap_or(usize::MAX).min(bytes.len());
            let to = usize::try_from(piece.end - start).unwrap_or(usize::MAX).min(bytes.len());
            let bytes = bytes.slice(from..to.max(from));
            if bytes.is_empty() {
                continue;
            }
            let length = bytes.len() as u64;
            if self.sender.send(Chunk { piece_start: piece.start, offset: *at, bytes }).await.is_err() {
                // The writer has failed, and says why.
                return Ok(());
            }
            *at += length;
            if slow.is_enough() {
                backoff.progress();
            }
        }
        if *at == piece.end {
            backoff.progress();
        }
        Ok(())
    }
}

/// Whether an upstream sends at all, or drips: each byte of a file could take as long as silence may.
struct Slowness {
    since: Instant,
    bytes: usize,
}

impl Slowness {
    fn new() -> Self {
        Self { since: Instant::now(), bytes: 0 }
    }

    /// Some bytes have come.
    fn is_too_slow(&mut self, bytes: usize) -> bool {
        let is_over = self.since.elapsed() > ENOUGH_TIME;
        if is_over && !self.is_enough() {
            return true;
        }
        if is_over {
            *self = Self::new();
        }
        self.bytes += bytes;
        false
    }

    /// As much as makes a try a success.
    const fn is_enough(&self) -> bool {
        self.bytes >= ENOUGH_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_upstream_that_drips_is_too_slow_and_one_that_is_slow_is_not() {
        let check = async |bytes: usize, every: Duration| {
            let mut slow = Slowness::new();
            for _ in 0..30 {
                tokio::time::advance(every).await;
                if slow.is_too_slow(bytes) {
                    return true;
                }
            }
            false
        };
        assert!(check(1, Duration::from_secs(6)).await);
        assert!(check(ENOUGH_BYTES / 20, Duration::from_secs(6)).await);
        assert!(!check(ENOUGH_BYTES / 9, Duration::from_secs(6)).await);
        assert!(!check(1 << 20, Duration::from_secs(59)).await);
    }
}
