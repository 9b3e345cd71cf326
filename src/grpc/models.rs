//! `ModelManagementService`.

use std::{pin::Pin, time::Duration};

use tokio::sync::{mpsc, watch};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

use super::{convert::count, pb};
use crate::models::{
    FileName, ModelFile, ModelId, ModelWatch, PullOptions, PullProgress, Revision, STALL_LIMIT, SharedModels,
};

/// Bytes of a file in one message (512 KiB: Python receives 256 KiB to 1 MiB fastest, and more copies at tonic's end).
const CHUNK_BYTES: u64 = 512 << 10;

/// Chunks read ahead of a client: enough to read the disk while one is sent.
const CHUNKS_AHEAD: usize = 2;

/// How often the client of a pull hears how far it is.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Messages that wait for the client of a pull.
const PROGRESS_AHEAD: usize = 4;

#[derive(Debug)]
pub(super) struct Models {
    models: SharedModels,
}

impl Models {
    pub(super) fn new(models: &SharedModels) -> Self {
        Self { models: models.clone() }
    }
}

#[tonic::async_trait]
impl pb::model_management_service_server::ModelManagementService for Models {
    type GetModelFileStream = Pin<Box<dyn Stream<Item = Result<pb::ModelFileChunk, Status>> + Send>>;

    async fn get_model_file(
        &self,
        request: Request<pb::ModelFileRequest>,
    ) -> Result<Response<Self::GetModelFileStream>, Status> {
        let pb::ModelFileRequest { model_id, file_path, revision, offset, length } = request.into_inner();
        let name = FileName::parse(&model_id, &file_path, &revision)?;
        let (offset, length) = (not_negative("offset", offset)?, not_negative("length", length)?);
        let file = self.models.stream(name).await?;
        // On the wire 0 is what is not set: to the end.
        let range = file.range(offset, if length == 0 { u64::MAX } else { length })?;
        let (chunks, receiver) = mpsc::channel(CHUNKS_AHEAD);
        tokio::spawn(send_chunks(file, range, chunks));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn resolve_model_file(
        &self,
        request: Request<pb::ResolveModelFileRequest>,
    ) -> Result<Response<pb::ResolvedModelFile>, Status> {
        let pb::ResolveModelFileRequest { model_id, file_path, revision } = request.into_inner();
        let name = FileName::parse(&model_id, &file_path, &revision)?;
        let file = self.models.open(name).await?;
        Ok(Response::new(file.resolved.clone().into()))
    }

    async fn list_models(
        &self,
        request: Request<pb::ListModelsRequest>,
    ) -> Result<Response<pb::ListModelsResponse>, Status> {
        let model_id = request.into_inner().model_id;
        let model_id = if model_id.is_empty() { None } else { Some(ModelId::parse(&model_id)?) };
        let models = self.models.list(model_id).await?;
        Ok(Response::new(pb::ListModelsResponse { models: models.iter().map(pb::Model::from).collect() }))
    }

    async fn describe_model(
        &self,
        request: Request<pb::DescribeModelRequest>,
    ) -> Result<Response<pb::ModelDescription>, Status> {
        let pb::DescribeModelRequest { model_id, revision } = request.into_inner();
        let model_id = ModelId::parse(&model_id)?;
        let revision = if revision.is_empty() { Revision::default() } else { Revision::parse(&revision)? };
        let described = self.models.variants(Some(model_id), Some(revision)).await?;
        let described = described.into_iter().next();
        described
            .map(|model| Response::new(model.into()))
            .ok_or_else(|| Status::not_found("no_such_revision: the revision has no files"))
    }

    type WatchModelsStream = Pin<Box<dyn Stream<Item = Result<pb::ModelChange, Status>> + Send>>;

    async fn watch_models(
        &self,
        request: Request<pb::WatchModelsRequest>,
    ) -> Result<Response<Self::WatchModelsStream>, Status> {
        let model_id = request.into_inner().model_id;
        let model_id = if model_id.is_empty() { None } else { Some(ModelId::parse(&model_id)?) };
        // One waits for the client, no more: what it has not been told is told as it is then.
        let (changes, receiver) = mpsc::channel(1);
        tokio::spawn(send_changes(self.models.watch(model_id), changes));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    type PullModelStream = Pin<Box<dyn Stream<Item = Result<pb::PullModelProgress, Status>> + Send>>;

    async fn pull_model(
        &self,
        request: Request<pb::PullModelRequest>,
    ) -> Result<Response<Self::PullModelStream>, Status> {
        let pb::PullModelRequest { model_id, revision, include, exclude } = request.into_inner();
        let model_id = ModelId::parse(&model_id)?;
        let revision = if revision.is_empty() { Revision::default() } else { Revision::parse(&revision)? };
        let (messages, receiver) = mpsc::channel(PROGRESS_AHEAD);
        let wanted = (model_id, revision, PullOptions { include, exclude });
        tokio::spawn(send_progress(self.models.clone(), wanted, messages));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }
}

/// Tells what changes until the client is gone.
async fn send_changes(mut watch: ModelWatch, changes: mpsc::Sender<Result<pb::ModelChange, Status>>) {
    loop {
        tokio::select! {
            goes_on = watch.changed() => {
                // What is told is what is so when it can be told.
                let Ok(place) = changes.reserve().await else { return };
                if !goes_on {
                    return place.send(Err(Status::unavailable("the model cache cannot be watched")));
                }
                if let Some(change) = watch.take() {
                    place.send(Ok(change.into()));
                }
            }
            () = changes.closed() => return,
        }
    }
}

/// Pulls, tells how far it is, and ends when it is done or the client is gone.
async fn send_progress(
    models: SharedModels,
    (model_id, revision, options): (ModelId, Revision, PullOptions),
    messages: mpsc::Sender<Result<pb::PullModelProgress, Status>>,
) {
    let (progress, mut news) = watch::channel(PullProgress::default());
    let pull = models.pull(&model_id, &revision, &options, &progress);
    tokio::pin!(pull);
    let ended = loop {
        tokio::select! {
            ended = &mut pull => break ended,
            () = messages.closed() => return,
            () = tokio::time::sleep(PROGRESS_INTERVAL) => {
                if news.has_changed().unwrap_or(false) {
                    let message = pb::PullModelProgress::from(&*news.borrow_and_update());
                    // One that does not keep up gets the next one.
                    let _ = messages.try_send(Ok(message));
                }
            }
        }
    };
    let last = ended.map(|report| {
        let snapshot_path = report.snapshot_dir.to_string_lossy().into_owned();
        let from_cache = report.from_cache;
        pb::PullModelProgress { snapshot_path, from_cache, ..pb::PullModelProgress::from(&*news.borrow()) }
    });
    // A failed send: the client has left.
    let _ = messages.send(last.map_err(Status::from)).await;
}

fn not_negative(name: &str, value: i64) -> Result<u64, Status> {
    u64::try_from(value).map_err(|_| Status::invalid_argument(format!("{name} {value} is negative")))
}

/// Reads and sends until the range is done or the client is gone. A client that waits holds no thread.
async fn send_chunks(
    file: ModelFile,
    range: std::ops::Range<u64>,
    chunks: mpsc::Sender<Result<pb::ModelFileChunk, Status>>,
) {
    let mut offset = range.start;
    loop {
        let end = range.end.min(offset + CHUNK_BYTES);
        let data = match file.read_some(offset..end).await {
            Ok(data) => data,
            Err(error) => return drop(chunks.send(Err(error.into())).await),
        };
        let (is_first, next) = (offset == range.start, offset + data.len() as u64);
        let chunk = pb::ModelFileChunk {
            offset: count(offset),
            total_size: count(file.resolved.size_bytes),
            is_last: next == range.end,
            sha256: if is_first { file.resolved.sha256.clone() } else { String::new() },
            commit: if is_first { file.resolved.commit.as_str().to_owned() } else { String::new() },
            verified: is_first && file.resolved.verified,
            data,
        };
        // A failed send: the client has left.
        // One that takes nothing for so long has stopped, and gives the file and its memory back.
        let sent = tokio::time::timeout(STALL_LIMIT, chunks.send(Ok(chunk))).await;
        if !matches!(sent, Ok(Ok(()))) || next == range.end {
            return;
        }
        offset = next;
    }
}
