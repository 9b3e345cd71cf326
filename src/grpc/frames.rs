//! `StreamService`.

use std::{pin::Pin, sync::Arc};

use serde_json::value::RawValue;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use super::{convert, pb};
use crate::{
    framing::MAX_OUTBOUND_BODY,
    streams::{Queue, StreamId, Streams, Subscription},
};

/// Longest result, in bytes: with its envelope it has to fit one message to the browser.
const MAX_RESULT_BYTES: usize = 1_000_000;

const _: () = assert!(MAX_RESULT_BYTES + 4096 <= MAX_OUTBOUND_BODY);

#[derive(Debug)]
pub(super) struct Frames {
    streams: Streams,
}

impl Frames {
    pub(super) fn new(streams: &Streams) -> Self {
        Self { streams: streams.clone() }
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
            None | Some(pb::subscribe_frames_request::Queue::Latest(_)) => Queue::Latest,
            Some(pb::subscribe_frames_request::Queue::Fifo(fifo)) => Queue::fifo(fifo.depth.into())?,
        };
        let subscription = self.streams.subscribe(&stream_id, request.wait, queue)?;
        Ok(Response::new(Box::pin(frames(subscription))))
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
            let delivered = subscription.next().await?;
            Some(convert::video_frame(subscription.stream_id(), &delivered))
        })
        .map_while(|frame| frame.map(Ok))
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
