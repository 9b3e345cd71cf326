//! Streams whose devices are being opened: that takes its time, and the session goes on meanwhile.

use std::{collections::hash_map::Entry, sync::Arc};

use serde::Serialize;
use tokio::task;

use super::{
    Done, Reply, Session,
    held::{Consent, HeldSource},
    streams::{Feed, StreamCounters},
};
use crate::{
    access::Scope,
    error::ErrorKind,
    frame::Metadata,
    message::{Failure, Request, RequestId},
    source::{OpenError, SourceSpec, Stop, StopOnDrop},
    streams::{StreamId, StreamSnapshot},
};

/// A stream whose device is being opened.
pub(super) struct Opening {
    /// Ends the opening with this.
    wait: Option<StopOnDrop>,
    /// The `stream.close` that is answered when the opening has come to its end.
    closer: Option<RequestId>,
    /// Opens it.
    task: task::Id,
}

/// What opening a source came to, for the session to take in.
pub(super) struct OpenedSource {
    id: StreamId,
    kind: &'static str,
    /// The session that asked has since said `hello` again if this is not its own.
    epoch: u64,
    result: Result<HeldSource, OpenError>,
}

#[derive(Serialize)]
pub(super) struct Opened<'a> {
    pub(super) stream_id: &'a str,
    pub(super) source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) frame_credits: Option<u32>,
    #[serde(flatten)]
    pub(super) granted: Option<Granted<'a>>,
}

#[derive(Serialize)]
pub(super) struct Granted<'a> {
    width: u32,
    height: u32,
    fps: f64,
    format: &'static str,
    device: &'a str,
    backend: &'static str,
    metadata: &'a Metadata,
}

