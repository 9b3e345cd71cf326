//! Between the crate's types and the wire's, and between its error classes and gRPC's.

use tonic::{Code, Status};

use super::pb;
use crate::{
    error::ErrorKind,
    frame::{Format, FrameError, Metadata, VideoFrame},
    models::{
        ChangeKind, DescribedModel, FileEntry, ModelChange, ModelError, ModelSummary, PullProgress, ResolvedFile,
        UnreadableFile, Variant,
    },
    source::{OpenError, SourceError},
    streams::{Delivered, QueueError, StreamError, StreamId, StreamSnapshot, SubscriberSnapshot, Trouble, WishError},
};

/// Most bytes of the metadata of a picture that a process publishes: what an extension may send, too.
const MAX_METADATA_BYTES: usize = 256 << 10;

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

/// The same table the other way round, for what a hub answers us.
pub(super) const fn kind(code: Code) -> ErrorKind {
    match code {
        // No failure is told as OK.
        Code::Ok | Code::Unknown => ErrorKind::Unknown,
        Code::Cancelled => ErrorKind::Cancelled,
        Code::InvalidArgument => ErrorKind::InvalidArgument,
        Code::DeadlineExceeded => ErrorKind::DeadlineExceeded,
        Code::NotFound => ErrorKind::NotFound,
        Code::AlreadyExists => ErrorKind::AlreadyExists,
        Code::PermissionDenied => ErrorKind::PermissionDenied,
        Code::ResourceExhausted => ErrorKind::ResourceExhausted,
        Code::FailedPrecondition => ErrorKind::FailedPrecondition,
        Code::Aborted => ErrorKind::Aborted,
        Code::OutOfRange => ErrorKind::OutOfRange,
        Code::Unimplemented => ErrorKind::Unimplemented,
        Code::Internal => ErrorKind::Internal,
        Code::Unavailable => ErrorKind::Unavailable,
        Code::DataLoss => ErrorKind::DataLoss,
        Code::Unauthenticated => ErrorKind::Unauthenticated,
    }
}

