//! `models.watch` and `models.unwatch`: what changes in the model cache, as events.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio::task::AbortHandle;

use super::{Reply, Session, models::FileEntry, ok, outbound::Outbound, requests::Nothing};
use crate::{
    error::ErrorKind,
    message::{Failure, Request},
    models::{ChangeKind, ModelChange, ModelId, ModelWatch},
};

/// Watches of one session.
const MAX_WATCHES: usize = 16;

/// The watches of a session, by their numbers. Dropping one ends it.
#[derive(Default)]
pub(super) struct Watches {
    by_number: BTreeMap<u32, Carrier>,
    last: u32,
}

struct Carrier(AbortHandle);

impl Drop for Carrier {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Watches {
    pub(super) fn is_empty(&self) -> bool {
        self.by_number.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.by_number.clear();
    }
}

#[derive(Serialize)]
struct Watched {
    watch: u32,
}

#[derive(Serialize)]
struct Changed<'a> {
    watch: u32,
    kind: &'static str,
    model_id: &'a str,
    revision: &'a str,
    commit: &'a str,
    complete: bool,
    size_bytes: u64,
    /// Absent with too many, and of a model that is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<Vec<FileEntry>>,
}

impl Session {
    pub(super) async fn models_watch(&mut self, request: &Request<'_>) -> Result<Reply, Failure> {
        let model_id = request.optional::<String>("model_id")?.map(|id| ModelId::parse(&id)).transpose()?;
        if self.watches.by_number.len() >= MAX_WATCHES {
            let problem = format!("this session has {MAX_WATCHES} watches already");
            return Err(Failure::new(ErrorKind::ResourceExhausted, problem));
        }
        self.watches.last += 1;
        let watch = self.watches.last;
        // Before the first event: it has the number that the answer tells.
        if let Some(id) = request.id() {
            self.out.ok(id, &Watched { watch }).await;
        }
        let changes = self.hub.models().watch(model_id);
        let carrier = tokio::spawn(carry_changes(watch, changes, self.out.clone())).abort_handle();
        self.watches.by_number.insert(watch, Carrier(carrier));
        Ok(Reply::Later)
    }

    pub(super) fn models_unwatch(&mut self, request: &Request<'_>) -> Result<Reply, Failure> {
        let watch = request.required::<u32>("watch")?;
        match self.watches.by_number.remove(&watch) {
            Some(_) => ok(&Nothing {}),
            None => {
                let failure = Failure::new(ErrorKind::NotFound, format!("this session has no watch {watch}"));
                Err(failure.with("watch", watch))
            }
        }
    }
}

/// Tells what changes for as long as the session has the watch.
async fn carry_changes(watch: u32, mut changes: ModelWatch, out: Outbound) {
    while changes.changed().await {
        // What is told is what is so when it can be told.
        let Some(place) = out.clone().place().await else { return };
        if let Some(change) = changes.take() {
            place.event("models.changed", changed(watch, &change));
        }
    }
}

fn changed(watch: u32, change: &ModelChange) -> Changed<'_> {
    let model = &change.model;
    let is_told = change.kind != ChangeKind::Removed && !change.leaves_files_out();
    Changed {
        watch,
        kind: change.kind.as_str(),
        model_id: model.model_id.as_str(),
        revision: &model.revision,
        commit: model.commit.as_str(),
        complete: model.complete,
        size_bytes: model.size_bytes,
        files: is_told.then(|| model.files.iter().map(FileEntry::from).collect()),
    }
}
