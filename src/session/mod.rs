//! One extension's conversation: from the bytes of its port to streams and models, and back.
//!
//! Belongs here: reading requests, answering each once, credits, what ends with the session.
//! Does not belong here: the pipe (`link`, `relay`), JSON envelopes (`message`), the services themselves.
//!
//! Invariants:
//! - Nothing on the way from a `frame` to its publication waits for a subscriber, a disk or a network.
//! - Everything the session holds (streams, handles, its token) goes when it ends, however it ends.
//! - A client that does not read is not read from: what waits for it is bounded by [`OUTBOUND_MESSAGES`].
//!
//! Data path: bytes -> `framing::Decoder` -> `message::Request` -> `frames` | `models` -> `outbound` -> bytes.

mod frames;
mod grants;
mod held;
mod models;
mod openings;
mod outbound;
mod requests;
mod sources;
mod streams;
mod subscriptions;
mod variants;
mod watches;

use std::{
    collections::{BTreeMap, HashMap},
    future::pending,
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    sync::{Notify, Semaphore, mpsc},
    task::{self, JoinSet},
};

#[cfg(all(feature = "fuzzing", target_os = "linux"))]
pub(crate) use self::sources::fuzz_source;
use self::{
    models::OpenHandle,
    openings::{OpenedSource, Opening},
    outbound::{Outbound, Place},
    streams::OpenStream,
    subscriptions::Subscriptions,
    watches::Watches,
};
use crate::{
    access::LOOK_AGAIN,
    error::ErrorKind,
    framing::{Decoder, FramingError, MAX_INBOUND_BODY},
    hub::{Hub, Registration},
    install::FirefoxId,
    message::{Failure, MessageError, Rejected, Request, RequestId},
    streams::StreamId,
};

/// Messages that wait for a client that reads slowly; with more, the session stops reading from it.
pub const OUTBOUND_MESSAGES: usize = 16;

/// Pictures that an extension may have under way in one stream: enough for 60 a second at 100 ms there and back.
pub const FRAME_CREDITS: u32 = 8;

/// Requests of one session that may be open beside its pictures; one more is refused, so that none keeps the next
/// picture waiting.
const MAX_OPEN_REQUESTS: usize = 256;

/// Of those, how many work at the same time: each may hold a chunk of a model until the client has read it.
const MAX_WORKING_REQUESTS: usize = 16;

/// Characters that are kept of an id that is none.
const MAX_CALLER_CHARS: usize = 80;

/// How long the requests that were under way at end of input may still take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Who is at the other end.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// The extension's origin, as Chromium sends it in headers: `chrome-extension://ID`.
    pub origin: Option<String>,
    /// A Firefox extension's id, where Firefox told one. Its origin is another one in every profile, and is not told.
    pub firefox_id: Option<FirefoxId>,
    /// What a browser passed as an extension's id and is none: nobody can allow it anything.
    pub unknown: Option<String>,
    /// The relay's process, where there is one.
    pub pid: Option<u32>,
}

impl Caller {
    /// Reads what a browser passes: Chrome an origin first (`chrome-extension://ID/`), Firefox the manifest's path and an
    /// extension id, which is no origin.
    pub fn from_argv(argv: &[String], pid: Option<u32>) -> Self {
        let chromium = argv.first().filter(|first| first.starts_with("chrome-extension://"));
        let told = match argv {
            [manifest, id, ..] if manifest.ends_with(".json") => Some(id),
            _ => None,
        };
        let firefox_id = told.and_then(|id| FirefoxId::parse(id).ok());
        let unknown = told.filter(|_| firefox_id.is_none()).map(|id| id.chars().take(MAX_CALLER_CHARS).collect());
        Self { origin: chromium.map(|origin| origin.trim_end_matches('/').to_owned()), firefox_id, unknown, pid }
    }

    /// The extension's id, of whichever browser.
    pub fn extension(&self) -> Option<String> {
        let chromium = || self.origin.as_ref()?.strip_prefix("chrome-extension://").map(str::to_owned);
        self.firefox_id.as_ref().map(ToString::to_string).or_else(|| self.unknown.clone()).or_else(chromium)
    }
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The input ended, or the client is gone.
    Normally,
    /// The hub stops. Its relays look for another one, so they get no farewell.
    HubStopped,
    /// The client broke the framing, or the hub has no place for it.
    Failed,
}

impl Ended {
    /// The exit code for the process that Chrome started; `None` lets it go on.
    pub const fn exit_code(self) -> Option<u8> {
        match self {
            Self::Normally => Some(0),
            Self::Failed => Some(1),
            Self::HubStopped => None,
        }
    }
}

