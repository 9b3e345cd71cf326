//! `RustFileProvider`: files of models from the host's cache.

use std::{ops::Range, path::PathBuf};

use bytes::{Bytes, BytesMut};
use http::header;
use tonic::{Request, Streaming, metadata::MetadataValue};

use crate::{ClientError, Transport, pb, pb::model_management_service_client::ModelManagementServiceClient};

/// Largest message that is taken, in bytes (4 MiB): chunks have 1 MiB at most.
const MAX_MESSAGE_BYTES: usize = 4 << 20;

/// Bytes that are set aside for a file before any have come (64 MiB): its size is the hub's word.
const MAX_RESERVED_BYTES: u64 = 64 << 20;

/// Model files from the hub. Cloning shares the connection.
#[derive(Debug, Clone)]
pub struct RustFileProvider {
    pub(crate) service: ModelManagementServiceClient<Transport>,
    pub(crate) revision: String,
    token: Option<MetadataValue<tonic::metadata::Ascii>>,
}

/// A file's bytes as they come, in order.
#[derive(Debug)]
pub struct FileStream {
    chunks: Streaming<pb::ModelFileChunk>,
    next: Option<pb::ModelFileChunk>,
    offset: u64,
    size_bytes: u64,
    sha256: String,
    commit: String,
    is_over: bool,
}

impl RustFileProvider {
    /// Connects to the hub at `host:port`: `127.0.0.1:50052`, or what `framehost status` shows.
    ///
    /// # Errors
    ///
    /// [`ClientError::Unreachable`].
    pub async fn connect(address: &str) -> Result<Self, ClientError> {
        let transport = Transport::connect(address).await?;
        let origin = transport.origin();
        let service = ModelManagementServiceClient::with_origin(transport, origin);
        let service = service.max_decoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Self { service, revision: String::new(), token: None })
    }

    /// The same hub's files of a branch, a tag or a commit; `main` unless set.
    #[must_use]
    pub fn with_revision(mut self, revision: &str) -> Self {
        revision.clone_into(&mut self.revision);
        self
    }

    /// For the hub of another user: the token of its `hub.json`.
    ///
    /// # Errors
    ///
    /// [`ClientError::Broken`] for one that no header can carry.
    pub fn with_token(mut self, token: &str) -> Result<Self, ClientError> {
        let bearer = MetadataValue::try_from(format!("Bearer {token}"));
        self.token = Some(bearer.map_err(|error| ClientError::Broken { problem: error.to_string() })?);
        Ok(self)
    }

    /// A file's bytes, checked against its digest. Prefer [`Self::get_file_path`] for large ones.
    ///
    /// `model_id`: "org/name" or "name". `file_path`: inside the model, "onnx/model.onnx".
    ///
    /// # Errors
    ///
    /// [`ClientError`]: neither the cache nor upstream has it, it is damaged, the hub is gone.
    pub async fn get_file(&self, model_id: &str, file_path: &str) -> Result<Bytes, ClientError> {
        self.collect(self.request(model_id, file_path, 0, 0)).await
    }

    /// A file's absolute path in the cache, checked against its digest. Read it, never write to it.
    ///
    /// # Errors
    ///
    /// As [`Self::get_file`].
    pub async fn get_file_path(&self, model_id: &str, file_path: &str) -> Result<PathBuf, ClientError> {
        let request = self.bearing(pb::ResolveModelFileRequest {
            model_id: model_id.to_owned(),
            file_path: file_path.to_owned(),
            revision: self.revision.clone(),
        });
        let resolved = self.service.clone().resolve_model_file(request).await?.into_inner();
        Ok(PathBuf::from(resolved.path))
    }

    /// The bytes of `range`, as far as the file goes. Its start may be the file's size.
    ///
    /// # Errors
    ///
    /// As [`Self::get_file`], and [`ErrorClass::OutOfRange`](crate::ErrorClass) for a start beyond the end.
    pub async fn read_range(&self, model_id: &str, file_path: &str, range: Range<u64>) -> Result<Bytes, ClientError> {
        // For the hub a length of 0 is all there is.
        let length = range.end.saturating_sub(range.start);
        if length == 0 {
            return Ok(Bytes::new());
        }
        self.collect(self.request(model_id, file_path, range.start, length)).await
    }

    /// A file's bytes as they come, at the caller's pace: what is not taken is not sent.
    ///
    /// # Errors
    ///
    /// As [`Self::get_file`]; those that come later, [`FileStream::next`] tells.
    pub async fn stream_file(&self, model_id: &str, file_path: &str) -> Result<FileStream, ClientError> {
        self.open(self.request(model_id, file_path, 0, 0)).await
    }

    fn request(&self, model_id: &str, file_path: &str, offset: u64, length: u64) -> pb::ModelFileRequest {
        pb::ModelFileRequest {
            model_id: model_id.to_owned(),
            file_path: file_path.to_owned(),
            revision: self.revision.clone(),
            offset: i64::try_from(offset).unwrap_or(i64::MAX),
            length: i64::try_from(length).unwrap_or(i64::MAX),
        }
    }

    async fn open(&self, request: pb::ModelFileRequest) -> Result<FileStream, ClientError> {
        let offset = u64::try_from(request.offset).unwrap_or_default();
        let mut chunks = self.service.clone().get_model_file(self.bearing(request)).await?.into_inner();
        let first = chunks.message().await?;
        let first = first.ok_or_else(|| ClientError::Broken { problem: "it has no first chunk".to_owned() })?;
        Ok(FileStream {
            chunks,
            offset,
            size_bytes: u64::try_from(first.total_size).unwrap_or_default(),
            sha256: first.sha256.clone(),
            commit: first.commit.clone(),
            next: Some(first),
            is_over: false,
        })
    }

    async fn collect(&self, request: pb::ModelFileRequest) -> Result<Bytes, ClientError> {
        let mut stream = self.open(request).await?;
        let left = stream.size_bytes.saturating_sub(stream.offset).min(MAX_RESERVED_BYTES);
        let mut bytes = BytesMut::with_capacity(usize::try_from(left).unwrap_or_default());
        while let Some(chunk) = stream.next().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }

    pub(crate) fn bearing<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert(header::AUTHORIZATION.as_str(), token.clone());
        }
        request
    }
}

impl FileStream {
    /// The next bytes; `None` when the file is whole.
    ///
    /// # Errors
    ///
    /// [`ClientError`]. Bytes that came before are not verified then: do not use them.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        let chunk = match self.next.take() {
            Some(first) => Some(first),
            None => self.chunks.message().await?,
        };
        let broken = |problem: String| ClientError::Broken { problem };
        let Some(chunk) = chunk else {
            return if self.is_over { Ok(None) } else { Err(broken(format!("it ends at byte {}", self.offset))) };
        };
        if u64::try_from(chunk.offset) != Ok(self.offset) || self.is_over {
            return Err(broken(format!("a chunk of byte {} follows byte {}", chunk.offset, self.offset)));
        }
        self.offset += chunk.data.len() as u64;
        self.is_over = chunk.is_last;
        Ok(Some(chunk.data))
    }

    /// Of the whole file.
    pub const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Of the whole file, 64 hex digits.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// 40 hex digits: what the revision stands for.
    pub fn commit(&self) -> &str {
        &self.commit
    }
}
