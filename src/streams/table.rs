//! The hub's streams by name.

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use serde_json::value::RawValue;

use super::{
    Intake, LINGER, MAX_STREAMS, MAX_STREAMS_OF_ONE, OpenIntake, Origin, Publisher, StreamError, StreamId,
    StreamSnapshot, SubscribeOptions, Subscription, feedback::ResultFate, stream::Stream,
};
use crate::transcode::TranscodeOptions;

/// Every stream of the hub. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Streams {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    linger: Duration,
    transcode: TranscodeOptions,
    by_id: Mutex<BTreeMap<StreamId, Arc<Stream>>>,
    /// Streams that sessions' clients feed, with the session's number.
    intakes: Mutex<HashMap<StreamId, (u64, Weak<Intake>)>>,
}

impl Default for Streams {
    fn default() -> Self {
        Self::new(LINGER, TranscodeOptions::default())
    }
}

impl Streams {
    /// No streams yet. `linger`: how long subscribers outlive their publisher. `transcode`: what conversions may use.
    pub fn new(linger: Duration, transcode: TranscodeOptions) -> Self {
        Self { shared: Arc::new(Shared { linger, transcode, by_id: Mutex::default(), intakes: Mutex::default() }) }
    }

    pub(super) fn transcode_options(&self) -> &TranscodeOptions {
        &self.shared.transcode
    }

    /// Opens a stream for its one publisher.
    ///
    /// # Errors
    ///
    /// [`StreamError::AlreadyOpen`], [`StreamError::TooManyStreams`], [`StreamError::TooManyStreamsOfOne`].
    pub fn open(&self, id: &StreamId, origin: Origin) -> Result<Publisher, StreamError> {
        let mut by_id = self.by_id();
        let extension = origin.owner.extension.clone();
        Self::find_or_make(&mut by_id, id, extension.as_deref())?.attach(self, origin)
    }

    /// Lets a session's client feed a stream that was opened for it, by whatever way, with so many credits.
    pub fn open_intake(&self, publisher: Arc<Publisher>, session: u64, credits: u32) -> OpenIntake {
        let intake = OpenIntake::new(publisher, credits);
        let mut intakes = self.intakes();
        intakes.retain(|_, (_, intake)| intake.strong_count() > 0);
        intakes.insert(intake.stream_id().clone(), (session, Arc::downgrade(intake.shared())));
        intake
    }

    /// The intake of a stream that this session has open.
    pub fn intake(&self, id: &StreamId, session: u64) -> Option<Arc<Intake>> {
        let intakes = self.intakes();
        let (owner, intake) = intakes.get(id)?;
        intake.upgrade().filter(|intake| *owner == session && !intake.closed().is_cancelled())
    }

    /// Could the stream be opened now? `extension`: by whom, if by one.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn check_free(&self, id: &StreamId, extension: Option<&str>) -> Result<(), StreamError> {
        let by_id = self.by_id();
        match by_id.get(id) {
            Some(stream) if stream.has_publisher() => Err(StreamError::AlreadyOpen { id: id.to_string() }),
            Some(_) => Ok(()),
            None => check_room(&by_id, extension),
        }
    }

    /// Subscribes to a stream.
    ///
    /// # Errors
    ///
    /// [`StreamError::NotFound`] without `wait`, [`StreamError::NoConsent`], [`StreamError::TooManyStreams`],
    /// [`StreamError::TooManySubscribers`] and [`StreamError::TooManyViews`], and what is one extension's share.
    pub fn subscribe(&self, id: &StreamId, options: SubscribeOptions) -> Result<Subscription, StreamError> {
        let present = self.by_id().get(id).filter(|stream| stream.has_publisher()).cloned();
        if let Some(stream) = present {
            stream.may_be_seen(&options.sight, None).map_err(StreamError::NoConsent)?;
        }
        let mut by_id = self.by_id();
        let stream = if options.wait {
            Self::find_or_make(&mut by_id, id, options.sight.extension())?
        } else {
            by_id
                .get(id)
                .filter(|stream| stream.has_publisher())
                .ok_or_else(|| StreamError::NotFound { id: id.to_string() })?
        };
        stream.subscribe(self, options)
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
        let is_listed = by_id.get(&stream.id).is_some_and(|listed| Arc::ptr_eq(listed, stream));
        if is_listed && !stream.is_wanted() {
            by_id.remove(&stream.id);
        }
    }

    fn intakes(&self) -> MutexGuard<'_, HashMap<StreamId, (u64, Weak<Intake>)>> {
        self.shared.intakes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn by_id(&self) -> MutexGuard<'_, BTreeMap<StreamId, Arc<Stream>>> {
        self.shared.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find_or_make<'a>(
        by_id: &'a mut BTreeMap<StreamId, Arc<Stream>>,
        id: &StreamId,
        extension: Option<&str>,
    ) -> Result<&'a Arc<Stream>, StreamError> {
        let room = check_room(by_id, extension);
        match by_id.entry(id.clone()) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => {
                room?;
                Ok(entry.insert(Arc::new(Stream::new(id.clone(), extension.map(str::to_owned)))))
            }
        }
    }
}

/// Is there room for another stream of this extension, or of a program of the user's own?
fn check_room(by_id: &BTreeMap<StreamId, Arc<Stream>>, extension: Option<&str>) -> Result<(), StreamError> {
    let of_one = by_id.values().filter(|stream| stream.made_for.as_deref() == extension).count();
    if by_id.len() >= MAX_STREAMS {
        Err(StreamError::TooManyStreams { limit: MAX_STREAMS })
    } else if extension.is_some() && of_one >= MAX_STREAMS_OF_ONE {
        Err(StreamError::TooManyStreamsOfOne { limit: MAX_STREAMS_OF_ONE })
    } else {
        Ok(())
    }
}
