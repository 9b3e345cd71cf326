//! The one who feeds a stream.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Feedbacks, StreamId, StreamSnapshot, Trouble, feedback::FeedbackQueue, stream::Stream, table::Streams};
use crate::frame::VideoFrame;

/// Who opens a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    /// The session or call, as `stream.list` shows it.
    pub name: Option<String>,
    /// The extension whose session it is; `None`: a program of the user's own.
    pub extension: Option<String>,
}

/// Who opens a stream, and how it is fed.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// Kind of the source, as `stream.list` shows it.
    pub source: &'static str,
    /// Who opens it.
    pub owner: Owner,
    /// The publisher waits for its subscribers ([`Publisher::wait_for_room`]), and loses nothing.
    pub is_lossless: bool,
}

/// The one who feeds a stream. Dropping it starts the linger; subscribers that [`Publisher::finish`] has told the end do
/// not wait for it.
#[derive(Debug)]
pub struct Publisher {
    stream: Arc<Stream>,
    table: Streams,
    feedback: Arc<FeedbackQueue>,
}

impl Publisher {
    pub(super) const fn new(stream: Arc<Stream>, table: Streams, feedback: Arc<FeedbackQueue>) -> Self {
        Self { stream, table, feedback }
    }

    /// The stream's name.
    pub fn stream_id(&self) -> &StreamId {
        &self.stream.id
    }

    /// Hands a picture to every subscriber and returns its number. Never waits.
    ///
    /// `frame_number`: the source's own, or `None` for the last plus one (0 at first, and after
    /// [`crate::frame::MAX_FRAME_NUMBER`]). A timestamp that does not increase is moved to the last plus one, and
    /// counted.
    pub fn publish(&self, frame: VideoFrame, frame_number: Option<u32>) -> u32 {
        self.stream.publish(&self.table, frame, frame_number, None)
    }

    /// As [`Self::publish`], for a picture that its device had at `captured_at`: the time since then is its latency.
    pub fn publish_captured(&self, frame: VideoFrame, frame_number: Option<u32>, captured_at: Instant) -> u32 {
        self.stream.publish(&self.table, frame, frame_number, Some(captured_at))
    }

    /// Waits until there is a subscriber and every one has room for another picture, those apart who want only the
    /// latest; for at most `timeout`. For the publisher of a lossless stream, on its own thread.
    pub fn wait_for_room(&self, timeout: Duration) -> bool {
        self.stream.room.wait(timeout, || self.stream.has_room())
    }

    /// Counts a picture that could not be published.
    pub fn reject(&self) {
        let mut state = self.stream.state();
        state.counters.received += 1;
        state.counters.rejected += 1;
    }

    /// Says how many packets were lost in parts on their way here, since the stream was opened.
    pub fn set_lost_packets(&self, lost_packets: u64) {
        self.stream.state().counters.lost_packets = lost_packets;
    }

    /// Tells subscribers that the device is gone and looked for (`Some`), or back.
    pub fn set_trouble(&self, trouble: Option<Trouble>) {
        self.stream.set_trouble(trouble);
    }

    /// Ends the stream for its subscribers, after the pictures that wait, without a linger. `trouble`: what ended it,
    /// if it did not come to its end.
    pub fn finish(&self, trouble: Option<&Trouble>) {
        self.stream.finish(trouble);
    }

    /// What comes back: workers' results, and wishes for a key frame.
    pub fn feedback(&self) -> Feedbacks {
        Feedbacks::new(Arc::clone(&self.feedback))
    }

    /// Does anybody watch?
    pub fn has_subscribers(&self) -> bool {
        self.stream.has_subscribers()
    }

    /// The counters now.
    pub fn snapshot(&self) -> StreamSnapshot {
        self.stream.snapshot()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let generation = self.stream.detach();
        self.table.publisher_left(&self.stream, generation);
    }
}
