//! Every source as a stream of [`VideoFrame`]s, for programs that use framehost as a library: what the hub does for its
//! clients, without a hub.
//!
//! Belongs here: one method for each kind of source.
//! Does not belong here: the sources (`source`), packets and fragments (`frame`).
//!
//! Every method needs a tokio runtime. Each stream owns its source: dropping it closes the device.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use tokio_stream::{Stream, StreamExt};

use crate::{
    error::ErrorKind,
    frame::{
        FrameError, VideoFrame,
        fragment::{FragmentCounts, FragmentError, Reassembler},
        packet,
    },
    source::{
        Granted, OpenError, Running, SourceOptions, SourceSpec, Sources, Stop, camera::CameraOptions,
        file::FileOptions, screen::ScreenOptions,
    },
    streams::{Event, Notice, Owner, Queue, StreamError, StreamId, Streams, SubscribeOptions, Subscription, Trouble},
};

/// What a stream brings beside pictures.
#[derive(Debug, thiserror::Error)]
pub enum HandlerError {
    /// A message was no packet, and no part of one. The stream goes on.
    #[error(transparent)]
    Packet(#[from] FrameError),

    /// A message was no part of a packet. The stream goes on.
    #[error(transparent)]
    Fragment(#[from] FragmentError),

    /// The source cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),

    /// The stream's name is none, or in use.
    #[error(transparent)]
    Stream(#[from] StreamError),

    /// The device is gone and looked for: pictures go on when it is back.
    #[error("{}", .0.message)]
    Lost(Trouble),

    /// The source has failed. The stream ends.
    #[error("{}", .0.message)]
    Failed(Trouble),
}

impl HandlerError {
    /// Class of the failure.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Packet(error) => error.kind(),
            Self::Fragment(error) => error.kind(),
            Self::Open(error) => error.kind(),
            Self::Stream(error) => error.kind(),
            Self::Lost(trouble) | Self::Failed(trouble) => trouble.kind,
        }
    }

    /// The word for programs.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Packet(_) => "packet",
            Self::Fragment(_) => "fragment",
            Self::Open(OpenError::Source(error)) => error.reason(),
            Self::Open(OpenError::Stream(_)) | Self::Stream(_) => "stream",
            Self::Lost(trouble) | Self::Failed(trouble) => trouble.reason,
        }
    }
}

/// Opens sources. Cloning shares what is open.
#[derive(Debug, Clone, Default)]
pub struct StreamHandler {
    streams: Streams,
    sources: Sources,
    last_number: Arc<AtomicU64>,
}

/// The pictures of a source that is open.
#[derive(Debug)]
pub struct Captured {
    subscription: Subscription,
    // After the subscription, so that this one does not wait for its linger.
    running: Running,
}

impl Captured {
    /// What was granted, which may be other than what was asked for.
    pub const fn granted(&self) -> &Granted {
        self.running.granted()
    }

    /// The next picture; `None` at the end of the source.
    ///
    /// # Errors
    ///
    /// [`HandlerError::Lost`], after which pictures may go on, and [`HandlerError::Failed`], after which none come.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped.
    pub async fn next(&self) -> Option<Result<VideoFrame, HandlerError>> {
        loop {
            match self.subscription.next_event().await {
                Event::Frame(delivered) => {
                    let frame = VideoFrame::clone(&delivered.frame);
                    return Some(Ok(labelled(frame, self.subscription.stream_id(), delivered.source)));
                }
                Event::Notice(Notice::Lost(trouble)) => return Some(Err(HandlerError::Lost(trouble))),
                Event::Notice(Notice::Back) => {}
                Event::End(None) => return None,
                Event::End(Some(trouble)) => return Some(Err(HandlerError::Failed(trouble))),
            }
        }
    }

    /// Pictures that came too fast for whoever reads them.
    pub fn dropped(&self) -> u64 {
        self.subscription.snapshot().dropped
    }
}

impl StreamHandler {
    /// Nothing is open yet.
    pub fn new(options: SourceOptions) -> Self {
        Self { sources: Sources::new(options), ..Self::default() }
    }

