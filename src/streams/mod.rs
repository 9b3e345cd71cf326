//! Fan-out of video frames from one publisher per stream to any number of subscribers.
//!
//! Belongs here: the stream table, per-stream queues, drop counts, lingering, wishes, feedback to the publisher.
//! Does not belong here: pixel layouts (`frame`), sockets (`grpc`), where pictures come from (`source`, `session`).
//!
//! Invariants:
//! - [`Publisher::publish`] never waits; a file's source waits for room before it. A slow subscriber loses its own oldest
//!   frames and nobody else's.
//! - Every lost frame is counted in the `dropped` of the subscription that lost it, and in its stream's.
//! - Pixels are stored once; the queues share them (gRPC copies them once for each subscriber, when it encodes).
//! - A stream has one publisher at most. It exists while it has a publisher or a subscriber.
//! - What two subscribers want alike is converted once, on a thread of that view.
//!
//! Data path: `session` or `source` -> [`Publisher::publish`] -> (`view` ->) `queue` -> [`Subscription::next`] ->
//! `grpc::frames`.

mod counters;
mod events;
mod feedback;
mod intake;
mod publisher;
mod queue;
mod sight;
mod stream;
mod subscription;
mod table;
mod trouble;
mod view;
mod wish;

use std::time::Duration;

pub use self::{
    counters::{StreamSnapshot, SubscriberSnapshot},
    events::{FrameAck, SubscriptionEnded},
    feedback::{Feedback, Feedbacks, ResultEvent},
    intake::{Intake, OpenIntake, PictureFields},
    publisher::{Origin, Owner, Publisher},
    queue::{MAX_FIFO_DEPTH, Notice, Queue, QueueError},
    sight::{NoConsent, Sight},
    subscription::{Delivered, Event, Subscription},
    table::Streams,
    trouble::Trouble,
    wish::{Wish, WishError},
};
use crate::error::ErrorKind;

/// Streams of one hub.
pub const MAX_STREAMS: usize = 256;

/// Streams that one extension was the first to open or to wait for: others find room.
pub const MAX_STREAMS_OF_ONE: usize = 128;

/// Subscribers of one stream.
pub const MAX_SUBSCRIBERS: usize = 64;

/// Subscribers of one stream that one extension has.
pub const MAX_SUBSCRIBERS_OF_ONE: usize = 32;

/// Different wishes about one stream: each may cost a thread.
pub const MAX_VIEWS: usize = 16;

/// Longest stream id, in bytes.
pub const MAX_STREAM_ID_BYTES: usize = 128;

/// Results that wait for a session that reads too slowly; the oldest goes first.
pub const MAX_WAITING_RESULTS: usize = 64;

/// How long subscribers stay when the publisher goes, so that a service worker's restart does not cut them.
pub const LINGER: Duration = Duration::from_secs(10);

/// Hub-wide name of a stream: 1 to 128 of `A-Z a-z 0-9 . _ : -`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(String);

impl StreamId {
    /// Reads a name.
    ///
    /// # Errors
    ///
    /// [`StreamError::BadId`] if it is empty, too long, or has other characters.
    pub fn parse(id: &str) -> Result<Self, StreamError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        if (1..=MAX_STREAM_ID_BYTES).contains(&id.len()) && id.bytes().all(allowed) {
            return Ok(Self(id.to_owned()));
        }
        Err(StreamError::BadId { id: id.chars().take(32).collect() })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for StreamId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// How to subscribe.
#[derive(Debug, Clone, Default)]
pub struct SubscribeOptions {
    /// Also to a stream that nobody has opened yet.
    pub wait: bool,
    /// Which pictures are kept while the subscriber is busy.
    pub queue: Queue,
    /// What is accepted; anything unless set.
    pub wish: Wish,
    /// Which sources may be seen; any unless set.
    pub sight: Sight,
}

/// Why a stream cannot be opened, found or subscribed to.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each field is named in its variant's message")]
pub enum StreamError {
    /// No name for a stream.
    #[error("stream id {id:?} is not 1 to {MAX_STREAM_ID_BYTES} of A-Z a-z 0-9 . _ : -")]
    BadId { id: String },

    /// Nobody opened it, or its publisher is gone.
    #[error("no stream {id:?}")]
    NotFound { id: String },

    /// The user has not said that the extension may have pictures of such a source.
    #[error("{}", .0.advice)]
    NoConsent(NoConsent),

    /// It has a publisher already.
    #[error("stream {id:?} is open already")]
    AlreadyOpen { id: String },

    /// The hub is full.
    #[error("the hub has {limit} streams already")]
    TooManyStreams { limit: usize },

    /// The extension has had its share.
    #[error("this extension has {limit} streams already")]
    TooManyStreamsOfOne { limit: usize },

    /// The stream is full.
    #[error("stream {id:?} has {limit} subscribers already")]
    TooManySubscribers { id: String, limit: usize },

    /// The extension has had its share of the stream.
    #[error("stream {id:?} has {limit} subscribers of this extension already")]
    TooManySubscribersOfOne { id: String, limit: usize },

    /// The stream is shown in too many ways.
    #[error("the stream is subscribed to with {limit} different formats, sizes and rates already")]
    TooManyViews { limit: usize },
}

impl StreamError {
    /// Class reported to peers.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::BadId { .. } => ErrorKind::InvalidArgument,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::NoConsent(_) => ErrorKind::PermissionDenied,
            Self::AlreadyOpen { .. } => ErrorKind::AlreadyExists,
            Self::TooManyStreams { .. }
            | Self::TooManyStreamsOfOne { .. }
            | Self::TooManySubscribers { .. }
            | Self::TooManySubscribersOfOne { .. }
            | Self::TooManyViews { .. } => ErrorKind::ResourceExhausted,
        }
    }
}

#[cfg(test)]
mod tests;
