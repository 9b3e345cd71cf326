//! What the user has allowed the extension, asked for where it is needed, and again as long as something goes on.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

use super::{
    Session,
    streams::{Feed, close_source},
};
use crate::{
    access::{Grants, Scope},
    error::ErrorKind,
    message::Failure,
    source::{Granted, Running, SourceState},
    streams::{NoConsent, Publisher, StreamId, StreamSnapshot, Trouble},
};

/// A source of a session, until it is closed or the user takes it back.
pub(super) struct HeldSource {
    kind: &'static str,
    running: Arc<Mutex<Option<Running>>>,
    state: watch::Receiver<SourceState>,
    publisher: Arc<Publisher>,
    granted: Granted,
    _consent: Option<AbortOnDropHandle<()>>,
}

/// Who may take a source back from a session, and how it is told.
#[derive(Clone)]
pub(super) struct Consent {
    pub(super) grants: Grants,
    /// `None`: a session of the user's own.
    pub(super) extension: Option<String>,
    /// Told when a source was taken back.
    pub(super) finished: Arc<Notify>,
}

impl HeldSource {
    /// From here on the user's word holds, whether the session has taken the source in or waits for a client that does not
    /// read.
    pub(super) fn new(kind: &'static str, running: Running, consent: Consent) -> Self {
        let (state, publisher) = (running.state(), Arc::clone(running.publisher()));
        let granted = running.granted().clone();
        let running = Arc::new(Mutex::new(Some(running)));
        let Consent { grants, extension, finished } = consent;
        let held = Arc::clone(&running);
        let watch = extension.map(|extension| async move {
            grants.revoked(Some(&extension), Scope::of_source(kind)).await;
            if let Some(running) = taken(&held) {
                close_source(running).await;
                finished.notify_one();
            }
        });
        let _consent = watch.map(|watch| AbortOnDropHandle::new(tokio::spawn(watch)));
        Self { kind, running, state, publisher, granted, _consent }
    }

    /// Where its pictures go.
    pub(super) const fn publisher(&self) -> &Arc<Publisher> {
        &self.publisher
    }

    /// What its device gives.
    pub(super) const fn granted(&self) -> &Granted {
        &self.granted
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

    /// Stops it, if it runs still, and tells its last counters.
    pub(super) async fn close(self) -> Option<StreamSnapshot> {
        close_source(taken(&self.running)?).await
    }
}

fn taken(running: &Mutex<Option<Running>>) -> Option<Running> {
    running.lock().unwrap_or_else(PoisonError::into_inner).take()
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
