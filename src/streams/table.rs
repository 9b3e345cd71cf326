//! The hub's streams by name.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::value::RawValue;

use super::{
    LINGER, MAX_STREAMS, StreamError, StreamId, StreamSnapshot,
    queue::Queue,
    stream::{Publisher, ResultFate, Stream, Subscription},
};

/// Every stream of the hub. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Streams {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    linger: Duration,
    by_id: Mutex<BTreeMap<StreamId, Arc<Stream>>>,
}

impl Default for Streams {
    fn default() -> Self {
        Self::new(LINGER)
    }
}

impl Streams {
    /// No streams yet. `linger`: how long subscribers outlive their publisher.
    pub fn new(linger: Duration) -> Self {
        Self { shared: Arc::new(Shared { linger, by_id: Mutex::default() }) }
    }

    /// Opens a stream for its one publisher.
    ///
    /// `source`: kind of the source. `session`: the owner, as `stream.list` shows it.
    ///
    /// # Errors
    ///
    /// [`StreamError::AlreadyOpen`], [`StreamError::TooManyStreams`].
    pub fn open(&self, id: &StreamId, source: &'static str, session: Option<String>) -> Result<Publisher, StreamError> {
        let mut by_id = self.by_id();
        Self::find_or_make(&mut by_id, id)?.attach(self, source, session)
    }

    /// Subscribes to a stream.
    ///
    /// `wait`: also to one that nobody has opened yet.
    ///
    /// # Errors
    ///
    /// [`StreamError::NotFound`] without `wait`, [`StreamError::TooManyStreams`], [`StreamError::TooManySubscribers`].
    pub fn subscribe(&self, id: &StreamId, wait: bool, queue: Queue) -> Result<Subscription, StreamError> {
        let mut by_id = self.by_id();
        let stream = if wait {
            Self::find_or_make(&mut by_id, id)?
        } else {
            by_id
                .get(id)
                .filter(|stream| stream.has_publisher())
                .ok_or_else(|| StreamError::NotFound { id: id.to_string() })?
        };
        stream.subscribe(self, queue)
    }

    /// Hands a worker's result to the session that publishes the stream; `false` if one was lost.
    ///
    /// # Errors
    ///
    /// [`StreamError::NotFound`].
    pub fn give_result(&self, id: &StreamId, frame_number: u32, json: Arc<RawValue>) -> Result<bool, StreamError> {
        let stream = self.by_id().get(id).cloned();
        let stream = stream.ok_or_else(|| StreamError::NotFound { id: id.to_string() })?;
        Ok(stream.give_result(frame_number, json) == ResultFate::Delivered)
    }

    /// The counters of every stream, sorted by name.
    pub fn list(&self) -> Vec<StreamSnapshot> {
        let streams: Vec<_> = self.by_id().values().cloned().collect();
        streams.iter().map(|stream| stream.snapshot()).collect()
    }

    /// After a publisher left: keep the subscribers for the linger, or forget the stream.
    pub(super) fn publisher_left(&self, stream: &Arc<Stream>, generation: u64) {
        self.forget_if_unwanted(stream);
        let linger = self.shared.linger;
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if stream.is_wanted() => {
                let stream = Arc::clone(stream);
                runtime.spawn(async move {
                    tokio::time::sleep(linger).await;
                    stream.end_linger(generation);
                });
            }
            // Outside a runtime nothing can wait, and nobody there subscribes.
            Ok(_) | Err(_) => stream.end_linger(generation),
        }
    }

    pub(super) fn forget_if_unwanted(&self, stream: &Arc<Stream>) {
        let mut by_id = self.by_id();
        let is_listed = by_id.get(stream.id()).is_some_and(|listed| Arc::ptr_eq(listed, stream));
        if is_listed && !stream.is_wanted() {
            by_id.remove(stream.id());
        }
    }

    fn by_id(&self) -> MutexGuard<'_, BTreeMap<StreamId, Arc<Stream>>> {
        self.shared.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find_or_make<'a>(
        by_id: &'a mut BTreeMap<StreamId, Arc<Stream>>,
        id: &StreamId,
    ) -> Result<&'a Arc<Stream>, StreamError> {
        let count = by_id.len();
        match by_id.entry(id.clone()) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(_) if count >= MAX_STREAMS => Err(StreamError::TooManyStreams { limit: MAX_STREAMS }),
            Entry::Vacant(entry) => Ok(entry.insert(Arc::new(Stream::new(id.clone())))),
        }
    }
}
