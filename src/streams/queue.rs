//! One subscriber's queue: bounded in pictures and in bytes. A live one is lossy at its old end; one that a lossless
//! stream fills makes its publisher wait.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{SubscriberSnapshot, Trouble, stream::Shown};
use crate::frame::VideoFrame;

/// Most pictures that a FIFO may hold.
pub const MAX_FIFO_DEPTH: usize = 256;

/// Pictures that a lossless stream keeps ready for a subscriber that names no depth.
const LOSSLESS_DEPTH: usize = 8;

/// Packets of a video codec that are kept for a subscriber that names no depth: one alone is of no use, as it builds on
/// those before it.
const INTER_CODED_DEPTH: usize = 64;

/// Most bytes that a queue holds beside its newest picture (256 MiB: some 40 raw pictures of 1080p).
const MAX_QUEUE_BYTES: usize = 256 << 20;

/// Which pictures are kept while a subscriber is busy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Queue {
    /// What suits the stream: of a live one only the newest, of a lossless one everything, as the publisher waits.
    #[default]
    Suitable,
    /// Only the newest.
    Latest,
    /// The newest `depth`, in order; of a lossless stream everything. Made by [`Queue::fifo`].
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

    const fn depths(self) -> Depths {
        match self {
            Self::Suitable => Depths { live: 1, packets: INTER_CODED_DEPTH, lossless: Some(LOSSLESS_DEPTH) },
            Self::Latest => Depths { live: 1, packets: INTER_CODED_DEPTH, lossless: None },
            Self::Fifo { depth } => Depths { live: depth, packets: depth, lossless: Some(depth) },
        }
    }
}

/// How many pictures a queue holds at most, by what the stream carries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Depths {
    /// Pictures that show themselves.
    pub(super) live: usize,
    /// Packets that build on others.
    pub(super) packets: usize,
    /// Pictures of a lossless stream, whose publisher waits; `None`: it does not wait for this one.
    pub(super) lossless: Option<usize>,
}

impl Depths {
    const fn of_pictures(self, is_lossless: bool) -> usize {
        match self.lossless {
            Some(depth) if is_lossless => depth,
            Some(_) | None => self.live,
        }
    }
}

/// Told when a queue has room again, or goes: what a lossless publisher waits on. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub(super) struct Room {
    shared: Arc<(Mutex<u64>, Condvar)>,
}

impl Room {
    /// Something has changed: look again.
    pub(super) fn tell(&self) {
        let (changes, told) = &*self.shared;
        let mut changes = changes.lock().unwrap_or_else(PoisonError::into_inner);
        *changes = changes.wrapping_add(1);
        told.notify_all();
    }

    /// Waits until `has_room` says so, for at most `timeout`.
    pub(super) fn wait(&self, timeout: Duration, has_room: impl Fn() -> bool) -> bool {
        let (changes, told) = &*self.shared;
        let due = Instant::now() + timeout;
        loop {
            let seen = *changes.lock().unwrap_or_else(PoisonError::into_inner);
            // Without the lock: the look takes others. A change meanwhile is seen by its number.
            if has_room() {
                return true;
            }
            let mut now = changes.lock().unwrap_or_else(PoisonError::into_inner);
            while *now == seen {
                let left = due.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return false;
                }
                now = told.wait_timeout(now, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }
}

/// The queue between a stream and one subscriber.
#[derive(Debug)]
pub(super) struct FrameQueue {
    depths: Depths,
    room: Room,
    state: Mutex<State>,
    changed: Notify,
    changed_blocking: Condvar,
}

/// A picture, and whether its publisher waits for room: another one may have gone before it, or come behind it.
#[derive(Debug)]
struct Waiting {
    frame: Arc<VideoFrame>,
    is_lossless: bool,
}

#[derive(Debug, Default)]
struct State {
    frames: VecDeque<Waiting>,
    bytes: usize,
    notices: VecDeque<Notice>,
    delivered: u64,
    dropped: u64,
    /// Packets build on others that this subscriber does not have: none is of use before the next key frame.
    waits_for_key_frame: bool,
    is_begun: bool,
    is_lossless: bool,
    is_left: bool,
    end: Option<End>,
}

/// Something about the source, between pictures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Its device is gone, and looked for.
    Lost(Trouble),
    /// The device is back.
    Back,
}

/// Notices that wait; the oldest goes first.
const MAX_NOTICES: usize = 4;

/// How a stream ended; `None`: it came to its end.
type End = Option<Trouble>;

/// What a queue holds next.
#[derive(Debug)]
pub(super) enum Item {
    /// A picture.
    Frame {
        frame: Arc<VideoFrame>,
        /// Pictures that were dropped so far.
        dropped: u64,
        /// Its publisher waits for room, so that none is lost.
        is_lossless: bool,
    },
    /// The publisher has left: another may come, but what waits for its next pictures need not wait any longer.
    Left,
    /// Something about the source.
    Notice(Notice),
    /// Nothing will come any more.
    End(End),
}

impl FrameQueue {
    pub(super) fn new(queue: Queue, room: Room) -> Self {
        Self::with_depths(queue.depths(), room)
    }

    pub(super) fn with_depths(depths: Depths, room: Room) -> Self {
        Self { depths, room, state: Mutex::default(), changed: Notify::new(), changed_blocking: Condvar::new() }
    }