    /// Packets of a WebRTC data channel, whole or in fragments, as pictures with `stream_id` and `source` in their
    /// metadata; `lost_packets` counts those of which fragments were lost, `clamped` the times that did not increase and
    /// were moved to the last plus one.
    pub fn handle_webrtc_stream(
        &self,
        stream_id: &StreamId,
        data_channel: impl Stream<Item = Bytes>,
    ) -> impl Stream<Item = Result<VideoFrame, HandlerError>> {
        packets(stream_id.clone(), "webrtc", data_channel)
    }

    /// Packets of a pipe, one in each message, as pictures with `stream_id` and `source` in their metadata.
    pub fn handle_native_stream(
        &self,
        stream_id: &StreamId,
        pipe_reader: impl Stream<Item = Bytes>,
    ) -> impl Stream<Item = Result<VideoFrame, HandlerError>> {
        packets(stream_id.clone(), "native", pipe_reader)
    }

    /// A camera's pictures; only the newest where they are not read fast enough.
    ///
    /// # Errors
    ///
    /// [`HandlerError::Open`].
    pub async fn capture_camera(&self, options: CameraOptions) -> Result<Captured, HandlerError> {
        self.open(SourceSpec::Camera(options), Queue::Suitable).await
    }

    /// A screen's pictures; only the newest where they are not read fast enough.
    ///
    /// # Errors
    ///
    /// [`HandlerError::Open`].
    pub async fn capture_screen(&self, options: ScreenOptions) -> Result<Captured, HandlerError> {
        self.open(SourceSpec::Screen(options), Queue::Suitable).await
    }

    /// Every picture of a video file, as fast as they are read.
    ///
    /// # Errors
    ///
    /// [`HandlerError::Open`].
    pub async fn read_video_file(&self, options: FileOptions) -> Result<Captured, HandlerError> {
        self.open(SourceSpec::File(options), Queue::Suitable).await
    }

    /// Any source. `queue`: which pictures are kept while nobody reads.
    ///
    /// # Errors
    ///
    /// [`HandlerError::Open`].
    ///
    /// # Cancel safety
    ///
    /// The device is let go of if the future is dropped.
    pub async fn open(&self, spec: SourceSpec, queue: Queue) -> Result<Captured, HandlerError> {
        let number = self.last_number.fetch_add(1, Ordering::Relaxed) + 1;
        let id = StreamId::parse(&format!("{}-{number}", spec.kind()))?;
        // Before the source begins, so that the first picture is not lost.
        let options = SubscribeOptions { wait: true, queue, ..SubscribeOptions::default() };
        let subscription = self.streams.subscribe(&id, options)?;
        let (sources, streams) = (self.sources.clone(), self.streams.clone());
        let stop = Stop::default();
        let _abandoned = stop.on_drop();
        let opening = tokio::task::spawn_blocking(move || sources.open(&streams, &id, spec, Owner::default(), &stop));
        match opening.await {
            Ok(running) => Ok(Captured { subscription, running: running? }),
            Err(error) => {
                let message = format!("opening has failed: {error}");
                Err(HandlerError::Failed(Trouble {
                    kind: ErrorKind::Internal,
                    reason: "internal",
                    scope: None,
                    message,
                }))
            }
        }
    }
}

/// Pictures out of messages, numbered, with times that increase.
fn packets(
    stream_id: StreamId,
    source: &'static str,
    messages: impl Stream<Item = Bytes>,
) -> impl Stream<Item = Result<VideoFrame, HandlerError>> {
    let mut reassembler = Reassembler::default();
    let mut place = None::<(u32, u64)>;
    let mut clamped = 0_u64;
    messages.filter_map(move |message| {
        let packet = match reassembler.push(message) {
            Ok(packet) => packet?,
            Err(error) => return Some(Err(error.into())),
        };
        let frame = match packet::decode(&packet) {
            Ok(frame) => frame,
            Err(error) => return Some(Err(error.into())),
        };
        let (number, earliest_ms) = place.map_or((0, 0), |(number, last_ms)| (next_number(number), last_ms + 1));
        let timestamp_ms = frame.timestamp_ms().max(earliest_ms);
        clamped += u64::from(timestamp_ms != frame.timestamp_ms());
        place = Some((number, timestamp_ms));
        let mut frame = labelled(frame.with_place(number, timestamp_ms), &stream_id, source);
        let FragmentCounts { lost, .. } = reassembler.counts();
        if lost > 0 {
            frame = with(frame, "lost_packets", lost.to_string());
        }
        if clamped > 0 {
            frame = with(frame, "clamped", clamped.to_string());
        }
        Some(Ok(frame))
    })
}

