//! What the user has allowed the extension, asked for where it is needed.

use std::time::Duration;

use super::{Session, streams::Feed};
use crate::{
    access::Scope,
    error::ErrorKind,
    message::Failure,
    source::SourceSpec,
    streams::{StreamId, Trouble},
};

/// How often a session that captures looks whether it still may.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(1);

impl Session {
    /// May this session do that, as the user has it now?
    pub(super) fn may(&self, scope: Scope) -> Result<(), Failure> {
        let extension = self.extension.as_deref();
        if self.hub.access().grants().allow(extension, scope) {
            return Ok(());
        }
        let failure = Failure::new(ErrorKind::PermissionDenied, scope.advice(extension));
        Err(failure.with("reason", "no_consent").with("scope", scope.as_str()))
    }

    /// May it open that source?
    pub(super) fn may_open(&self, spec: Option<&SourceSpec>) -> Result<(), Failure> {
        self.may(spec.map_or(Scope::Frames, |spec| Scope::of_source(spec.kind())))
    }

    /// Does the hub capture anything for the extension?
    pub(super) fn captures(&self) -> bool {
        self.extension.is_some() && self.captured().next().is_some()
    }

    fn captured(&self) -> impl Iterator<Item = (&StreamId, &'static str)> {
        self.streams.iter().filter_map(|(id, stream)| match &stream.feed {
            Feed::Source { kind, .. } => Some((id, *kind)),
            Feed::Extension { .. } => None,
        })
    }

    /// Closes what the user does not allow any more, and says so.
    pub(super) async fn end_what_is_not_allowed(&mut self) {
        let is_over = |(_, kind): &(&StreamId, &'static str)| self.may(Scope::of_source(kind)).is_err();
        let over: Vec<_> = self.captured().filter(is_over).map(|(id, kind)| (id.clone(), kind)).collect();
        for (id, kind) in over {
            self.end_stream(&id, Some(&Trouble::no_consent(kind))).await;
        }
    }
}
