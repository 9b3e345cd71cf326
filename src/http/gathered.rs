//! Writes of an HTTP/2 connection, gathered: one for many frames.
//!
//! h2 flushes after each frame, and Python's gRPC takes frames of 16 KiB: a 1080p picture would be 400 system calls, each
//! of which wakes the reader. Here a flush is a promise, kept when the connection has nothing more to do: `drive` flushes
//! after each poll of it. What is large already goes straight through.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes that are gathered before they are sent (256 KiB: what a socket's buffer takes at once).
const GATHERED_BYTES: usize = 256 << 10;

/// Writes of this size are not gathered (64 KiB).
const LARGE_BYTES: usize = 64 << 10;

/// A stream whose writes are gathered. `Flusher` sends what is left.
#[derive(Debug)]
pub(super) struct Gathered<S> {
    shared: Arc<Mutex<State<S>>>,
}

/// Sends what the connection has written.
#[derive(Debug)]
pub(super) struct Flusher<S> {
    shared: Arc<Mutex<State<S>>>,
}

#[derive(Debug)]
struct State<S> {
    stream: S,
    waiting: Vec<u8>,
    /// Of `waiting`, from its start.
    sent: usize,
}

/// Both ends of the gathering.
pub(super) fn gathered<S>(stream: S) -> (Gathered<S>, Flusher<S>) {
    let state = State { stream, waiting: Vec::with_capacity(GATHERED_BYTES + LARGE_BYTES), sent: 0 };
    let shared = Arc::new(Mutex::new(state));
    (Gathered { shared: Arc::clone(&shared) }, Flusher { shared })
}

impl<S: AsyncWrite + Unpin> State<S> {
    /// Sends everything that waits.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.waiting.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        self.waiting.clear();
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    fn poll_gather(&mut self, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let length = bufs.iter().map(|buf| buf.len()).sum::<usize>();
        if length >= LARGE_BYTES {
            ready!(self.poll_send(cx))?;
            return Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        }
        if self.waiting.len() >= GATHERED_BYTES {
            ready!(self.poll_send(cx))?;
        }
        for buf in bufs {
            self.waiting.extend_from_slice(buf);
        }
        Poll::Ready(Ok(length))
    }
}

impl<S: AsyncWrite + Unpin> Flusher<S> {
    /// Runs the connection to its end, and sends what it has written whenever it waits.
    ///
    /// # Errors
    ///
    /// What the stream says while the connection waits.
    pub(super) async fn drive<F: Future>(self, connection: F) -> io::Result<F::Output> {
        let mut connection = pin!(connection);
        poll_fn(|cx| match connection.as_mut().poll(cx) {
            // It has shut the stream down, which sends what was left.
            Poll::Ready(ended) => Poll::Ready(Ok(ended)),
            Poll::Pending => match lock(&self.shared).poll_send(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
            },
        })
        .await
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut lock(&self.shared).stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        lock(&self.shared).poll_gather(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        lock(&self.shared).poll_gather(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// The promise: `Flusher::drive` keeps it.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.shared);
        ready!(state.poll_send(cx))?;
        Pin::new(&mut state.stream).poll_shutdown(cx)
    }
}

/// Never contended: both ends are polled by one task.
fn lock<S>(shared: &Mutex<State<S>>) -> MutexGuard<'_, State<S>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn what_is_written_arrives_in_order_whatever_its_size_and_however_slow_the_reader_is() {
        let (stream, mut reader) = duplex(1000);
        let (mut gathered, flusher) = gathered(stream);
        let sizes = [1, 100, LARGE_BYTES - 1, LARGE_BYTES, LARGE_BYTES + 1, 3, 2 * GATHERED_BYTES, 16_393, 16_393, 7];
        let mut expected = Vec::new();
        for (number, size) in sizes.into_iter().enumerate() {
            expected.extend(std::iter::repeat_n(u8::try_from(number).unwrap(), size));
        }
        let sent = expected.clone();
        let writing = tokio::spawn(flusher.drive(async move {
            let mut rest = sent.as_slice();
            for size in sizes {
                let (now, later) = rest.split_at(size);
                gathered.write_all(now).await.unwrap();
                gathered.flush().await.unwrap();
                rest = later;
                tokio::task::yield_now().await;
            }
            // Waits for nothing: only the flusher can send what is left.
            let mut answer = [0];
            gathered.read_exact(&mut answer).await.unwrap();
            gathered.shutdown().await.unwrap();
        }));
        let mut received = vec![0; expected.len()];
        reader.read_exact(&mut received).await.unwrap();
        assert!(received == expected);
        reader.write_all(&[1]).await.unwrap();
        writing.await.unwrap().unwrap();
        assert_eq!(reader.read(&mut [0]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_reader_that_is_gone_ends_the_connection() {
        let (stream, reader) = duplex(1000);
        let (mut gathered, flusher) = gathered(stream);
        drop(reader);
        let ended = flusher.drive(async move {
            gathered.write_all(&[0; 100]).await.unwrap();
            std::future::pending::<()>().await;
        });
        assert!(ended.await.is_err());
    }
}
