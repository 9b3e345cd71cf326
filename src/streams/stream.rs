//! One stream: its publisher, its subscribers, and the results that come back.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use serde_json::value::RawValue;
use tokio::sync::Notify;

use super::{
    MAX_SUBSCRIBERS, MAX_WAITING_RESULTS, StreamError, StreamId, StreamSnapshot, SubscriberSnapshot,
    counters::Counters,
    queue::{FrameQueue, Queue},
    table::Streams,
};
use crate::frame::{MAX_FRAME_NUMBER, VideoFrame};

/// A stream as the table holds it.
#[derive(Debug)]
pub(super) struct Stream {
    id: StreamId,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    publisher: Option<PublisherState>,
    /// Counts publishers, so that a linger that ends late does not end the next publisher's stream.
    generation: u64,
    lingering: bool,
    subscribers: Vec<(u64, Arc<FrameQueue>)>,
    last_subscriber_id: u64,
    last_place: Option<(u32, u64)>,
    counters: Counters,
    source: &'static str,
}

#[derive(Debug)]
struct PublisherState {
    session: Option<String>,
    results: Arc<Results>,
}

/// What a worker found in a picture.
#[derive(Debug, Clone)]
pub struct ResultEvent {
    /// The stream that the picture belongs to.
    pub stream_id: StreamId,
    /// The picture's number.
    pub frame_number: u32,
    /// The worker's JSON as it came.
    pub json: Arc<RawValue>,
}

/// Results on their way to the publisher.
#[derive(Debug, Default)]
struct Results {
    waiting: Mutex<VecDeque<ResultEvent>>,
    arrived: Notify,
}

/// What became of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResultFate {
    Delivered,
    /// An older one was lost for it, or nobody holds the stream.
    Dropped,
}

impl Stream {
    pub(super) fn new(id: StreamId) -> Self {
        Self { id, state: Mutex::default() }
    }

    pub(super) const fn id(&self) -> &StreamId {
        &self.id
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn has_publisher(&self) -> bool {
        self.state().publisher.is_some()
    }

    /// Is there anybody for whom the table should keep this stream?
    pub(super) fn is_wanted(&self) -> bool {
        let state = self.state();
        state.publisher.is_some() || !state.subscribers.is_empty()
    }

    pub(super) fn attach(
        self: &Arc<Self>,
        table: &Streams,
        source: &'static str,
        session: Option<String>,
    ) -> Result<Publisher, StreamError> {
        let mut state = self.state();
        if state.publisher.is_some() {
            return Err(StreamError::AlreadyOpen { id: self.id.to_string() });
        }
        let results = Arc::new(Results::default());
        state.publisher = Some(PublisherState { session, results: Arc::clone(&results) });
        state.generation += 1;
        state.lingering = false;
        state.source = source;
        Ok(Publisher { stream: Arc::clone(self), table: table.clone(), results })
    }

    pub(super) fn subscribe(self: &Arc<Self>, table: &Streams, queue: Queue) -> Result<Subscription, StreamError> {
        let mut state = self.state();
        if state.subscribers.len() >= MAX_SUBSCRIBERS {
            return Err(StreamError::TooManySubscribers { id: self.id.to_string(), limit: MAX_SUBSCRIBERS });
        }
        state.last_subscriber_id += 1;
        let id = state.last_subscriber_id;
        let queue = Arc::new(FrameQueue::new(queue));
        state.subscribers.push((id, Arc::clone(&queue)));
        Ok(Subscription { stream: Arc::clone(self), table: table.clone(), id, queue })
    }

    /// Ends a linger that nobody used: every subscription gets its last pictures and then the end.
    pub(super) fn end_linger(&self, generation: u64) {
        let state = self.state();
        if state.lingering && state.generation == generation {
            for (_, queue) in &state.subscribers {
                queue.close();
            }
        }
    }

    pub(super) fn give_result(&self, frame_number: u32, json: Arc<RawValue>) -> ResultFate {
        let mut state = self.state();
        let Some(publisher) = &state.publisher else {
            state.counters.results_dropped += 1;
            return ResultFate::Dropped;
        };
        let fate = publisher.results.push(ResultEvent { stream_id: self.id.clone(), frame_number, json });
        match fate {
            ResultFate::Delivered => state.counters.results_delivered += 1,
            ResultFate::Dropped => state.counters.results_dropped += 1,
        }
        fate
    }

    pub(super) fn snapshot(&self) -> StreamSnapshot {
        let state = self.state();
        let counters = &state.counters;
        StreamSnapshot {
            stream_id: self.id.to_string(),
            source: state.source,
            session: state.publisher.as_ref().and_then(|publisher| publisher.session.clone()),
            width: counters.last.map_or(0, |(_, width, _)| width),
            height: counters.last.map_or(0, |(_, _, height)| height),
            format: counters.last.map(|(format, _, _)| format),
            fps: counters.fps(Instant::now()),
            received: counters.received,
            published: counters.published,
            rejected: counters.rejected,
            clamped: counters.clamped,
            bytes: counters.bytes,
            dropped: counters.dropped,
            results_delivered: counters.results_delivered,
            results_dropped: counters.results_dropped,
            subscribers: state
                .subscribers
                .iter()
                .map(|(id, queue)| {
                    let counts = queue.counts();
                    SubscriberSnapshot {
                        subscriber_id: *id,
                        depth: queue.depth(),
                        delivered: counts.delivered,
                        dropped: counts.dropped,
                        queued: counts.queued,
                    }
                })
                .collect(),
        }
    }
}

impl Results {
    fn push(&self, event: ResultEvent) -> ResultFate {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push_back(event);
        let fate = if waiting.len() > MAX_WAITING_RESULTS {
            waiting.pop_front();
            ResultFate::Dropped
        } else {
            ResultFate::Delivered
        };
        drop(waiting);
        self.arrived.notify_one();
        fate
    }

