//! Streams that calls have opened: they have no session to end with, so they end when nobody watches.

use std::{
    collections::HashMap,
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
    streams::{StreamId, Streams},
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
    /// Told to close; answered when that is done.
    closers: HashMap<StreamId, oneshot::Sender<oneshot::Sender<()>>>,
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
        let (sources, streams, opening_id) = (self.sources.clone(), self.streams.clone(), id.clone());
        let stop = Stop::default();
        // A caller that goes before the answer takes the call with it.
        let _abandoned = stop.on_drop();
        let opening = tokio::task::spawn_blocking(move || {
            sources.open(&streams, &opening_id, spec, Some("grpc".to_owned()), &stop)
        });
        let running = opening.await.map_err(|error| Status::internal(error.to_string()))??;
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
        let (closer, close) = oneshot::channel();
        self.shared().closers.insert(id.clone(), closer);
        tokio::spawn(self.clone().keep(id, running, close));
        Ok(response)
    }

    pub(super) async fn close(&self, id: &StreamId) -> Result<(), Status> {
        let closer = self.shared().closers.remove(id);
        let not_found = || Status::not_found(format!("no call has opened a stream {:?}", id.as_str()));
        let (done, closed) = oneshot::channel();
        closer.ok_or_else(not_found)?.send(done).map_err(|_| not_found())?;
        // Its end is told by being dropped, too.
        let _ = closed.await;
        Ok(())
    }

    /// Keeps a stream until it is closed, has ended, or nobody has watched it for a while.
    async fn keep(self, id: StreamId, running: Running, close: oneshot::Receiver<oneshot::Sender<()>>) {
        let _activity = self.activity.enter();
        let mut state = running.state();
        let ended = state.wait_for(|state| matches!(state, SourceState::Ended(_)));
        let done = tokio::select! {
            done = close => done.ok(),
            _ = ended => None,
            () = unwatched(&running) => {
                tracing::info!(stream = %id, "closed: nobody watches it");
                None
            }
        };
        self.shared().closers.remove(&id);
        if let Err(error) = tokio::task::spawn_blocking(move || drop(running)).await {
            tracing::error!(%error, "a source did not end cleanly");
        }
        drop(done);
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::source::hanging::Hanging;

    #[tokio::test]
    async fn a_call_that_is_gone_leaves_no_opening_behind() {
        let hanging = Hanging::new();
        let opened = Opened {
            streams: Streams::default(),
            sources: Sources::new(hanging.options()),
            activity: Activity::default(),
            shared: Arc::default(),
        };
        let file = pb::FileSource { path: hanging.path().display().to_string(), ..pb::FileSource::default() };
        let source = Some(pb::open_stream_request::Source::File(file));
        let request = pb::OpenStreamRequest { source, ..pb::OpenStreamRequest::default() };
        let call = tokio::spawn(async move { opened.open(request).await });
        let begun = hanging.begun().await;
        call.abort();
        begun.given_up().await;
    }
}
