//! What comes back to the one who feeds a stream: workers' results, and wishes for a key frame.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::value::RawValue;
use tokio::sync::Notify;

use super::{MAX_WAITING_RESULTS, StreamId};

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

/// What comes back.
#[derive(Debug, Clone)]
pub enum Feedback {
    /// A worker's result.
    Result(ResultEvent),
    /// A decoder, or a subscriber that has just come, can go on only from a key frame.
    KeyFrameWanted,
}

/// What became of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ResultFate {
    Delivered,
    /// An older one was lost for it, or nobody holds the stream.
    Dropped,
}

/// Feedback on its way to the publisher.
#[derive(Debug, Default)]
pub(super) struct FeedbackQueue {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    results: VecDeque<ResultEvent>,
    /// One wish is as good as many.
    key_frame_wanted: bool,
}

impl FeedbackQueue {
    pub(super) fn push_result(&self, event: ResultEvent) -> ResultFate {
        let mut state = self.state();
        state.results.push_back(event);
        let fate = if state.results.len() > MAX_WAITING_RESULTS {
            state.results.pop_front();
            ResultFate::Dropped
        } else {
            ResultFate::Delivered
        };
        drop(state);
        self.arrived.notify_one();
        fate
    }

    pub(super) fn want_key_frame(&self) {
        self.state().key_frame_wanted = true;
        self.arrived.notify_one();
    }

    fn take(&self) -> Option<Feedback> {
        let mut state = self.state();
        if std::mem::take(&mut state.key_frame_wanted) {
            return Some(Feedback::KeyFrameWanted);
        }
        state.results.pop_front().map(Feedback::Result)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The feedback of one stream. It may outlive it, but then none comes any more.
#[derive(Debug)]
pub struct Feedbacks {
    queue: Arc<FeedbackQueue>,
}

impl Feedbacks {
    pub(super) const fn new(queue: Arc<FeedbackQueue>) -> Self {
        Self { queue }
    }

    /// What comes next.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub async fn next(&self) -> Feedback {
        loop {
            let arrived = self.queue.arrived.notified();
            if let Some(feedback) = self.queue.take() {
                return feedback;
            }
            arrived.await;
        }
    }
}
