//! One subscriber's end of a stream.

use std::sync::Arc;

use super::{
    Sight, StreamId, SubscriberSnapshot, Trouble,
    queue::{FrameQueue, Item, Notice},
    stream::Stream,
    table::Streams,
};
use crate::frame::VideoFrame;

/// A picture with the number of those that this subscription has lost so far.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// The picture, shared with the other subscribers.
    pub frame: Arc<VideoFrame>,
    /// Pictures that this subscription has lost since it began.
    pub dropped: u64,
    /// Kind of the source.
    pub source: &'static str,
}

/// What a subscriber is told.
#[derive(Debug, Clone)]
pub enum Event {
    /// A picture.
    Frame(Delivered),
    /// Something about the source.
    Notice(Notice),
    /// Nothing will come any more; what ended it, if the stream did not come to its end.
    End(Option<Trouble>),
}

/// One subscriber's end. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscription {
    stream: Arc<Stream>,
    table: Streams,
    id: u64,
    queue: Arc<FrameQueue>,
    sight: Sight,
    /// The publisher's generation when it began.
    since: u64,
}

impl Subscription {
    pub(super) fn new(
        stream: Arc<Stream>,
        table: Streams,
        id: u64,
        queue: Arc<FrameQueue>,
        (sight, since): (Sight, u64),
    ) -> Self {
        Self { stream, table, id, queue, sight, since }
    }

    /// The stream's name.
    pub fn stream_id(&self) -> &StreamId {
        &self.stream.id
    }

    /// The next picture; `None` when the stream has ended: its publisher finished it, or has been gone for the linger.
    ///
    /// # Errors
    ///
    /// [`Trouble`], if that is what ended it.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub async fn next(&self) -> Result<Option<Delivered>, Trouble> {
        loop {
            match self.next_event().await {
                Event::Frame(delivered) => return Ok(Some(delivered)),
                Event::Notice(_) => {}
                Event::End(None) => return Ok(None),
                Event::End(Some(trouble)) => return Err(trouble),
            }
        }
    }

    /// As [`Self::next`], with what happens to the source between pictures.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub async fn next_event(&self) -> Event {
        loop {
            match self.queue.next().await {
                Item::Frame { frame, dropped, .. } => {
                    if let Err(missing) = self.stream.may_be_seen(&self.sight, Some(self.since)) {
                        return Event::End(Some(missing.into()));
                    }
                    return Event::Frame(Delivered { frame, dropped, source: self.stream.state().source });
                }
                Item::Notice(notice) => return Event::Notice(notice),
                Item::End(end) => return Event::End(end),
                // Its view has handed on what it had.
                Item::Left => {}
            }
        }
    }

    /// Counts a picture that was handed out and then could not be used.
    pub fn count_dropped(&self) {
        self.queue.count_dropped(1);
    }

    /// The counters now.
    pub fn snapshot(&self) -> SubscriberSnapshot {
        self.queue.snapshot(self.id)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.stream.unsubscribe(self.id);
        self.table.forget_if_unwanted(&self.stream);
    }
}