impl Session {
    pub(super) async fn open_source(
        &mut self,
        request: &Request<'_>,
        id: StreamId,
        spec: SourceSpec,
    ) -> Result<Reply, Failure> {
        if self.openings.contains_key(&id) {
            let problem = "the stream is still being opened: wait for the answer";
            return Err(Failure::new(ErrorKind::FailedPrecondition, problem).with("stream_id", id.as_str()));
        }
        self.hub.streams().check_free(&id, self.extension.as_deref())?;
        let (sources, streams) = (self.hub.sources().clone(), self.hub.streams().clone());
        let owner = self.owner();
        let (kind, epoch) = (spec.kind(), self.epoch);
        let is_quick = matches!(spec, SourceSpec::Synthetic(_));
        let stop = Stop::default();
        let wait = Some(stop.on_drop());
        let opening_id = id.clone();
        let consent = Consent {
            grants: self.hub.access().grants().clone(),
            extension: self.extension.clone(),
            finished: Arc::clone(&self.finished_sources),
        };
        let open = move || sources.open(&streams, &opening_id, spec, owner, &stop);
        if is_quick {
            let result = open().map(|running| HeldSource::new(kind, running, consent));
            let opened = OpenedSource { id, kind, epoch, result };
            self.source_opened(request.id(), opened).await;
            return Ok(Reply::Later);
        }
        let opening_id = id.clone();
        let task = self.work_later(request, async move |request_id: Option<RequestId>| {
            let opened = match task::spawn_blocking(open).await {
                Ok(result) => {
                    let result = result.map(|running| HeldSource::new(kind, running, consent));
                    Some(OpenedSource { id, kind, epoch, result })
                }
                // The request fails as this task does.
                Err(error) => match error.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    Err(_) => None,
                },
            };
            Done { request_id, opened }
        })?;
        self.openings.insert(opening_id, Opening { wait, closer: None, task });
        Ok(Reply::Later)
    }

    /// Forgets what a task that failed was to open.
    pub(super) fn forget_opening(&mut self, task: task::Id) {
        self.openings.retain(|_, opening| opening.task != task);
    }

    /// Gives up a stream that is being opened, if `id` is one; that is answered when its device is let go of.
    pub(super) fn close_opening(&mut self, request: &Request<'_>, id: &StreamId) -> Option<Result<Reply, Failure>> {
        let opening = self.openings.get_mut(id)?;
        if opening.wait.take().is_none() {
            let problem = "the stream is being closed already";
            return Some(Err(Failure::new(ErrorKind::FailedPrecondition, problem).with("stream_id", id.as_str())));
        }
        opening.closer = request.id().cloned();
        // Whoever closes is answered when the opening is.
        self.open_ids.extend(request.id().cloned().map(|id| (id, opening.task)));
        Some(Ok(Reply::Later))
    }

    /// Gives up whatever is being opened: its names are free at once.
    pub(super) async fn give_up_openings(&mut self) {
        for (id, opening) in std::mem::take(&mut self.openings) {
            if let Some(closer) = opening.closer {
                self.open_ids.remove(&closer);
                self.out.failure(Some(&closer), &begun_anew(&id)).await;
            }
        }
    }

    /// Takes in a source that has been opened, or not, and answers.
    pub(super) async fn source_opened(&mut self, request_id: Option<&RequestId>, opened: OpenedSource) {
        let OpenedSource { id, kind, epoch, result } = opened;
        if epoch != self.epoch {
            if let Ok(source) = result {
                source.close().await;
            }
            return self.out.failure(request_id, &begun_anew(&id)).await;
        }
        if let Entry::Occupied(entry) = self.openings.entry(id.clone()) {
            let Opening { wait, closer, .. } = entry.remove();
            if wait.is_none() {
                return self.opening_closed(request_id, &id, kind, closer, result).await;
            }
        }
        let source = match result {
            Ok(source) => source,
            Err(error) => {
                let failure = Failure::from(error).with("stream_id", id.as_str());
                return self.out.failure(request_id, &failure).await;
            }
        };
        // A dialogue may have been open for long.
        if let Err(failure) = self.may(Scope::of_source(kind)) {
            source.close().await;
            return self.out.failure(request_id, &failure.with("stream_id", id.as_str())).await;
        }
        if let Some(request_id) = request_id {
            let granted = source.granted();
            let granted = Granted {
                width: granted.width,
                height: granted.height,
                fps: granted.fps,
                format: granted.format.as_str(),
                device: &granted.device,
                backend: granted.backend,
                metadata: &granted.metadata,
            };
            let opened = Opened { stream_id: id.as_str(), source: kind, frame_credits: None, granted: Some(granted) };
            self.out.ok(request_id, &opened).await;
        }
        self.hold(&id, Arc::clone(source.publisher()), Feed::Source(source));
    }

    /// Answers who has opened a stream, and who has closed it before it was open.
    async fn opening_closed(
        &mut self,
        request_id: Option<&RequestId>,
        id: &StreamId,
        source: &'static str,
        closer: Option<RequestId>,
        result: Result<HeldSource, OpenError>,
    ) {
        let failure = match result {
            Err(OpenError::Source(error)) if error.reason() != "abandoned" => error.into(),
            Err(OpenError::Stream(error)) => error.into(),
            Err(OpenError::Source(_)) => aborted("the stream was closed before it was open"),
            Ok(source) => {
                source.close().await;
                aborted("the stream was closed before it was open")
            }
        };
        self.out.failure(request_id, &failure.with("stream_id", id.as_str())).await;
        if let Some(closer) = closer {
            self.open_ids.remove(&closer);
            let owner = self.owner().name;
            let nothing = StreamSnapshot { stream_id: id.to_string(), source, owner, ..StreamSnapshot::default() };
            self.out.ok(&closer, &StreamCounters::from(nothing)).await;
        }
    }
}

fn begun_anew(id: &StreamId) -> Failure {
    aborted("the session has begun anew").with("stream_id", id.as_str())
}

fn aborted(problem: &str) -> Failure {
    Failure::new(ErrorKind::Aborted, problem)
}
