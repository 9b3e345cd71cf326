//! What the user has allowed the extension, asked for where it is needed, and again as long as something goes on.

use super::{Session, streams::Feed};
use crate::{
    access::Scope,
    error::ErrorKind,
    message::Failure,
    streams::{NoConsent, StreamId},
};

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
