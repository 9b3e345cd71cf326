//! `stream.open`, `stream.list`, `stream.close`, and the streams that a session holds.

use std::{collections::hash_map::Entry, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio_util::task::AbortOnDropHandle;

use super::{FRAME_CREDITS, Reply, Session, frames::no_stream, ok, outbound::Outbound, stream_id};
use crate::{
    error::ErrorKind,
    frame::Format,
    message::{Failure, MessageError, Request, page},
    source::synthetic::{Synthetic, SyntheticError, SyntheticOptions},
    streams::{Publisher, ResultEvent, ResultEvents, StreamError, StreamId, StreamSnapshot, SubscriberSnapshot},
};

/// A stream of this session.
pub(super) struct OpenStream {
    pub(super) publisher: Arc<Publisher>,
    pub(super) feed: Feed,
    /// Carries results back; ended with the stream.
    _results: AbortOnDropHandle<()>,
}

/// Where a stream's pictures come from.
pub(super) enum Feed {
    /// The client's `frame` and `packet` requests.
    Extension { credits: u32 },
    /// A thread of the hub.
    Synthetic(Synthetic),
}

/// `source` in `stream.open`.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum SourceRequest {
    Extension,
    Synthetic(SyntheticRequest),
}

#[derive(Deserialize)]
struct SyntheticRequest {
    width: Option<u32>,
    height: Option<u32>,
    fps: Option<f64>,
    format: Option<String>,
    frames: Option<u32>,
}

#[derive(Serialize)]
struct Opened<'a> {
    stream_id: &'a str,
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    frame_credits: Option<u32>,
    #[serde(flatten)]
    granted: Option<Granted>,
}

#[derive(Serialize)]
struct Granted {
    width: u32,
    height: u32,
    fps: f64,
    format: &'static str,
}

#[derive(Serialize)]
struct StreamPage {
    streams: Vec<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_page_token: Option<String>,
}

#[derive(Serialize)]
struct StreamCounters {
    stream_id: String,
    source: &'static str,
    session: Option<String>,
    width: u32,
    height: u32,
    format: &'static str,
    fps: f64,
    received: u64,
    published: u64,
    rejected: u64,
    clamped: u64,
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
        let (kind, options) = match source {
            SourceRequest::Extension => ("extension", None),
            SourceRequest::Synthetic(wish) => ("synthetic", Some(wish.options()?)),
        };
        let owner = self.registration.session_id().to_owned();
        let publisher = Arc::new(self.hub.streams().open(&id, kind, Some(owner))?);
        let feed = match options {
            None => Feed::Extension { credits: FRAME_CREDITS },
            Some(options) => {
                let finished = Arc::clone(&self.finished_sources);
                let source = Synthetic::start(Arc::clone(&publisher), options, move || finished.notify_one());
                Feed::Synthetic(source?)
            }
        };
        let granted = options.map(|options| Granted {
            width: options.width,
            height: options.height,
            fps: options.fps,
            format: Format::Pixels(options.format).as_str(),
        });
        let frame_credits = matches!(feed, Feed::Extension { .. }).then_some(FRAME_CREDITS);
        let results = AbortOnDropHandle::new(tokio::spawn(carry_results(publisher.results(), self.out.clone())));
        self.streams.insert(id.clone(), OpenStream { publisher, feed, _results: results });
        self.registration.set_streams(self.streams.len());
        ok(&Opened { stream_id: id.as_str(), source: kind, frame_credits, granted })
    }

    pub(super) fn stream_list(&self, request: &Request<'_>) -> Result<Reply, Failure> {
        let streams: Vec<_> = self.hub.streams().list().into_iter().map(StreamCounters::from).collect();
        let page = page(&streams, request.optional::<&str>("page_token")?)?;
        ok(&StreamPage { streams: page.items, next_page_token: page.next_page_token })
    }

    pub(super) async fn stream_close(&mut self, request: &Request<'_>) -> Result<Reply, Failure> {
        let id = stream_id(request)?;
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
        let is_finished = |stream: &OpenStream| matches!(&stream.feed, Feed::Synthetic(source) if source.is_finished());
        let finished: Vec<_> = self.streams.extract_if(|_, stream| is_finished(stream)).collect();
        self.registration.set_streams(self.streams.len());
        for (id, stream) in finished {
            stream.close().await;
            self.out.event("stream_ended", StreamEnded { stream_id: id.as_str(), reason: "finished" }).await;
        }
    }

    pub(super) async fn close_all_streams(&mut self) {
        for (_, stream) in self.streams.drain() {
            stream.close().await;
        }
        self.acks.clear();
        self.registration.set_streams(0);
    }

    fn unused_stream_id(&self) -> Result<StreamId, Failure> {
        (1..=u32::MAX)
            .map(|number| format!("{}.{number}", self.registration.session_id()))
            .filter_map(|id| StreamId::parse(&id).ok())
            .find(|id| !self.streams.contains_key(id))
            .ok_or_else(|| Failure::new(ErrorKind::ResourceExhausted, "no stream id is left"))
    }
}

impl OpenStream {
    /// Stops the source, if it has one, and tells the last counters.
    async fn close(self) -> StreamSnapshot {
        if let Feed::Synthetic(source) = self.feed {
            // Ending a source joins its thread, which may be in the middle of a picture.
            if let Err(error) = tokio::task::spawn_blocking(move || drop(source)).await {
                tracing::error!(%error, "a source did not end cleanly");
            }
        }
        self.publisher.snapshot()
    }
}

/// Hands results to the client until the stream is closed. A client that does not read loses the oldest, counted.
async fn carry_results(results: ResultEvents, out: Outbound) {
    loop {
        let ResultEvent { stream_id, frame_number, json } = results.next().await;
        out.event("result", ResultFields { stream_id: stream_id.as_str(), frame_number, result: &json }).await;
    }
}

impl SyntheticRequest {
    fn options(self) -> Result<SyntheticOptions, Failure> {
        let unset = SyntheticOptions::default();
        let format = match self.format {
            None => unset.format,
            Some(name) => match Format::parse(&name)? {
                Format::Pixels(format) => format,
                Format::Encoded(_) => {
                    return Err(MessageError::field("format", "the synthetic source draws raw pixels").into());
                }
            },
        };
        let options = SyntheticOptions {
            width: self.width.unwrap_or(unset.width),
            height: self.height.unwrap_or(unset.height),
            fps: self.fps.unwrap_or(unset.fps),
            format,
            frames: self.frames.unwrap_or(unset.frames),
        };
        // Before a stream is opened for it: one that is refused must not start to linger.
        options.check()?;
        Ok(options)
    }
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        Self::new(error.kind(), error)
    }
}

impl From<SyntheticError> for Failure {
    fn from(error: SyntheticError) -> Self {
        Self::new(error.kind(), &error).with_field(error.field())
    }
}

impl From<StreamSnapshot> for StreamCounters {
    fn from(stream: StreamSnapshot) -> Self {
        Self {
            stream_id: stream.stream_id,
            source: stream.source,
            session: stream.session,
            width: stream.width,
            height: stream.height,
            format: stream.format.map_or("", Format::as_str),
            fps: stream.fps,
            received: stream.received,
            published: stream.published,
            rejected: stream.rejected,
            clamped: stream.clamped,
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