    /// Appends a picture and returns how many had to go for it, itself included where it is of no use.
    pub(super) fn push(&self, frame: Arc<VideoFrame>, shown: Shown, is_lossless: bool) -> u64 {
        let mut state = self.state();
        if state.end.is_some() {
            return 0;
        }
        state.is_lossless = is_lossless;
        // There is another.
        state.is_left = false;
        let waiting = Waiting { frame, is_lossless };
        let dropped = match shown {
            Shown::Alone => state.push(waiting, self.depths.of_pictures(is_lossless)),
            Shown::KeyFrame | Shown::AfterOthers => {
                state.push_packet(waiting, shown == Shown::KeyFrame, self.depths.packets)
            }
        };
        state.dropped += dropped;
        drop(state);
        self.tell();
        dropped
    }

    /// Would a picture fit without another's having to go?
    pub(super) fn has_room(&self) -> bool {
        let Some(depth) = self.depths.lossless else {
            return true;
        };
        let state = self.state();
        state.end.is_some() || state.frames.is_empty() || (state.frames.len() < depth && state.bytes < MAX_QUEUE_BYTES)
    }

    /// Counts pictures that were lost on their way here.
    pub(super) fn count_dropped(&self, dropped: u64) {
        self.state().dropped += dropped;
    }

    /// Says something about the source, after the pictures that wait.
    pub(super) fn notify(&self, notice: Notice) {
        let mut state = self.state();
        if state.notices.len() == MAX_NOTICES {
            state.notices.pop_front();
        }
        state.notices.push_back(notice);
        drop(state);
        self.tell();
    }

    /// Says, after the pictures that wait, that their publisher has left.
    pub(super) fn leave(&self) {
        self.state().is_left = true;
        self.tell();
    }

    /// No more pictures will come; those that wait are still handed out.
    pub(super) fn close(&self, end: End) {
        let mut state = self.state();
        if state.end.is_none() {
            state.end = Some(end);
        }
        drop(state);
        self.tell();
        self.room.tell();
    }

    /// What is next.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub(super) async fn next(&self) -> Item {
        loop {
            let changed = self.changed.notified();
            if let Some(item) = self.take() {
                return item;
            }
            changed.await;
        }
    }

    /// What is next, for a thread; `None` if nothing came in time.
    pub(super) fn next_blocking(&self, timeout: Duration) -> Option<Item> {
        let due = Instant::now() + timeout;
        let mut state = self.state();
        loop {
            if let Some(item) = state.take() {
                drop(state);
                self.room.tell();
                return Some(item);
            }
            let left = due.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            state = self.changed_blocking.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The counters now, under the subscriber's number.
    pub(super) fn snapshot(&self, subscriber_id: u64) -> SubscriberSnapshot {
        let state = self.state();
        SubscriberSnapshot {
            subscriber_id,
            depth: self.depths.of_pictures(state.is_lossless),
            delivered: state.delivered,
            dropped: state.dropped,
            queued: state.frames.len(),
        }
    }

    /// Pictures lost so far.
    pub(super) fn dropped(&self) -> u64 {
        self.state().dropped
    }

    fn take(&self) -> Option<Item> {
        let item = self.state().take();
        if item.is_some() {
            self.room.tell();
        }
        item
    }

    fn tell(&self) {
        self.changed.notify_one();
        self.changed_blocking.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self) -> Option<Item> {
        if let Some(Waiting { frame, is_lossless }) = self.remove(0) {
            self.delivered += 1;
            return Some(Item::Frame { frame, dropped: self.dropped, is_lossless });
        }
        if std::mem::take(&mut self.is_left) {
            return Some(Item::Left);
        }
        if let Some(notice) = self.notices.pop_front() {
            return Some(Item::Notice(notice));
        }
        self.end.clone().map(Item::End)
    }

    /// Appends a picture that shows itself; the oldest go.
    fn push(&mut self, waiting: Waiting, depth: usize) -> u64 {
        let kept = self.kept_before(&waiting);
        self.append(waiting);
        let mut dropped = 0;
        let len = |state: &Self| state.frames.len() - kept;
        while len(self) > depth || (self.bytes > MAX_QUEUE_BYTES && len(self) > 1) {
            self.remove(kept);
            dropped += 1;
        }
        dropped
    }

    /// How many pictures stay whatever comes: those of a lossless publisher, which a live one has followed.
    fn kept_before(&self, next: &Waiting) -> usize {
        let last = || self.frames.iter().rposition(|waiting| waiting.is_lossless);
        if next.is_lossless { 0 } else { last().map_or(0, |last| last + 1) }
    }

    /// Appends a packet that others build on. Where there is no room everything goes, up to the next key frame.
    fn push_packet(&mut self, waiting: Waiting, is_key_frame: bool, depth: usize) -> u64 {
        if !self.is_begun {
            self.is_begun = true;
            self.waits_for_key_frame = true;
        }
        if self.waits_for_key_frame && !is_key_frame {
            return 1;
        }
        self.waits_for_key_frame = false;
        let mut dropped = 0;
        let kept = self.kept_before(&waiting);
        let len = self.frames.len() - kept;
        let is_full = len >= depth || self.bytes + waiting.frame.held_bytes() > MAX_QUEUE_BYTES;
        if is_full && len > 0 {
            while self.remove(kept).is_some() {
                dropped += 1;
            }
            if !is_key_frame {
                self.waits_for_key_frame = true;
                return dropped + 1;
            }
        }
        self.append(waiting);
        dropped
    }

    fn append(&mut self, waiting: Waiting) {
        self.bytes += waiting.frame.held_bytes();
        self.frames.push_back(waiting);
    }

    fn remove(&mut self, at: usize) -> Option<Waiting> {
        let waiting = self.frames.remove(at)?;
        self.bytes -= waiting.frame.held_bytes();
        Some(waiting)
    }
}
