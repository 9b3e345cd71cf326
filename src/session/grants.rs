//! What the user has allowed the extension, asked for where it is needed, and again as long as something goes on.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};

use super::{
    Session,
    streams::{Feed, close_source},
};
use crate::{
    access::{Grants, Scope},
    error::ErrorKind,
    message::Failure,
    source::{Running, SourceState},
    streams::{NoConsent, StreamId, Trouble},
};

/// A source of a session, until it is closed or the user takes it back.
#[derive(Clone)]
pub(super) struct HeldSource {
    kind: &'static str,
    running: Arc<Mutex<Option<Running>>>,
    state: watch::Receiver<SourceState>,
}

impl HeldSource {
    pub(super) fn new(kind: &'static str, running: Running) -> Self {
        Self { kind, state: running.state(), running: Arc::new(Mutex::new(Some(running))) }
    }

    /// How the source is, from now on.
    pub(super) fn state(&self) -> watch::Receiver<SourceState> {
        self.state.clone()
    }

    /// Has it come to its end, and by what? `extension`: whose session it is.
    pub(super) fn ended(&self, extension: Option<&str>) -> Option<Option<Trouble>> {
        if self.running.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            return Some(Some(Scope::of_source(self.kind).missing(extension).into()));
        }
        match &*self.state.borrow() {
            SourceState::Ended(trouble) => Some(trouble.clone()),
            SourceState::Live | SourceState::Lost(_) => None,
        }
    }

    /// What runs, for whoever closes it.
    pub(super) fn take(&self) -> Option<Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Closes the source when the user takes it back, whether the session has time for it or waits for a client that does
    /// not read.
    pub(super) async fn close_when_revoked(self, grants: Grants, extension: String, finished: Arc<Notify>) {
        grants.revoked(Some(&extension), Scope::of_source(self.kind)).await;
        if let Some(running) = self.take() {
            close_source(running).await;
            finished.notify_one();
        }
    }
}

impl From<NoConsent> for Failure {
    fn from(missing: NoConsent) -> Self {
        let failure = Self::new(ErrorKind::PermissionDenied, missing.advice);
        failure.with("reason", "no_consent").with("scope", missing.scope)
    }
}

impl Session {
    /// May this session do that, as the user has it now?
    pub(super) fn may(&self, scope: Scope) -> Result<(), Failure> {
        let extension = self.extension.as_deref();
        if self.hub.access().grants().allow(extension, scope) {
            return Ok(());
        }
        Err(scope.missing(extension).into())
    }

    /// Does something go on that the user can take back? Sources look after themselves.
    pub(super) fn has_to_ask_again(&self) -> bool {
        self.extension.is_some() && (!self.watches.is_empty() || self.fed().next().is_some())
    }

    /// The streams that the client itself feeds.
    fn fed(&self) -> impl Iterator<Item = &StreamId> {
        let is_fed = |feed: &Feed| matches!(feed, Feed::Extension { .. });
        self.streams.iter().filter(move |(_, stream)| is_fed(&stream.feed)).map(|(id, _)| id)
    }

    /// Ends what the user does not allow any more, and says so.
    pub(super) async fn end_what_is_not_allowed(&mut self) {
        if self.may(Scope::Models).is_err() {
            self.watches.clear();
        }
        if self.may(Scope::Frames).is_ok() {
            return;
        }
        let missing = Scope::Frames.missing(self.extension.as_deref()).into();
        for id in self.fed().cloned().collect::<Vec<_>>() {
            self.end_stream(&id, Some(&missing)).await;
        }
    }
}
