//! One subscriber's queue: bounded in pictures and in bytes, and lossy at its old end.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;

use crate::frame::VideoFrame;

/// Most pictures that a FIFO may hold.
pub const MAX_FIFO_DEPTH: usize = 256;

/// Most bytes that a queue holds beside its newest picture (256 MiB: some 40 raw pictures of 1080p).
const MAX_QUEUE_BYTES: usize = 256 << 20;

/// Which pictures are kept while a subscriber is busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// Only the newest.
    Latest,
    /// The newest `depth`, in order. Made by [`Queue::fifo`].
    Fifo {
        /// `1..=MAX_FIFO_DEPTH`.
        depth: usize,
    },
}

/// A FIFO depth outside `1..=MAX_FIFO_DEPTH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("fifo depth {depth} is outside 1 to {MAX_FIFO_DEPTH}")]
pub struct QueueError {
    /// What was asked for.
    pub depth: i64,
}

impl Queue {
    /// A FIFO.
    ///
    /// # Errors
    ///
    /// [`QueueError`] if `depth` is outside `1..=MAX_FIFO_DEPTH`.
    pub fn fifo(depth: i64) -> Result<Self, QueueError> {
        match usize::try_from(depth) {
            Ok(valid @ 1..=MAX_FIFO_DEPTH) => Ok(Self::Fifo { depth: valid }),
            Ok(_) | Err(_) => Err(QueueError { depth }),
        }
    }

    /// Pictures that the queue holds at most.
    pub const fn depth(self) -> usize {
        match self {
            Self::Latest => 1,
            Self::Fifo { depth } => depth,
        }
    }
}

/// The queue between a stream and one subscriber.
#[derive(Debug)]
pub(super) struct FrameQueue {
    depth: usize,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Arc<VideoFrame>>,
    bytes: usize,
    delivered: u64,
    dropped: u64,
    closed: bool,
}

/// A queue's counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueueCounts {
    pub(super) delivered: u64,
    pub(super) dropped: u64,
    pub(super) queued: usize,
}

impl FrameQueue {
    pub(super) fn new(queue: Queue) -> Self {
        Self { depth: queue.depth(), state: Mutex::default(), changed: Notify::new() }
    }

    pub(super) const fn depth(&self) -> usize {
        self.depth
    }

    /// Appends a picture and returns how many older ones had to go.
    pub(super) fn push(&self, frame: Arc<VideoFrame>) -> u64 {
        let mut state = self.state();
        if state.closed {
            return 0;
        }
        state.bytes += frame.held_bytes();
        state.frames.push_back(frame);
        let mut dropped = 0;
        while state.frames.len() > self.depth || (state.bytes > MAX_QUEUE_BYTES && state.frames.len() > 1) {
            state.pop();
            dropped += 1;
        }
        state.dropped += dropped;
        drop(state);
        self.changed.notify_one();
        dropped
    }

    /// No more pictures will come; those that wait are still handed out.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_one();
    }

    /// The oldest waiting picture with the number of those dropped so far; `None` after the last one.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub(super) async fn next(&self) -> Option<(Arc<VideoFrame>, u64)> {
        loop {
            let changed = self.changed.notified();
            {
                let mut state = self.state();
                if let Some(frame) = state.pop() {
                    state.delivered += 1;
                    return Some((frame, state.dropped));
                }
                if state.closed {
                    return None;
                }
            }
            changed.await;
        }
    }

    pub(super) fn counts(&self) -> QueueCounts {
        let state = self.state();
        QueueCounts { delivered: state.delivered, dropped: state.dropped, queued: state.frames.len() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pop(&mut self) -> Option<Arc<VideoFrame>> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.held_bytes();
        Some(frame)
    }
}
