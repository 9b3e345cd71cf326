//! Between the crate's types and the wire's, and between its error classes and gRPC's.

use tonic::{Code, Status};

use super::pb;
use crate::{
    error::ErrorKind,
    frame::Format,
    models::{ModelError, ModelSummary, ResolvedFile},
    streams::{Delivered, QueueError, StreamError, StreamId, StreamSnapshot, SubscriberSnapshot},
};

/// The one table from error classes to status codes.
pub(super) const fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::Cancelled => Code::Cancelled,
        ErrorKind::Unknown => Code::Unknown,
        ErrorKind::InvalidArgument => Code::InvalidArgument,
        ErrorKind::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::PermissionDenied => Code::PermissionDenied,
        ErrorKind::ResourceExhausted => Code::ResourceExhausted,
        ErrorKind::FailedPrecondition => Code::FailedPrecondition,
        ErrorKind::Aborted => Code::Aborted,
        ErrorKind::OutOfRange => Code::OutOfRange,
        ErrorKind::Unimplemented => Code::Unimplemented,
        ErrorKind::Internal => Code::Internal,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::DataLoss => Code::DataLoss,
        ErrorKind::Unauthenticated => Code::Unauthenticated,
    }
}

impl From<ModelError> for Status {
    fn from(error: ModelError) -> Self {
        Self::new(code(error.kind()), error.to_string())
    }
}

impl From<StreamError> for Status {
    fn from(error: StreamError) -> Self {
        Self::new(code(error.kind()), error.to_string())
    }
}

impl From<QueueError> for Status {
    fn from(error: QueueError) -> Self {
        Self::invalid_argument(error.to_string())
    }
}

/// A picture for one subscriber. The pixels are shared; the metadata are the subscriber's own.
pub(super) fn video_frame(stream_id: &StreamId, delivered: &Delivered) -> pb::VideoFrame {
    let frame = &delivered.frame;
    let mut metadata: std::collections::HashMap<_, _> =
        frame.metadata().iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    metadata.insert("stream_id".to_owned(), stream_id.to_string());
    metadata.insert("source".to_owned(), delivered.source.to_owned());
    metadata.insert("dropped".to_owned(), delivered.dropped.to_string());
    pb::VideoFrame {
        frame_data: frame.frame_data().clone(),
        format: frame.format().as_str().to_owned(),
        width: side(frame.width()),
        height: side(frame.height()),
        timestamp_ms: count(frame.timestamp_ms()),
        frame_number: frame.frame_number().cast_signed(),
        metadata,
    }
}

impl From<StreamSnapshot> for pb::StreamInfo {
    fn from(stream: StreamSnapshot) -> Self {
        Self {
            stream_id: stream.stream_id,
            source: stream.source.to_owned(),
            width: side(stream.width),
            height: side(stream.height),
            format: stream.format.map_or("", Format::as_str).to_owned(),
            fps: stream.fps,
            received: count(stream.received),
            published: count(stream.published),
            dropped: count(stream.dropped),
            bytes: count(stream.bytes),
            clamped: count(stream.clamped),
            subscribers: stream.subscribers.into_iter().map(pb::SubscriberInfo::from).collect(),
        }
    }
}

impl From<SubscriberSnapshot> for pb::SubscriberInfo {
    fn from(subscriber: SubscriberSnapshot) -> Self {
        Self {
            subscriber_id: count(subscriber.subscriber_id),
            depth: i32::try_from(subscriber.depth).unwrap_or(i32::MAX),
            delivered: count(subscriber.delivered),
            dropped: count(subscriber.dropped),
        }
    }
}

impl From<ResolvedFile> for pb::ResolvedModelFile {
    fn from(file: ResolvedFile) -> Self {
        Self {
            path: file.path.to_string_lossy().into_owned(),
            size_bytes: count(file.size_bytes),
            sha256: file.sha256,
            etag: file.etag,
            commit: file.commit.as_str().to_owned(),
            verified: file.verified,
        }
    }
}

impl From<ModelSummary> for pb::Model {
    fn from(model: ModelSummary) -> Self {
        let file = |file: crate::models::FileEntry| pb::ModelFile {
            file_path: file.file_path.as_str().to_owned(),
            size_bytes: count(file.size_bytes),
        };
        Self {
            model_id: model.model_id.as_str().to_owned(),
            revision: model.revision,
            commit: model.commit.as_str().to_owned(),
            complete: model.complete,
            size_bytes: count(model.size_bytes),
            files: model.files.into_iter().map(file).collect(),
        }
    }
}

/// A count as the wire has it. No count of ours reaches 2^63.
pub(super) fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A side in pixels, at most `MAX_SIDE`.
fn side(pixels: u32) -> i32 {
    i32::try_from(pixels).unwrap_or(i32::MAX)
}
