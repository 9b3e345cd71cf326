//! A source that a session holds, and that ends with the user's consent.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, watch};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    access::{Grants, Scope},
    source::{Granted, Running, SourceState},
    streams::{Publisher, StreamSnapshot, Trouble},
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

/// Closes a source's stream: its device may be in the middle of a picture.
async fn close_source(running: Running) -> Option<StreamSnapshot> {
    match tokio::task::spawn_blocking(move || running.close()).await {
        Ok(counters) => Some(counters),
        Err(error) => {
            tracing::error!(%error, "a source did not end cleanly");
            None
        }
    }
}