/// The word for programs comes first, where there is one.
impl From<ModelError> for Status {
    fn from(error: ModelError) -> Self {
        let message = match error.reason() {
            Some(reason) => format!("{reason}: {error}"),
            None => error.to_string(),
        };
        Self::new(code(error.kind()), message)
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

/// A picture that a process publishes, and the number that it gave it.
pub(super) fn published_frame(wire: pb::VideoFrame) -> Result<(VideoFrame, u32), Status> {
    let format = Format::parse(&wire.format)?;
    let side = |side: i32| u32::try_from(side).unwrap_or(0);
    // Stills say their own size.
    let size = (wire.width != 0 || wire.height != 0).then_some((side(wire.width), side(wire.height)));
    let timestamp_ms = u64::try_from(wire.timestamp_ms)
        .map_err(|_| Status::invalid_argument(format!("timestamp_ms {} is negative", wire.timestamp_ms)))?;
    let number = u32::try_from(wire.frame_number)
        .map_err(|_| Status::invalid_argument(format!("frame_number {} is negative", wire.frame_number)))?;
    let metadata: Metadata = wire.metadata.into_iter().collect();
    let metadata_bytes = metadata.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
    if metadata_bytes > MAX_METADATA_BYTES {
        let problem = format!("metadata of {metadata_bytes} bytes exceed the limit of {MAX_METADATA_BYTES}");
        return Err(Status::invalid_argument(problem));
    }
    let frame = VideoFrame::try_new(format, size, timestamp_ms, wire.frame_data)?;
    Ok((frame.with_metadata(metadata), number))
}

impl From<FrameError> for Status {
    fn from(error: FrameError) -> Self {
        Self::new(code(error.kind()), error.to_string())
    }
}

impl From<WishError> for Status {
    fn from(error: WishError) -> Self {
        Self::new(code(error.kind()), error.to_string())
    }
}

/// The word for programs comes first.
impl From<Trouble> for Status {
    fn from(trouble: Trouble) -> Self {
        Self::new(code(trouble.kind), format!("{}: {}", trouble.reason, trouble.message))
    }
}

/// The word for programs comes first.
impl From<SourceError> for Status {
    fn from(error: SourceError) -> Self {
        Trouble::from(&error).into()
    }
}

impl From<OpenError> for Status {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Source(error) => error.into(),
            OpenError::Stream(error) => error.into(),
        }
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
            latency_ms: stream.latency_ms,
            trouble: stream.trouble.map_or_else(String::new, |one| format!("{}: {}", one.reason, one.message)),
            clamped: count(stream.clamped),
            lost_packets: count(stream.lost_packets),
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

impl From<&PullProgress> for pb::PullModelProgress {
    fn from(progress: &PullProgress) -> Self {
        Self {
            file_path: progress.file_path.clone(),
            bytes_done: count(progress.bytes_done),
            bytes_total: count(progress.bytes_total),
            files_done: i32::try_from(progress.files_done).unwrap_or(i32::MAX),
            files_total: i32::try_from(progress.files_total).unwrap_or(i32::MAX),
            commit: progress.commit.clone(),
            snapshot_path: String::new(),
            from_cache: false,
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

impl From<&ModelSummary> for pb::Model {
    fn from(model: &ModelSummary) -> Self {
        Self { files: model.files.iter().map(pb::ModelFile::from).collect(), ..without_files(model) }
    }
}

impl From<ModelChange> for pb::ModelChange {
    fn from(change: ModelChange) -> Self {
        let kind = match change.kind {
            ChangeKind::Present => pb::model_change::Kind::Present,
            ChangeKind::Changed => pb::model_change::Kind::Changed,
            ChangeKind::Removed => pb::model_change::Kind::Removed,
        };
        let files_left_out = change.leaves_files_out();
        let model = if files_left_out || change.kind == ChangeKind::Removed {
            without_files(&change.model)
        } else {
            (&*change.model).into()
        };
        Self { kind: kind.into(), model: Some(model), files_left_out }
    }
}

impl From<DescribedModel> for pb::ModelDescription {
    fn from(model: DescribedModel) -> Self {
        let unreadable = |file: UnreadableFile| pb::UnreadableFile { file_path: file.file_path, problem: file.problem };
        Self {
            model_id: model.model_id.as_str().to_owned(),
            revision: model.revision,
            commit: model.commit.as_str().to_owned(),
            complete: model.complete,
            size_bytes: count(model.size_bytes),
            variants: model.variants.into_iter().map(pb::ModelVariant::from).collect(),
            unreadable: model.unreadable.into_iter().map(unreadable).collect(),
        }
    }
}

impl From<Variant> for pb::ModelVariant {
    fn from(variant: Variant) -> Self {
        Self {
            name: variant.name,
            format: variant.format.to_owned(),
            dtype: variant.dtype,
            architecture: variant.architecture.unwrap_or_default(),
            tensors: count(variant.tensors),
            parameters: count(variant.parameters.unwrap_or(0)),
            files: variant.files.iter().map(pb::ModelFile::from).collect(),
            missing: variant.missing,
            size_bytes: count(variant.size_bytes),
            complete: variant.complete,
        }
    }
}

impl From<&FileEntry> for pb::ModelFile {
    fn from(file: &FileEntry) -> Self {
        Self { file_path: file.file_path.as_str().to_owned(), size_bytes: count(file.size_bytes) }
    }
}

fn without_files(model: &ModelSummary) -> pb::Model {
    pb::Model {
        model_id: model.model_id.as_str().to_owned(),
        revision: model.revision.clone(),
        commit: model.commit.as_str().to_owned(),
        complete: model.complete,
        size_bytes: count(model.size_bytes),
        files: Vec::new(),
    }
}

/// A count as the wire has it. No count of ours reaches 2^63.
pub(super) fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A side in pixels, at most `MAX_SIDE`.
pub(super) fn side(pixels: u32) -> i32 {
    i32::try_from(pixels).unwrap_or(i32::MAX)
}
