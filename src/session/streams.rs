//! `stream.open`, `stream.list`, `stream.close`, and the streams that a session holds; those with devices open in
//! `openings`.

use std::{collections::hash_map::Entry, sync::Arc};

use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

use super::{
    FRAME_CREDITS, Reply, Session, frames::no_stream, held::HeldSource, ok, openings::Opened, outbound::Outbound,
    sources::SourceRequest, stream_id,
};
use crate::{
    access::Scope,
    frame::{Format, fragment::Reassembler},
    message::{Failure, Request, page},
    source::SourceState,
    streams::{
        Feedback, Feedbacks, OpenIntake, Origin, Owner, Publisher, ResultEvent, StreamError, StreamId, StreamSnapshot,
        SubscriberSnapshot, Trouble,
    },
};

/// A stream of this session.
pub(super) struct OpenStream {
    pub(super) publisher: Arc<Publisher>,
    pub(super) feed: Feed,
    /// Carry back what concerns the stream; ended with it.
    _carriers: Vec<AbortOnDropHandle<()>>,
}

/// Where a stream's pictures come from.
pub(super) enum Feed {
    /// The client's `frame` and `packet` requests, and its WebSockets.
    Extension { intake: OpenIntake, reassembler: Reassembler },
    /// A thread of the hub.
    Source(HeldSource),
}

#[derive(Serialize)]
struct StreamPage {
    streams: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

#[derive(Serialize)]
pub(super) struct StreamCounters {
    stream_id: String,
    source: &'static str,
    session: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lost: Option<String>,
    width: u32,
    height: u32,
    format: &'static str,
    fps: f64,
    latency_ms: f64,
    received: u64,
    published: u64,
    rejected: u64,
    clamped: u64,
    lost_packets: u64,
    bytes: u64,
    dropped: u64,
    results_delivered: u64,
    results_dropped: u64,
    subscribers: Vec<SubscriberCounters>,
}

#[derive(Serialize)]
struct SubscriberCounters {
    subscriber_id: u64,
    depth: usize,
    delivered: u64,
    dropped: u64,
    queued: usize,
}

#[derive(Serialize)]
struct StreamEnded<'a> {
    stream_id: &'a str,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Trouble>,
}

#[derive(Serialize)]
struct StreamState<'a> {
    stream_id: &'a str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a Trouble>,
}

#[derive(Serialize)]
struct KeyFrameWanted<'a> {
    stream_id: &'a str,
}

#[derive(Serialize)]
struct ResultFields<'a> {
    stream_id: &'a str,
    frame_number: u32,
    result: &'a RawValue,
}

impl Session {
    pub(super) async fn stream_open(&mut self, request: &Request<'_>) -> Result<Reply, Failure> {
        let id = match request.optional::<&RawValue>("stream_id")? {
            Some(_) => stream_id(request)?,
            None => self.unused_stream_id()?,
        };
        let source = request.required::<SourceRequest>("source")?;
        // Before a file is looked for: whether there is one is told to nobody else.
        self.may(source.scope())?;
        match self.source(source)? {
            Some(spec) => self.open_source(request, id, spec).await,
            None => self.open_extension(&id),
        }
    }

    fn open_extension(&mut self, id: &StreamId) -> Result<Reply, Failure> {
        let origin = Origin { source: "extension", owner: self.owner(), is_lossless: false };
        let publisher = Arc::new(self.hub.streams().open(id, origin)?);
        let session = self.registration.access_id();
        let intake = self.hub.streams().open_intake(Arc::clone(&publisher), session, FRAME_CREDITS);
        let feed = Feed::Extension { intake, reassembler: Reassembler::default() };
        self.hold(id, publisher, feed);
        let frame_credits = Some(FRAME_CREDITS);
        ok(&Opened { stream_id: id.as_str(), source: "extension", frame_credits, granted: None })
    }

    /// Holds a stream from here on, and carries back what concerns it.
    pub(super) fn hold(&mut self, id: &StreamId, publisher: Arc<Publisher>, feed: Feed) {
        let feedback = carry_feedback(id.clone(), publisher.feedback(), self.out.clone());
        let mut carriers = vec![AbortOnDropHandle::new(tokio::spawn(feedback))];
        if let Feed::Source(source) = &feed {
            let finished = Arc::clone(&self.finished_sources);
            let state = carry_state(id.clone(), source.state(), finished, self.out.clone());
            carriers.push(AbortOnDropHandle::new(tokio::spawn(state)));
        }
        self.streams.insert(id.clone(), OpenStream { publisher, feed, _carriers: carriers });
        self.registration.set_streams(self.streams.len());
    }

    pub(super) fn stream_list(&self, request: &Request<'_>) -> Result<Reply, Failure> {
        self.may(Scope::Frames)?;
        let streams: Vec<_> = self.hub.streams().list().into_iter().map(StreamCounters::from).collect();
        let token = request.optional::<String>("page_token")?;
        let page = page(&streams, token.as_deref())?;
        ok(&StreamPage { streams: page.items, next_page_token: page.next_page_token })
    }

