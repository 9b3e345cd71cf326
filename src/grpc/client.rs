//! A stream's pictures from a running hub, for commands of the same user.
//!
//! Its transport is that of the client for others, `clients/rust`.

use std::time::Duration;

use framehost_client::Transport;
use http::{HeaderValue, header};
use tokio::time::timeout;
use tonic::{Code, Request, Status, Streaming, metadata::MetadataValue};

use super::{MAX_MESSAGE_BYTES, convert, pb};
use crate::{error::ErrorKind, frame::VideoFrame};

/// How long the hub may take for each answer that is no stream.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why the hub does not give what is asked for.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each field is named in its variant's message")]
pub enum ClientError {
    /// There is none.
    #[error("no hub is running: a browser starts one, and so does `framehost hub`")]
    NoHub,

    /// It does not answer, or not any more.
    #[error("the hub does not answer: {problem}")]
    Unreachable { problem: String },

    /// It refuses, or the stream has ended with an error.
    #[error("{message}")]
    Refused { kind: ErrorKind, message: String },
}

impl ClientError {
    /// Class of the failure.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NoHub | Self::Unreachable { .. } => ErrorKind::Unavailable,
            Self::Refused { kind, .. } => *kind,
        }
    }

    /// The word for programs: what the hub's message begins with, where it does with one.
    pub fn reason(&self) -> &str {
        match self {
            Self::NoHub | Self::Unreachable { .. } => "no_hub",
            Self::Refused { kind, message } => {
                let word = message.split_once(": ").map(|(word, _)| word);
                let is_word = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
                word.filter(is_word).unwrap_or(kind.as_str())
            }
        }
    }
}

impl From<framehost_client::ClientError> for ClientError {
    fn from(error: framehost_client::ClientError) -> Self {
        let framehost_client::ClientError::Unreachable { problem } = error else {
            return Self::Unreachable { problem: error.to_string() };
        };
        Self::Unreachable { problem }
    }
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        let is_transport = std::error::Error::source(&status).is_some();
        if is_transport || status.code() == Code::Unknown {
            return Self::Unreachable { problem: status.message().to_owned() };
        }
        Self::Refused { kind: convert::kind(status.code()), message: status.message().to_owned() }
    }
}

/// A connection to a hub.
#[derive(Debug)]
pub struct Client {
    service: pb::stream_service_client::StreamServiceClient<Transport>,
    token: HeaderValue,
}

/// A stream's pictures.
#[derive(Debug)]
pub struct Pictures {
    incoming: Streaming<pb::VideoFrame>,
    dropped: u64,
}

/// How to subscribe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchOptions {
    /// The stream's name.
    pub stream_id: String,
    /// Also if nobody has opened it yet.
    pub wait: bool,
    /// Pictures that wait while the reader is busy, `1..=MAX_FIFO_DEPTH`.
    pub depth: usize,
}

impl Client {
    /// Connects. `address`: of the hub's port. `token`: the user's.
    ///
    /// # Errors
    ///
    /// [`ClientError::Unreachable`].
    pub async fn connect(address: &str, token: &str) -> Result<Self, ClientError> {
        let unreachable = |problem: String| ClientError::Unreachable { problem };
        let transport = Transport::connect(address).await?;
        let origin = transport.origin();
        let bearer = HeaderValue::from_str(&format!("Bearer {token}"));
        let token = bearer.map_err(|error| unreachable(error.to_string()))?;
        let service = pb::stream_service_client::StreamServiceClient::with_origin(transport, origin)
            .max_decoding_message_size(MAX_MESSAGE_BYTES);
        Ok(Self { service, token })
    }

    /// The names of the streams that there are.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn stream_ids(&mut self) -> Result<Vec<String>, ClientError> {
        let request = self.request(pb::ListStreamsRequest {});
        let answer = timeout(TIMEOUT, self.service.list_streams(request)).await;
        let answer =
            answer.map_err(|_| ClientError::Unreachable { problem: format!("no answer in {TIMEOUT:?}") })??;
        Ok(answer.into_inner().streams.into_iter().map(|stream| stream.stream_id).collect())
    }

    /// Subscribes to a stream as it is, in order.
    ///
    /// # Errors
    ///
    /// [`ClientError`].
    pub async fn watch(&mut self, options: WatchOptions) -> Result<Pictures, ClientError> {
        let WatchOptions { stream_id, wait, depth } = options;
        let fifo = pb::Fifo { depth: i32::try_from(depth).unwrap_or(i32::MAX) };
        let queue = Some(pb::subscribe_frames_request::Queue::Fifo(fifo));
        let request = self.request(pb::SubscribeFramesRequest { stream_id, wait, queue, ..Default::default() });
        let incoming = self.service.subscribe_frames(request).await?.into_inner();
        Ok(Pictures { incoming, dropped: 0 })
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Ok(token) = MetadataValue::try_from(self.token.as_bytes()) {
            request.metadata_mut().insert(header::AUTHORIZATION.as_str(), token);
        }
        request
    }
}

impl Pictures {
    /// The next picture; `None` when the stream has come to its end.
    ///
    /// # Errors
    ///
    /// [`ClientError`], after which none come.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Result<Option<VideoFrame>, ClientError> {
        let Some(wire) = self.incoming.message().await? else {
            return Ok(None);
        };
        let dropped = wire.metadata.get("dropped").and_then(|dropped| dropped.parse().ok());
        self.dropped = dropped.unwrap_or(self.dropped);
        let (frame, number) = convert::published_frame(wire)?;
        let timestamp_ms = frame.timestamp_ms();
        Ok(Some(frame.with_place(number, timestamp_ms)))
    }

    /// Pictures that the subscription had lost before the last one that came.
    pub const fn dropped(&self) -> u64 {
        self.dropped
    }
}
