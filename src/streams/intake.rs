//! Where a session's client hands in its pictures, whichever way they come: the native port or a WebSocket.

use std::{
    collections::BTreeMap,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio_util::sync::CancellationToken;

use super::{Publisher, StreamId};
use crate::{
    error::ErrorKind,
    frame::{MAX_FRAME_NUMBER, Metadata, VideoFrame},
    message::{Failure, MessageError, Request},
};

/// Entries of a picture's `metadata`.
const MAX_METADATA_ENTRIES: usize = 32;

/// Longest key or value of a picture's `metadata`, in bytes.
const MAX_METADATA_BYTES: usize = 4096;

/// What a client may say about a picture beside the picture.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PictureFields {
    /// Its number; the last plus one unless set.
    pub frame_number: Option<u32>,
    /// Its metadata.
    pub metadata: Metadata,
}

impl PictureFields {
    /// Reads `frame_number` and `metadata`.
    ///
    /// # Errors
    ///
    /// [`MessageError`] with the field that is wrong.
    pub fn read(request: &Request<'_>) -> Result<Self, MessageError> {
        let frame_number = match request.optional::<u32>("frame_number")? {
            Some(number) if number > MAX_FRAME_NUMBER => {
                return Err(MessageError::field("frame_number", format!("{number} is above {MAX_FRAME_NUMBER}")));
            }
            other => other,
        };
        let metadata: BTreeMap<String, String> = request.optional("metadata")?.unwrap_or_default();
        let fits = |(key, value): (&String, &String)| key.len().max(value.len()) <= MAX_METADATA_BYTES;
        if metadata.len() > MAX_METADATA_ENTRIES || !metadata.iter().all(fits) {
            let problem =
                format!("at most {MAX_METADATA_ENTRIES} entries, keys and values of {MAX_METADATA_BYTES} bytes");
            return Err(MessageError::field("metadata", problem));
        }
        Ok(Self { frame_number, metadata })
    }
}

/// A stream that a session's client feeds, with the credits that are left to it. They are the stream's: it does not
/// matter which way a picture comes.
#[derive(Debug)]
pub struct Intake {
    id: StreamId,
    state: Mutex<State>,
    closed: CancellationToken,
}

#[derive(Debug)]
struct State {
    /// `None` when the stream is closed. Nobody else holds on to it, so that its name is free at once.
    publisher: Option<Arc<Publisher>>,
    credits: u32,
}

impl Intake {
    /// Spends a credit, reads the picture and publishes it. A picture that is refused has its credit back at once, one
    /// that is published by [`Self::give_back`], when its acknowledgement is on its way.
    ///
    /// `read`: `None` for a message that completes no picture.
    ///
    /// # Errors
    ///
    /// Why the picture is refused, with the stream and the credits that it gives back.
    pub fn publish(
        &self,
        read: impl FnOnce() -> Result<(Option<VideoFrame>, Option<u32>), Failure>,
    ) -> Result<Option<u32>, Failure> {
        let refuse =
            |failure: Failure, credits: u32| failure.with("stream_id", self.id.as_str()).with("credits", credits);
        {
            let mut state = self.state();
            let publisher = state.publisher.as_ref().ok_or_else(|| self.gone())?;
            if state.credits == 0 {
                publisher.reject();
                let failure = Failure::new(ErrorKind::ResourceExhausted, "no credit left for this stream");
                return Err(refuse(failure, 0));
            }
            state.credits -= 1;
        }
        // Not under the lock: a large picture takes its time.
        let picture = read();
        let mut state = self.state();
        match (picture, &state.publisher) {
            // A fragment spends a credit like a packet, and has it back like one.
            (Ok((frame, number)), Some(publisher)) => Ok(frame.map(|frame| publisher.publish(frame, number))),
            (Err(failure), Some(publisher)) => {
                publisher.reject();
                state.credits += 1;
                Err(refuse(failure, 1))
            }
            (_, None) => Err(self.gone()),
        }
    }

    /// Credits whose acknowledgement is on its way.
    pub fn give_back(&self, credits: u32) {
        self.state().credits += credits;
    }

    /// Cancelled when the stream is closed.
    pub const fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    /// The stream's name.
    pub const fn stream_id(&self) -> &StreamId {
        &self.id
    }

    fn gone(&self) -> Failure {
        let problem = format!("stream {:?} is closed", self.id.as_str());
        Failure::new(ErrorKind::NotFound, problem).with("stream_id", self.id.as_str())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The session's hold on its stream's intake. Dropping it closes that for everybody who feeds it.
#[derive(Debug)]
pub struct OpenIntake(Arc<Intake>);

impl OpenIntake {
    pub(super) fn new(publisher: Arc<Publisher>, credits: u32) -> Self {
        let id = publisher.stream_id().clone();
        let state = Mutex::new(State { publisher: Some(publisher), credits });
        Self(Arc::new(Intake { id, state, closed: CancellationToken::new() }))
    }

    pub(super) const fn shared(&self) -> &Arc<Intake> {
        &self.0
    }
}

impl Deref for OpenIntake {
    type Target = Intake;

    fn deref(&self) -> &Intake {
        &self.0
    }
}

impl Drop for OpenIntake {
    fn drop(&mut self) {
        let publisher = self.0.state().publisher.take();
        self.0.closed.cancel();
        drop(publisher);
    }
}