const fn next_number(number: u32) -> u32 {
    if number == crate::frame::MAX_FRAME_NUMBER { 0 } else { number + 1 }
}

fn labelled(frame: VideoFrame, stream_id: &StreamId, source: &'static str) -> VideoFrame {
    with(with(frame, "stream_id", stream_id.to_string()), "source", source.to_owned())
}

fn with(frame: VideoFrame, key: &str, value: String) -> VideoFrame {
    let mut metadata = frame.metadata().clone();
    metadata.insert(key.to_owned(), value);
    frame.with_metadata(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::{Format, PixelFormat, fragment},
        source::synthetic::SyntheticOptions,
    };

    fn packet(width: u32, timestamp_ms: u64) -> Bytes {
        let data = vec![9; PixelFormat::Rgb.packed_len(width, 1).unwrap()];
        let frame =
            VideoFrame::try_new(Format::Pixels(PixelFormat::Rgb), Some((width, 1)), timestamp_ms, data.into()).unwrap();
        packet::encode(&frame).unwrap().into()
    }

    #[tokio::test]
    async fn packets_whole_and_in_fragments_become_numbered_pictures() {
        let handler = StreamHandler::default();
        let id = StreamId::parse("cam-001").unwrap();
        let large = fragment::split(1, &packet(16_000, 40)).into_iter().chain(fragment::split(2, &packet(1, 10)));
        let junk = [Bytes::from_static(&[0; 5]), packet(2, 41)];
        let messages: Vec<_> = [packet(1, 50)].into_iter().chain(large).chain(junk).collect();
        let of_pipe: Vec<_> = handler.handle_native_stream(&id, tokio_stream::iter(messages.clone())).collect().await;
        let pictures: Vec<_> = handler.handle_webrtc_stream(&id, tokio_stream::iter(messages)).collect().await;
        let native = of_pipe[0].as_ref().unwrap();
        assert_eq!((of_pipe.len(), native.metadata()["source"].as_str()), (pictures.len(), "native"));
        assert_eq!(native.frame_data(), pictures[0].as_ref().unwrap().frame_data());
        let seen: Vec<_> = pictures
            .iter()
            .map(|picture| match picture {
                Ok(frame) => Ok((frame.frame_number(), frame.timestamp_ms(), frame.width())),
                Err(error) => Err(error.reason()),
            })
            .collect();
        assert_eq!(seen, [Ok((0, 50, 1)), Ok((1, 51, 16_000)), Ok((2, 52, 1)), Err("packet"), Ok((3, 53, 2))]);
        let metadata = pictures[0].as_ref().unwrap().metadata();
        assert_eq!((metadata["stream_id"].as_str(), metadata["source"].as_str()), ("cam-001", "webrtc"));
        let clamped = |k: usize| pictures[k].as_ref().unwrap().metadata().get("clamped").map(String::as_str);
        assert_eq!([clamped(0), clamped(1), clamped(2), clamped(4)], [None, Some("1"), Some("2"), Some("3")]);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn an_opening_that_nobody_waits_for_is_given_up() {
        let hanging = crate::source::hanging::Hanging::new();
        let handler = StreamHandler::new(hanging.options());
        let spec = hanging.spec();
        let opening = tokio::spawn(async move { handler.open(spec, Queue::Suitable).await.map(drop) });
        let begun = hanging.begun().await;
        opening.abort();
        begun.given_up().await;
    }

    #[tokio::test]
    async fn a_source_that_ends_ends_its_stream() {
        let handler = StreamHandler::default();
        let options = SyntheticOptions { width: 32, height: 1, fps: 240.0, frames: 5, ..Default::default() };
        let captured = handler.open(SourceSpec::Synthetic(options), Queue::fifo(9).unwrap()).await.unwrap();
        assert_eq!(captured.granted().backend, "synthetic");
        let mut numbers = Vec::new();
        while let Some(frame) = captured.next().await {
            numbers.push(frame.unwrap().frame_number());
        }
        assert_eq!(numbers, [0, 1, 2, 3, 4]);
    }
}
