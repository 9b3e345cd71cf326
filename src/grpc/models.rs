//! `ModelManagementService`.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::sync::{mpsc, watch};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

use super::{convert::count, pb};
use crate::models::{
    FileChunk, FileName, FileReader, ModelId, ModelWatch, PullOptions, PullProgress, Revision, Room, STALL_LIMIT,
    SharedModels,
};

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
        let reader = self.models.reader(file, range)?;
        let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
        tokio::spawn(send_chunks(reader, sender));
        Ok(Response::new(Box::pin(Chunks { receiver, under_way: None })))
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

/// A chunk for the client, and its room as long as it is under way.
type Sent = (Result<pb::ModelFileChunk, Status>, Option<Room>);

/// The chunks of a file, as the transport asks for them.
struct Chunks {
    receiver: mpsc::Receiver<Sent>,
    /// The last one's: the transport has it until it asks for the next.
    under_way: Option<Room>,
}

impl Stream for Chunks {
    type Item = Result<pb::ModelFileChunk, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.under_way = None;
        self.receiver.poll_recv(context).map(|sent| {
            let (chunk, room) = sent?;
            self.under_way = room;
            Some(chunk)
        })
    }
}

/// Reads and sends until the range is done or the client is gone. A client that waits holds no thread.
async fn send_chunks(mut reader: FileReader, sender: mpsc::Sender<Sent>) {
    let mut is_first = true;
    loop {
        let read = tokio::select! {
            read = reader.next() => read,
            // It may take long until there is more of a file that arrives.
            () = sender.closed() => return,
        };
        let FileChunk { offset, bytes, room } = match read {
            Ok(chunk) => chunk,
            Err(error) => return drop(sender.send((Err(error.into()), None)).await),
        };
        let resolved = &reader.file.resolved;
        let chunk = pb::ModelFileChunk {
            offset: count(offset),
            total_size: count(resolved.size_bytes),
            is_last: reader.is_done(),
            sha256: if is_first { resolved.sha256.clone() } else { String::new() },
            commit: if is_first { resolved.commit.as_str().to_owned() } else { String::new() },
            verified: is_first && resolved.verified,
            data: bytes,
        };
        is_first = false;
        // A failed send: the client has left.
        // One that takes nothing for so long has stopped, and gives the file and its memory back.
        let sent = tokio::time::timeout(STALL_LIMIT, sender.send((Ok(chunk), Some(room)))).await;
        if !matches!(sent, Ok(Ok(()))) || reader.is_done() {
            return;
        }
    }
}
