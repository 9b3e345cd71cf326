//! `ModelManagementService`.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

use super::{convert::count, pb};
use crate::models::{FileName, ModelError, ModelId, ModelStore, OpenModelFile};

/// Bytes of a file in one message (512 KiB: Python receives 256 KiB to 1 MiB fastest, and more copies at tonic's end).
const CHUNK_BYTES: usize = 512 << 10;

/// Chunks read ahead of a client: enough to read the disk while one is sent.
const CHUNKS_AHEAD: usize = 2;

#[derive(Debug)]
pub(super) struct Models {
    store: Arc<ModelStore>,
}

impl Models {
    pub(super) fn new(store: &Arc<ModelStore>) -> Self {
        Self { store: Arc::clone(store) }
    }

    /// Disk work on the store, away from the tasks that carry pictures.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ModelStore) -> Result<T, ModelError> + Send + 'static,
    ) -> Result<T, Status> {
        let store = Arc::clone(&self.store);
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        Ok(done.map_err(|error| Status::internal(error.to_string()))??)
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
        let file = self.blocking(move |store| store.open(&name)).await?;
        // On the wire 0 is what is not set: to the end.
        let range = file.range(offset, if length == 0 { u64::MAX } else { length })?;
        let (chunks, receiver) = mpsc::channel(CHUNKS_AHEAD);
        tokio::spawn(send_chunks(Arc::new(file), range, chunks));
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn resolve_model_file(
        &self,
        request: Request<pb::ResolveModelFileRequest>,
    ) -> Result<Response<pb::ResolvedModelFile>, Status> {
        let pb::ResolveModelFileRequest { model_id, file_path, revision } = request.into_inner();
        let name = FileName::parse(&model_id, &file_path, &revision)?;
        let file = self.blocking(move |store| store.resolve(&name)).await?;
        Ok(Response::new(file.into()))
    }

    async fn list_models(
        &self,
        request: Request<pb::ListModelsRequest>,
    ) -> Result<Response<pb::ListModelsResponse>, Status> {
        let model_id = request.into_inner().model_id;
        let model_id = if model_id.is_empty() { None } else { Some(ModelId::parse(&model_id)?) };
        let models = self.blocking(move |store| store.list(model_id.as_ref())).await?;
        Ok(Response::new(pb::ListModelsResponse { models: models.into_iter().map(pb::Model::from).collect() }))
    }
}

fn not_negative(name: &str, value: i64) -> Result<u64, Status> {
    u64::try_from(value).map_err(|_| Status::invalid_argument(format!("{name} {value} is negative")))
}

/// Reads and sends until the range is done or the client is gone. A client that waits holds no thread.
async fn send_chunks(
    file: Arc<OpenModelFile>,
    range: std::ops::Range<u64>,
    chunks: mpsc::Sender<Result<pb::ModelFileChunk, Status>>,
) {
    let mut offset = range.start;
    loop {
        let wanted = usize::try_from(range.end - offset).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        let reader = Arc::clone(&file);
        let read = tokio::task::spawn_blocking(move || reader.read_at(offset, wanted)).await;
        let data = match read.map_err(|error| Status::internal(error.to_string())) {
            Ok(Ok(data)) => data,
            Ok(Err(error)) => return drop(chunks.send(Err(error.into())).await),
            Err(status) => return drop(chunks.send(Err(status)).await),
        };
        let (is_first, next) = (offset == range.start, offset + data.len() as u64);
        let chunk = pb::ModelFileChunk {
            offset: count(offset),
            total_size: count(file.resolved.size_bytes),
            is_last: next == range.end,
            sha256: if is_first { file.resolved.sha256.clone() } else { String::new() },
            commit: if is_first { file.resolved.commit.as_str().to_owned() } else { String::new() },
            verified: is_first && file.resolved.verified,
            data: Bytes::from(data),
        };
        // A failed send: the client has left.
        if chunks.send(Ok(chunk)).await.is_err() || next == range.end {
            return;
        }
        offset = next;
    }
}
