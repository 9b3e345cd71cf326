//! The way back to the client: bounded, and never more than the browser takes.

use serde::Serialize;
use tokio::sync::mpsc;

use crate::{
    error::ErrorKind,
    framing::MAX_OUTBOUND_BODY,
    message::{self, Failure, RequestId},
};

/// Sends bodies. Cloning shares the queue.
#[derive(Debug, Clone)]
pub(super) struct Outbound {
    bodies: mpsc::Sender<Vec<u8>>,
}

impl Outbound {
    pub(super) const fn new(bodies: mpsc::Sender<Vec<u8>>) -> Self {
        Self { bodies }
    }

    /// Waits until the client is gone.
    pub(super) async fn closed(&self) {
        self.bodies.closed().await;
    }

    /// Waits for a place; `None` if the client is gone.
    pub(super) async fn place(self) -> Option<Place> {
        self.bodies.reserve_owned().await.ok().map(Place)
    }

    /// A place, if one is free now.
    pub(super) fn free_place(&self) -> Option<Place> {
        self.bodies.clone().try_reserve_owned().ok().map(Place)
    }

    pub(super) async fn ok(&self, id: &RequestId, ok: &impl Serialize) {
        let body = match message::ok_answer(id, ok) {
            Ok(body) if body.len() > MAX_OUTBOUND_BODY => {
                let failure = Failure::new(
                    ErrorKind::ResourceExhausted,
                    format!("the answer of {} bytes exceeds the browser's limit of {MAX_OUTBOUND_BODY}", body.len()),
                );
                message::failure_answer(id, &failure)
            }
            other => other,
        };
        self.send(body).await;
    }

    /// An error, as an answer or, without an id, as an event.
    pub(super) async fn failure(&self, id: Option<&RequestId>, failure: &Failure) {
        self.send(match id {
            Some(id) => message::failure_answer(id, failure),
            None => message::failure_event(failure),
        })
        .await;
    }

    pub(super) async fn event(&self, name: &str, fields: impl Serialize) {
        self.send(message::event(name, fields)).await;
    }

    /// Sends an event unless it is more than the browser takes; `false` if so.
    pub(super) async fn event_if_it_fits(&self, name: &str, fields: impl Serialize) -> bool {
        let body = message::event(name, fields);
        let fits = body.as_ref().is_ok_and(|body| body.len() <= MAX_OUTBOUND_BODY);
        if fits {
            self.send(body).await;
        }
        fits
    }

    async fn send(&self, body: serde_json::Result<Vec<u8>>) {
        match body {
            // A failed send is the client's end, which the session notices by `closed`.
            Ok(body) => drop(self.bodies.send(body).await),
            Err(error) => tracing::error!(%error, "a message could not be written"),
        }
    }
}

/// Room for one body: whoever has waited for it has it.
#[derive(Debug)]
pub(super) struct Place(mpsc::OwnedPermit<Vec<u8>>);

impl Place {
    pub(super) fn event(self, name: &str, fields: impl Serialize) {
        match message::event(name, fields) {
            Ok(body) => drop(self.0.send(body)),
            Err(error) => tracing::error!(%error, "an event could not be written"),
        }
    }
}