/// Serves one client until its input ends.
///
/// `reader`: native messages. `bodies`: takes what is to be sent, each at most `MAX_OUTBOUND_BODY` long; if its
/// receiver is gone, so is the client.
pub async fn serve(
    hub: Arc<Hub>,
    caller: Caller,
    mut reader: impl AsyncRead + Unpin,
    bodies: mpsc::Sender<Vec<u8>>,
) -> Ended {
    let out = Outbound::new(bodies);
    let registration = match hub.register(&caller) {
        Ok(registration) => registration,
        Err(failure) => {
            out.failure(None, &failure).await;
            return Ended::Failed;
        }
    };
    let mut session = Session {
        extension: caller.extension(),
        hub,
        registration,
        out,
        streams: HashMap::new(),
        subscriptions: Subscriptions::new(),
        openings: HashMap::new(),
        last_stream_number: 0,
        epoch: 0,
        acks: BTreeMap::new(),
        handles: HashMap::new(),
        watches: Watches::default(),
        last_handle: 0,
        open_requests: JoinSet::new(),
        open_ids: HashMap::new(),
        working: Arc::new(Semaphore::new(MAX_WORKING_REQUESTS)),
        finished_sources: Arc::new(Notify::new()),
    };
    let stop = session.hub.shutdown().clone();
    let outcome = tokio::select! {
        biased;
        // Whatever the session waits for, and be it a client that does not read.
        () = stop.cancelled() => Ended::HubStopped,
        ended = session.run(&mut reader) => ended,
    };
    session.close_all_streams().await;
    outcome
}

/// What one session holds.
struct Session {
    hub: Arc<Hub>,
    /// The extension's id; `None`: a program of the user's own.
    extension: Option<String>,
    registration: Registration,
    out: Outbound,
    streams: HashMap<StreamId, OpenStream>,
    subscriptions: Subscriptions,
    openings: HashMap<StreamId, Opening>,
    last_stream_number: u64,
    /// Counts `hello`s: what was begun before the last one is void.
    epoch: u64,
    /// Credits on their way back, by stream: the newest published number, and how many.
    acks: BTreeMap<StreamId, frames::Ack>,
    handles: HashMap<u32, OpenHandle>,
    watches: Watches,
    last_handle: u32,
    open_requests: JoinSet<Done>,
    /// The requests under way, and the task of each.
    open_ids: HashMap<RequestId, task::Id>,
    working: Arc<Semaphore>,
    /// Told by sources that have come to their end.
    finished_sources: Arc<Notify>,
}