    async fn next(&self) -> ResultEvent {
        loop {
            let arrived = self.arrived.notified();
            let first = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            match first {
                Some(event) => return event,
                None => arrived.await,
            }
        }
    }
}

/// The one who feeds a stream. Dropping it starts the linger.
#[derive(Debug)]
pub struct Publisher {
    stream: Arc<Stream>,
    table: Streams,
    results: Arc<Results>,
}

impl Publisher {
    /// The stream's name.
    pub fn stream_id(&self) -> &StreamId {
        &self.stream.id
    }

    /// Hands a picture to every subscriber and returns its number. Never waits.
    ///
    /// `frame_number`: the source's own, or `None` for the last plus one (0 at first, and after [`MAX_FRAME_NUMBER`]).
    /// A timestamp that does not increase is moved to the last plus one, and counted.
    pub fn publish(&self, frame: VideoFrame, frame_number: Option<u32>) -> u32 {
        let mut state = self.stream.state();
        let (next_number, earliest_ms) = match state.last_place {
            Some((number, timestamp_ms)) if number < MAX_FRAME_NUMBER => (number + 1, timestamp_ms + 1),
            Some((_, timestamp_ms)) => (0, timestamp_ms + 1),
            None => (0, 0),
        };
        let number = frame_number.unwrap_or(next_number);
        if frame.timestamp_ms() < earliest_ms {
            state.counters.clamped += 1;
        }
        let timestamp_ms = frame.timestamp_ms().max(earliest_ms);
        state.last_place = Some((number, timestamp_ms));
        let frame = Arc::new(frame.with_place(number, timestamp_ms));
        state.counters.received += 1;
        state.counters.count_published(&frame, Instant::now());
        let mut dropped = 0;
        for (_, queue) in &state.subscribers {
            dropped += queue.push(Arc::clone(&frame));
        }
        state.counters.dropped += dropped;
        number
    }

    /// Counts a picture that could not be published.
    pub fn reject(&self) {
        let mut state = self.stream.state();
        state.counters.received += 1;
        state.counters.rejected += 1;
    }

    /// Where the results that workers publish for this stream arrive.
    pub fn results(&self) -> ResultEvents {
        ResultEvents { results: Arc::clone(&self.results) }
    }

    /// The counters now.
    pub fn snapshot(&self) -> StreamSnapshot {
        self.stream.snapshot()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        let generation = {
            let mut state = self.stream.state();
            state.publisher = None;
            state.lingering = true;
            state.generation
        };
        self.table.publisher_left(&self.stream, generation);
    }
}

/// The results for one stream. They may outlive it, but then none come any more.
#[derive(Debug)]
pub struct ResultEvents {
    results: Arc<Results>,
}

impl ResultEvents {
    /// The next result.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub async fn next(&self) -> ResultEvent {
        self.results.next().await
    }
}

/// A picture with the number of those that this subscription has lost so far.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// The picture, shared with the other subscribers.
    pub frame: Arc<VideoFrame>,
    /// Pictures dropped from this subscription's queue since it began.
    pub dropped: u64,
    /// Kind of the source.
    pub source: &'static str,
}

/// One subscriber's end. Dropping it ends the subscription.
#[derive(Debug)]
pub struct Subscription {
    stream: Arc<Stream>,
    table: Streams,
    id: u64,
    queue: Arc<FrameQueue>,
}

impl Subscription {
    /// The stream's name.
    pub fn stream_id(&self) -> &StreamId {
        &self.stream.id
    }

    /// The next picture; `None` when the publisher has been gone for the linger.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub async fn next(&self) -> Option<Delivered> {
        let (frame, dropped) = self.queue.next().await?;
        let source = self.stream.state().source;
        Some(Delivered { frame, dropped, source })
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.stream.state().subscribers.retain(|(id, _)| *id != self.id);
        self.table.forget_if_unwanted(&self.stream);
    }
}
