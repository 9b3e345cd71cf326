//! `frame` and `packet`: pictures on their way from the extension to a stream, and the credits they cost.

use bytes::Bytes;
use serde::Serialize;

use super::{Reply, Session, ok, outbound::Place, stream_id, streams::Feed};
use crate::{
    error::ErrorKind,
    frame::{Format, FrameError, VideoFrame, fragment::Reassembler, packet},
    message::{Failure, MessageError, Request},
    streams::{FrameAck, PictureFields, StreamId},
};

/// Credits that go back with the next `frame_ack`.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ack {
    frame_number: Option<u32>,
    credits: u32,
}

#[derive(Serialize)]
struct Published {
    /// None for a fragment that completes no packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    frame_number: Option<u32>,
}

impl Session {
    pub(super) fn frame(&mut self, request: &Request<'_>) -> Result<Reply, Failure> {
        self.publish(request, |request, _| read_frame(request).map(Some))
    }

    pub(super) fn packet(&mut self, request: &Request<'_>) -> Result<Reply, Failure> {
        // Whatever is wrong with a packet is wrong with the field that it came in.
        let of_data = |error: FrameError| Failure::new(error.kind(), error).with_field(Some("data"));
        self.publish(request, |request, reassembler| {
            let message = Bytes::from(request.base64("data")?);
            let packet = reassembler
                .push(message)
                .map_err(|error| Failure::new(error.kind(), error).with_field(Some("data")))?;
            packet.map(|packet| packet::decode(&packet).map_err(of_data)).transpose()
        })
    }

    /// Spends a credit, reads the picture and publishes it; a picture that is refused gives its credit back at once.
    fn publish(
        &mut self,
        request: &Request<'_>,
        read: impl FnOnce(&Request<'_>, &mut Reassembler) -> Result<Option<VideoFrame>, Failure>,
    ) -> Result<Reply, Failure> {
        let id = stream_id(request)?;
        let stream = self.streams.get_mut(&id).ok_or_else(|| no_stream(&id))?;
        let Feed::Extension { intake, reassembler } = &mut stream.feed else {
            let problem = "this stream makes its own pictures";
            return Err(Failure::new(ErrorKind::FailedPrecondition, problem).with("stream_id", id.as_str()));
        };
        let published = intake.publish(|| {
            let fields = PictureFields::read(request)?;
            let frame = read(request, reassembler)?;
            Ok((frame.map(|frame| frame.with_metadata(fields.metadata)), fields.frame_number))
        });
        stream.publisher.set_lost_packets(reassembler.counts().lost);
        let frame_number = published?;
        let ack = self.acks.entry(id).or_default();
        ack.frame_number = frame_number.or(ack.frame_number);
        ack.credits += 1;
        ok(&Published { frame_number })
    }

    /// Sends the acknowledgements for which there is room. Those that wait add up, so that a client that reads
    /// slowly gets few large ones; a credit is back when its acknowledgement is on its way.
    pub(super) fn flush_acks(&mut self) {
        while !self.acks.is_empty()
            && let Some(place) = self.out.free_place()
        {
            self.send_ack(place);
        }
    }

    /// Sends the acknowledgement that is next, if there is one.
    pub(super) fn send_ack(&mut self, place: Place) {
        let Some((id, Ack { frame_number, credits })) = self.acks.pop_first() else {
            return;
        };
        place.event("frame_ack", FrameAck { stream_id: id.as_str(), frame_number, credits });
        if let Some(Feed::Extension { intake, .. }) = self.streams.get(&id).map(|stream| &stream.feed) {
            intake.give_back(credits);
        }
    }
}

/// The picture in a `frame` request.
fn read_frame(request: &Request<'_>) -> Result<VideoFrame, Failure> {
    let format = Format::parse(&request.text("format")?)?;
    let size = match (side(request, "width")?, side(request, "height")?) {
        (Some(width), Some(height)) => Some((width, height)),
        (None, None) => None,
        (Some(_), None) => return Err(MessageError::Missing { field: "height" }.into()),
        (None, Some(_)) => return Err(MessageError::Missing { field: "width" }.into()),
    };
    let timestamp_ms = request.required("timestamp_ms")?;
    let data = Bytes::from(request.base64("data")?);
    Ok(VideoFrame::try_new(format, size, timestamp_ms, data)?)
}

/// A side in pixels. Numbers beyond 32 bits are sizes, too, if impossible ones.
fn side(request: &Request<'_>, field: &'static str) -> Result<Option<u32>, Failure> {
    let side = request.optional::<u64>(field)?;
    let in_range = |side| {
        u32::try_from(side).map_err(|_| {
            let error = FrameError::Size { width: side, height: side };
            Failure::from(MessageError::field(field, error))
        })
    };
    side.map(in_range).transpose()
}

/// This session has no such stream.
pub(super) fn no_stream(id: &StreamId) -> Failure {
    Failure::new(ErrorKind::NotFound, format!("this session has no stream {:?}", id.as_str()))
        .with("stream_id", id.as_str())
}