impl Session {
    async fn run(&mut self, reader: &mut (impl AsyncRead + Unpin)) -> Ended {
        let finished = Arc::clone(&self.finished_sources);
        let mut decoder = Decoder::new(MAX_INBOUND_BODY);
        let mut look_again = tokio::time::interval(LOOK_AGAIN);
        look_again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        // The turn of acknowledgements among all that waits for the client, kept from one round to the next: chunks of
        // models wait there, too, and must not keep credits from coming back.
        let mut place: Option<Pin<Box<dyn Future<Output = Option<Place>> + Send>>> = None;
        loop {
            if let Err(error) = self.take_bodies(&mut decoder).await {
                self.framing_failed(error).await;
                return Ended::Failed;
            }
            if place.is_none() && !self.acks.is_empty() {
                place = Some(Box::pin(self.out.clone().place()));
            }
            tokio::select! {
                biased;
                () = self.out.closed() => return Ended::Normally,
                Some(done) = self.open_requests.join_next() => self.request_done(done).await,
                () = finished.notified() => self.end_finished_sources().await,
                _ = look_again.tick(), if self.has_to_ask_again() => self.end_what_is_not_allowed().await,
                got = async {
                    match &mut place {
                        Some(place) => place.await,
                        None => pending().await,
                    }
                } => {
                    place = None;
                    if let Some(got) = got {
                        self.send_ack(got);
                    }
                }
                read = reader.read_buf(decoder.space()) => match read {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) => {
                        tracing::debug!(%error, "the client's input broke");
                        break;
                    }
                },
            }
        }
        if let Err(error) = decoder.finish() {
            tracing::info!(%error, "the client left in the middle of a message");
        }
        self.drain().await;
        Ended::Normally
    }

    async fn take_bodies(&mut self, decoder: &mut Decoder) -> Result<(), FramingError> {
        while let Some(body) = decoder.pop()? {
            self.take(&body).await;
            self.flush_acks();
        }
        Ok(())
    }

    /// Answers what was under way, as far as that is done within [`DRAIN_TIMEOUT`].
    async fn drain(&mut self) {
        let drained = tokio::time::timeout(DRAIN_TIMEOUT, async {
            while let Some(done) = self.open_requests.join_next().await {
                self.request_done(done).await;
            }
            while !self.acks.is_empty()
                && let Some(place) = self.out.clone().place().await
            {
                self.send_ack(place);
            }
        });
        if drained.await.is_err() {
            tracing::info!(open = self.open_requests.len(), "left before every request was answered");
        }
    }

    async fn framing_failed(&self, error: FramingError) {
        tracing::warn!(%error, "the client broke the framing");
        // The client may be one that never reads, too.
        let failure = Failure::new(error.kind(), error);
        if tokio::time::timeout(DRAIN_TIMEOUT, self.out.failure(None, &failure)).await.is_err() {
            tracing::debug!("the client did not read why");
        }
    }

    /// Handles one body: answers it, or starts the work that will.
    async fn take(&mut self, body: &[u8]) {
        while let Some(done) = self.open_requests.try_join_next() {
            self.request_done(done).await;
        }
        let request = match Request::parse(body) {
            Ok(request) => request,
            Err(Rejected { id, error }) => return self.out.failure(id.as_ref(), &error.into()).await,
        };
        if let Some(id) = request.id().filter(|id| self.open_ids.contains_key(*id)) {
            let failure = Failure::new(ErrorKind::AlreadyExists, "a request with this id is still open");
            let id = serde_json::to_value(id).unwrap_or_default();
            return self.out.failure(None, &failure.with("id", id).with("type", request.kind())).await;
        }
        match self.dispatch(&request).await {
            Ok(Reply::Now(ok)) => {
                if let Some(id) = request.id() {
                    self.out.ok(id, &ok).await;
                }
            }
            Ok(Reply::Later) => {}
            Err(failure) => {
                let failure = if request.id().is_none() { failure.with("type", request.kind()) } else { failure };
                self.out.failure(request.id(), &failure).await;
            }
        }
    }

    /// Starts work that may take a while; its answer may overtake others and be overtaken.
    fn answer_later(
        &mut self,
        request: &Request<'_>,
        work: impl Future<Output = Result<Reply, Failure>> + Send + 'static,
    ) -> Result<Reply, Failure> {
        let kind = request.kind().to_owned();
        let out = self.out.clone();
        self.work_later(request, async move |request_id: Option<RequestId>| {
            match (work.await, &request_id) {
                (Ok(Reply::Now(ok)), Some(id)) => out.ok(id, &ok).await,
                (Ok(_), _) => {}
                (Err(failure), Some(id)) => out.failure(Some(id), &failure).await,
                (Err(failure), None) => out.failure(None, &failure.with("type", kind)).await,
            }
            Done { request_id, opened: None }
        })?;
        Ok(Reply::Later)
    }

    /// Starts work whose end the session takes in.
    fn work_later<W>(
        &mut self,
        request: &Request<'_>,
        work: impl FnOnce(Option<RequestId>) -> W + Send + 'static,
    ) -> Result<task::Id, Failure>
    where
        W: Future<Output = Done> + Send + 'static,
    {
        if self.open_requests.len() >= MAX_OPEN_REQUESTS {
            let problem = format!("{MAX_OPEN_REQUESTS} requests of this session are open already");
            return Err(Failure::new(ErrorKind::ResourceExhausted, problem));
        }
        let working = Arc::clone(&self.working);
        let (id, worked_on) = (request.id().cloned(), request.id().cloned());
        let task = self.open_requests.spawn(async move {
            // Held until the work is done. The semaphore is never closed.
            let _place = working.acquire().await;
            work(worked_on).await
        });
        self.open_ids.extend(id.map(|id| (id, task.id())));
        Ok(task.id())
    }

    async fn request_done(&mut self, done: Result<Done, tokio::task::JoinError>) {
        match done {
            Ok(Done { request_id, opened }) => {
                if let Some(opened) = opened {
                    self.source_opened(request_id.as_ref(), opened).await;
                }
                if let Some(id) = request_id {
                    self.open_ids.remove(&id);
                }
            }
            Err(error) => {
                tracing::error!(%error, "a request's task failed");
                self.forget_opening(error.id());
                let lost: Vec<_> = self.open_ids.extract_if(|_, task| *task == error.id()).collect();
                for (id, _) in lost {
                    let failure = Failure::new(ErrorKind::Internal, "the host failed: framehost logs says where");
                    self.out.failure(Some(&id), &failure).await;
                }
            }
        }
    }
}

/// Work that has come to its end.
struct Done {
    request_id: Option<RequestId>,
    /// A source that is to become a stream of the session; its request is not answered yet.
    opened: Option<OpenedSource>,
}

/// What a request comes to.
enum Reply {
    /// Its `ok`, serialised.
    Now(Box<serde_json::value::RawValue>),
    /// A task will answer, or has done so.
    Later,
}

/// An `ok` from anything that serialises as an object.
fn ok(value: &impl serde::Serialize) -> Result<Reply, Failure> {
    serde_json::value::to_raw_value(value).map(Reply::Now).map_err(|error| Failure::new(ErrorKind::Internal, error))
}

/// A request's `stream_id`.
fn stream_id(request: &Request<'_>) -> Result<StreamId, Failure> {
    let text = request.text("stream_id")?;
    StreamId::parse(&text).map_err(|error| MessageError::field("stream_id", error).into())
}

#[cfg(test)]
mod tests;