    pub(super) async fn stream_close(&mut self, request: &Request<'_>) -> Result<Reply, Failure> {
        let id = stream_id(request)?;
        if let Some(reply) = self.close_opening(request, &id) {
            return reply;
        }
        let Entry::Occupied(entry) = self.streams.entry(id) else {
            return Err(no_stream(&stream_id(request)?));
        };
        let (id, stream) = entry.remove_entry();
        self.acks.remove(&id);
        self.registration.set_streams(self.streams.len());
        ok(&StreamCounters::from(stream.close().await))
    }

    /// Closes the streams whose sources have come to their end by themselves.
    pub(super) async fn end_finished_sources(&mut self) {
        let ended = |stream: &OpenStream| match &stream.feed {
            Feed::Extension { .. } => None,
            Feed::Source(source) => source.ended(self.extension.as_deref()),
        };
        let finished: Vec<(StreamId, Option<Trouble>)> =
            self.streams.iter().filter_map(|(id, stream)| Some((id.clone(), ended(stream)?))).collect();
        for (id, trouble) in finished {
            self.end_stream(&id, trouble.as_ref()).await;
        }
    }

    /// Closes a stream and tells the client.
    pub(super) async fn end_stream(&mut self, id: &StreamId, error: Option<&Trouble>) {
        if let Some(stream) = self.streams.remove(id) {
            stream.close().await;
        }
        self.registration.set_streams(self.streams.len());
        let reason = if error.is_some() { "failed" } else { "finished" };
        self.out.event("stream_ended", StreamEnded { stream_id: id.as_str(), reason, error }).await;
    }

    pub(super) async fn close_all_streams(&mut self) {
        // First of all, so that they come to their end meanwhile.
        self.openings.clear();
        for (_, stream) in self.streams.drain() {
            stream.close().await;
        }
        self.subscriptions.clear();
        self.acks.clear();
        self.registration.set_streams(0);
    }

    /// Whose the streams are that this session opens.
    pub(super) fn owner(&self) -> Owner {
        Owner { name: Some(self.registration.session_id().to_owned()), extension: self.extension.clone() }
    }

    fn unused_stream_id(&mut self) -> Result<StreamId, Failure> {
        self.last_stream_number += 1;
        Ok(StreamId::parse(&format!("{}.{}", self.registration.session_id(), self.last_stream_number))?)
    }
}

impl OpenStream {
    /// Stops the source, if it has one, and tells the last counters.
    async fn close(self) -> StreamSnapshot {
        let counters = match self.feed {
            Feed::Source(source) => source.close().await,
            Feed::Extension { .. } => None,
        };
        counters.unwrap_or_else(|| self.publisher.snapshot())
    }
}

/// Hands feedback to the client until the stream is closed. A client that does not read loses the oldest, counted.
async fn carry_feedback(id: StreamId, feedback: Feedbacks, out: Outbound) {
    loop {
        match feedback.next().await {
            Feedback::Result(ResultEvent { stream_id, frame_number, json }) => {
                let result = ResultFields { stream_id: stream_id.as_str(), frame_number, result: &json };
                out.event("result", result).await;
            }
            Feedback::KeyFrameWanted => {
                out.event("key_frame_wanted", KeyFrameWanted { stream_id: id.as_str() }).await;
            }
        }
    }
}

/// Tells the client when a device goes and comes back, and the session when the source has ended.
async fn carry_state(id: StreamId, mut state: watch::Receiver<SourceState>, finished: Arc<Notify>, out: Outbound) {
    let mut is_lost = false;
    loop {
        let now = state.borrow_and_update().clone();
        match now {
            SourceState::Live if is_lost => {
                is_lost = false;
                out.event("stream_state", StreamState { stream_id: id.as_str(), state: "live", error: None }).await;
            }
            SourceState::Live => {}
            SourceState::Lost(trouble) => {
                is_lost = true;
                let error = Some(&trouble);
                out.event("stream_state", StreamState { stream_id: id.as_str(), state: "lost", error }).await;
            }
            SourceState::Ended(_) => return finished.notify_one(),
        }
        if state.changed().await.is_err() {
            return;
        }
    }
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        match error {
            StreamError::NoConsent(missing) => missing.into(),
            error => Self::new(error.kind(), error),
        }
    }
}

impl From<StreamSnapshot> for StreamCounters {
    fn from(stream: StreamSnapshot) -> Self {
        Self {
            stream_id: stream.stream_id,
            source: stream.source,
            session: stream.owner,
            lost: stream.trouble.map(|trouble| trouble.message),
            width: stream.width,
            height: stream.height,
            format: stream.format.map_or("", Format::as_str),
            fps: stream.fps,
            latency_ms: stream.latency_ms,
            received: stream.received,
            published: stream.published,
            rejected: stream.rejected,
            clamped: stream.clamped,
            lost_packets: stream.lost_packets,
            bytes: stream.bytes,
            dropped: stream.dropped,
            results_delivered: stream.results_delivered,
            results_dropped: stream.results_dropped,
            subscribers: stream.subscribers.into_iter().map(SubscriberCounters::from).collect(),
        }
    }
}

impl From<SubscriberSnapshot> for SubscriberCounters {
    fn from(subscriber: SubscriberSnapshot) -> Self {
        let SubscriberSnapshot { subscriber_id, depth, delivered, dropped, queued } = subscriber;
        Self { subscriber_id, depth, delivered, dropped, queued }
    }
}
