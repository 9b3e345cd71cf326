//! Streams that calls have opened: they have no session to end with, so they end when nobody watches.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{MissedTickBehavior, interval},
};
use tonic::Status;

use super::{Served, convert::side, devices, pb};
use crate::{
    activity::Activity,
    source::{Running, SourceState, Sources, Stop, devices::Devices},
    streams::{Owner, StreamId, Streams},
};

/// How long a stream stays without a subscriber: a camera must not go on unseen because a worker has crashed.
const UNWATCHED: Duration = Duration::from_secs(30);

/// How often it is looked whether somebody watches.
const LOOK: Duration = Duration::from_secs(1);

/// The streams that calls have opened. Cloning shares them.
#[derive(Debug, Clone)]
pub(super) struct Opened {
    streams: Streams,
    sources: Sources,
    activity: Activity,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    last_number: u64,
    /// Told to close, also while the stream is being opened; answered when that is done.
    closers: HashMap<StreamId, Closer>,
}

/// Tells the opening of that number to close.
#[derive(Debug)]
struct Closer {
    number: u64,
    tell: oneshot::Sender<oneshot::Sender<()>>,
}

/// A stream that can be told to close, as long as this is there.
struct Closable {
    opened: Opened,
    id: StreamId,
    number: u64,
    close: oneshot::Receiver<oneshot::Sender<()>>,
}

impl Drop for Closable {
    fn drop(&mut self) {
        // The next stream of that name may be there already.
        if let Entry::Occupied(entry) = self.opened.shared().closers.entry(self.id.clone())
            && entry.get().number == self.number
        {
            entry.remove();
        }
    }
}

impl Opened {
    pub(super) fn new(served: &Served) -> Self {
        Self {
            streams: served.streams.clone(),
            sources: served.sources.clone(),
            activity: served.activity.clone(),
            shared: Arc::default(),
        }
    }

    pub(super) async fn list_devices(&self) -> Result<Devices, Status> {
        let sources = self.sources.clone();
        let listing = tokio::task::spawn_blocking(move || sources.list_devices());
        listing.await.map_err(|error| Status::internal(error.to_string()))
    }

    pub(super) async fn open(&self, request: pb::OpenStreamRequest) -> Result<pb::OpenStreamResponse, Status> {
        let wish = request.source.ok_or_else(|| Status::invalid_argument("parameter: source: it is missing"))?;
        let spec = devices::source(wish)?;
        let id = if request.stream_id.is_empty() { self.unused_id() } else { request.stream_id };
        let id = StreamId::parse(&id)?;
        let mut closable = self.closable(&id)?;
        let (sources, streams, opening_id) = (self.sources.clone(), self.streams.clone(), id.clone());
        let owner = Owner { name: Some("grpc".to_owned()), extension: None };
        let stop = Stop::default();
        // A caller that goes before the answer takes the call with it.
        let abandoned = stop.on_drop();
        let mut opening = tokio::task::spawn_blocking(move || sources.open(&streams, &opening_id, spec, owner, &stop));
        let (result, closed) = tokio::select! {
            result = &mut opening => (result, None),
            Ok(done) = &mut closable.close => {
                drop(abandoned);
                (opening.await, Some(done))
            }
        };
        let result = result.map_err(|error| Status::internal(error.to_string()))?;
        if let Some(done) = closed {
            end(result.ok()).await;
            drop(done);
            return Err(Status::aborted("closed: the stream was closed before it was open"));
        }
        let running = result?;
        let granted = running.granted();
        let response = pb::OpenStreamResponse {
            stream_id: id.to_string(),
            device: granted.device.clone(),
            backend: granted.backend.to_owned(),
            width: side(granted.width),
            height: side(granted.height),
            fps: granted.fps,
            format: granted.format.as_str().to_owned(),
            metadata: granted.metadata.clone().into_iter().collect(),
        };
        tokio::spawn(closable.keep(running));
        Ok(response)
    }

