//! `StreamService`.

use std::{pin::Pin, sync::Arc};

use serde_json::value::RawValue;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::{Served, convert, opened::Opened, pb};
use crate::{
    frame::Format,
    framing::MAX_OUTBOUND_BODY,
    streams::{Origin, Queue, StreamId, Streams, SubscribeOptions, Subscription, Wish},
};

/// Longest result, in bytes: with its envelope it has to fit one message to the browser.
const MAX_RESULT_BYTES: usize = 1_000_000;

const _: () = assert!(MAX_RESULT_BYTES + 4096 <= MAX_OUTBOUND_BODY);

/// The metadata of a `PublishFrames` call: the stream that it feeds.
const STREAM_ID_KEY: &str = "stream-id";

/// The metadata of a `PublishFrames` call: `true` if its pictures carry their numbers.
const NUMBERED_KEY: &str = "numbered";

#[derive(Debug)]
pub(super) struct Frames {
    streams: Streams,
    opened: Opened,
}

impl Frames {
    pub(super) fn new(served: &Served) -> Self {
        Self { streams: served.streams.clone(), opened: Opened::new(served) }
    }
}

#[tonic::async_trait]
impl pb::stream_service_server::StreamService for Frames {
    type SubscribeFramesStream = Pin<Box<dyn Stream<Item = Result<pb::VideoFrame, Status>> + Send>>;

    async fn list_streams(
        &self,
        _request: Request<pb::ListStreamsRequest>,
    ) -> Result<Response<pb::ListStreamsResponse>, Status> {
        let streams = self.streams.list().into_iter().map(pb::StreamInfo::from).collect();
        Ok(Response::new(pb::ListStreamsResponse { streams }))
    }

    async fn subscribe_frames(
        &self,
        request: Request<pb::SubscribeFramesRequest>,
    ) -> Result<Response<Self::SubscribeFramesStream>, Status> {
        let request = request.into_inner();
        let stream_id = StreamId::parse(&request.stream_id)?;
        let queue = match request.queue {
            None => Queue::Suitable,
            Some(pb::subscribe_frames_request::Queue::Latest(_)) => Queue::Latest,
            Some(pb::subscribe_frames_request::Queue::Fifo(fifo)) => Queue::fifo(fifo.depth.into())?,
        };
        let accept = request.accept_formats.iter().map(|name| Format::parse(name)).collect::<Result<_, _>>()?;
        let max_width = (request.max_width != 0).then_some(request.max_width.into());
        let max_fps = (request.max_fps != 0.0).then_some(request.max_fps);
        let wish = Wish::new(accept, max_width, max_fps)?;
        let options = SubscribeOptions { wait: request.wait, queue, wish, ..SubscribeOptions::default() };
        let subscription = self.streams.subscribe(&stream_id, options)?;
        Ok(Response::new(Box::pin(frames(subscription))))
    }

    async fn publish_frames(
        &self,
        request: Request<Streaming<pb::VideoFrame>>,
    ) -> Result<Response<pb::PublishFramesResponse>, Status> {
        let text = |key: &str| request.metadata().get(key).and_then(|value| value.to_str().ok());
        let problem = "the call's metadata name no stream (stream-id)";
        let stream_id = StreamId::parse(text(STREAM_ID_KEY).ok_or_else(|| Status::invalid_argument(problem))?)?;
        let is_numbered = text(NUMBERED_KEY) == Some("true");
        let publisher = self.streams.open(&stream_id, Origin { source: "process", ..Origin::default() })?;
        let mut frames = request.into_inner();
        let mut response = pb::PublishFramesResponse::default();
        while let Some(frame) = frames.next().await {
            let (frame, number) = convert::published_frame(frame?).inspect_err(|_| publisher.reject())?;
            publisher.publish(frame, is_numbered.then_some(number));
            response.published += 1;
        }
        Ok(Response::new(response))
    }

    async fn list_devices(&self, _request: Request<pb::ListDevicesRequest>) -> Result<Response<pb::Devices>, Status> {
        Ok(Response::new(self.opened.list_devices().await?.into()))
    }

    async fn open_stream(
        &self,
        request: Request<pb::OpenStreamRequest>,
    ) -> Result<Response<pb::OpenStreamResponse>, Status> {
        self.opened.open(request.into_inner()).await.map(Response::new)
    }

    async fn close_stream(
        &self,
        request: Request<pb::CloseStreamRequest>,
    ) -> Result<Response<pb::CloseStreamResponse>, Status> {
        let stream_id = StreamId::parse(&request.into_inner().stream_id)?;
        self.opened.close(&stream_id).await?;
        Ok(Response::new(pb::CloseStreamResponse {}))
    }

    async fn publish_results(
        &self,
        request: Request<Streaming<pb::FrameResult>>,
    ) -> Result<Response<pb::PublishResultsResponse>, Status> {
        let mut results = request.into_inner();
        let mut response = pb::PublishResultsResponse::default();
        while let Some(result) = results.next().await {
            let result = result?;
            let stream_id = StreamId::parse(&result.stream_id)?;
            let frame_number = u32::try_from(result.frame_number)
                .map_err(|_| Status::invalid_argument(format!("frame_number {} is negative", result.frame_number)))?;
            if self.streams.give_result(&stream_id, frame_number, json(result.json)?)? {
                response.delivered += 1;
            } else {
                response.dropped += 1;
            }
        }
        Ok(Response::new(response))
    }
}

/// The subscription as the call's stream. It ends when the call does, as the client drops it.
fn frames(subscription: Subscription) -> impl Stream<Item = Result<pb::VideoFrame, Status>> {
    tokio_stream::iter(std::iter::repeat(Arc::new(subscription)))
        .then(|subscription| async move {
            match subscription.next().await {
                Ok(delivered) => delivered.map(|one| Ok(convert::video_frame(subscription.stream_id(), &one))),
                Err(trouble) => Some(Err(Status::from(trouble))),
            }
        })
        .map_while(|frame| frame)
}

/// A worker's result, checked to be one JSON value.
fn json(text: String) -> Result<Arc<RawValue>, Status> {
    if text.len() > MAX_RESULT_BYTES {
        let problem = format!("json of {} bytes exceeds the limit of {MAX_RESULT_BYTES} bytes", text.len());
        return Err(Status::invalid_argument(problem));
    }
    RawValue::from_string(text)
        .map(Arc::from)
        .map_err(|error| Status::invalid_argument(format!("json is not a JSON value: {error}")))
}