    /// A stream that is not there yet.
    fn closable(&self, id: &StreamId) -> Result<Closable, Status> {
        self.streams.check_free(id, None)?;
        let (tell, close) = oneshot::channel();
        let mut shared = self.shared();
        shared.last_number += 1;
        let number = shared.last_number;
        match shared.closers.entry(id.clone()) {
            Entry::Vacant(entry) => entry.insert(Closer { number, tell }),
            Entry::Occupied(_) => {
                let problem = format!("the stream {:?} is still being opened", id.as_str());
                return Err(Status::failed_precondition(problem));
            }
        };
        Ok(Closable { opened: self.clone(), id: id.clone(), number, close })
    }

    pub(super) async fn close(&self, id: &StreamId) -> Result<(), Status> {
        let closer = self.shared().closers.remove(id);
        let not_found = || Status::not_found(format!("no call has opened a stream {:?}", id.as_str()));
        let (done, closed) = oneshot::channel();
        closer.ok_or_else(not_found)?.tell.send(done).map_err(|_| not_found())?;
        // Its end is told by being dropped, too.
        let _ = closed.await;
        Ok(())
    }

    fn unused_id(&self) -> String {
        let mut shared = self.shared();
        shared.last_number += 1;
        format!("grpc{}.{}", std::process::id(), shared.last_number)
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Closable {
    /// Keeps a stream until it is closed, has ended, or nobody has watched it for a while.
    async fn keep(mut self, running: Running) {
        let _activity = self.opened.activity.enter();
        let mut state = running.state();
        let ended = state.wait_for(|state| matches!(state, SourceState::Ended(_)));
        let done = tokio::select! {
            done = &mut self.close => done.ok(),
            _ = ended => None,
            () = unwatched(&running) => {
                tracing::info!(stream = %self.id, "closed: nobody watches it");
                None
            }
        };
        drop(self);
        end(Some(running)).await;
        drop(done);
    }
}

/// Lets go of a device, which may take a moment.
async fn end(running: Option<Running>) {
    if let Err(error) = tokio::task::spawn_blocking(move || drop(running)).await {
        tracing::error!(%error, "a source did not end cleanly");
    }
}

/// Returns when a stream has had no subscriber for long enough.
async fn unwatched(running: &Running) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut quiet = Duration::ZERO;
    while quiet < UNWATCHED {
        looks.tick().await;
        quiet = if running.publisher().has_subscribers() { Duration::ZERO } else { quiet + LOOK };
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::hanging::Hanging;

    fn opening(hanging: &Hanging) -> (Opened, pb::OpenStreamRequest) {
        let opened = Opened {
            streams: Streams::default(),
            sources: Sources::new(hanging.options()),
            activity: Activity::default(),
            shared: Arc::default(),
        };
        let file = pb::FileSource { path: hanging.path().display().to_string(), ..pb::FileSource::default() };
        let source = Some(pb::open_stream_request::Source::File(file));
        (opened, pb::OpenStreamRequest { source, stream_id: "file".to_owned() })
    }

    #[tokio::test]
    async fn a_call_that_is_gone_leaves_no_opening_behind() {
        let hanging = Hanging::new();
        let (opened, request) = opening(&hanging);
        let shared = Arc::clone(&opened.shared);
        let call = tokio::spawn(async move { opened.open(request).await });
        let begun = hanging.begun().await;
        call.abort();
        begun.given_up().await;
        assert!(call.await.is_err_and(|error| error.is_cancelled()));
        assert!(shared.lock().unwrap().closers.is_empty());
    }

    #[tokio::test]
    async fn a_stream_that_is_being_opened_can_be_closed_and_opened_again() {
        let hanging = Hanging::new();
        let (opened, request) = opening(&hanging);
        let id = StreamId::parse("file").unwrap();
        let (first, again) = (opened.clone(), request.clone());
        let call = tokio::spawn(async move { first.open(request).await });
        let begun = hanging.begun().await;
        let second = opened.open(again).await.unwrap_err();
        assert_eq!(second.code(), tonic::Code::FailedPrecondition, "{second}");
        opened.close(&id).await.unwrap();
        begun.given_up().await;
        let first = call.await.unwrap().unwrap_err();
        assert_eq!(first.code(), tonic::Code::Aborted, "{first}");
        assert_eq!(opened.close(&id).await.unwrap_err().code(), tonic::Code::NotFound);
    }
}
