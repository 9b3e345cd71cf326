//! `role=publish`: pictures in, acknowledgements out.

use bytes::Bytes;

use super::socket::{Ended, Received, Socket, Why};
use crate::{
    access::{BearerSession, Grants, Scope},
    error::ErrorKind,
    frame::{FrameError, MAX_FRAME_BYTES, packet},
    message::{Failure, Rejected, Request, event, failure_event},
    streams::{FrameAck, Intake, PictureFields},
};

/// Longest message of a publisher, in bytes: the longest packet.
pub(super) const MAX_MESSAGE_BYTES: usize = packet::HEADER_BYTES + MAX_FRAME_BYTES;

/// Serves a socket to its end.
pub(super) async fn serve(mut socket: Socket, intake: &Intake, session: &BearerSession, grants: &Grants) {
    let why = tokio::select! {
        biased;
        () = session.over.cancelled() => Why::SessionOver,
        // The session ends its stream, when it has time for that: it may wait for a client that does not read.
        () = grants.revoked(session.extension.as_deref(), Scope::Frames) => Why::Done,
        () = intake.closed().cancelled() => Why::Done,
        ended = take_pictures(&mut socket, intake) => ended.into(),
    };
    if let Why::TooLong = why {
        let problem = format!("a message exceeds the limit of {MAX_MESSAGE_BYTES} bytes");
        let failure = Failure::new(ErrorKind::ResourceExhausted, problem);
        // A peer that does not read it does not read the farewell either.
        let _ = socket.text(failure_event(&failure.with("stream_id", intake.stream_id().as_str()))).await;
    }
    socket.close(why).await;
}

async fn take_pictures(socket: &mut Socket, intake: &Intake) -> Ended {
    // What the client has said about its next picture.
    let mut described = Ok(PictureFields::default());
    loop {
        let taken = match socket.receive().await {
            Ok(Received::Binary(packet)) => {
                let fields = std::mem::replace(&mut described, Ok(PictureFields::default()));
                take_packet(socket, intake, &packet, fields).await
            }
            Ok(Received::Text(text)) => match describe(text.as_bytes()) {
                Ok(fields) => {
                    described = fields;
                    Ok(())
                }
                Err(failure) => socket.text(failure_event(&failure)).await,
            },
            Err(ended) => Err(ended),
        };
        if let Err(ended) = taken {
            return ended;
        }
    }
}

/// Publishes a packet and acknowledges it, or says why not.
async fn take_packet(
    socket: &mut Socket,
    intake: &Intake,
    packet: &Bytes,
    fields: Result<PictureFields, Failure>,
) -> Result<(), Ended> {
    let published = intake.publish(|| {
        let PictureFields { frame_number, metadata } = fields?;
        // Whatever is wrong with a packet is wrong with the message that it is.
        let frame = packet::decode(packet)
            .map_err(|error: FrameError| Failure::new(error.kind(), error).with_field(Some("data")))?;
        Ok((Some(frame.with_metadata(metadata)), frame_number))
    });
    match published {
        Ok(frame_number) => {
            let stream_id = intake.stream_id().as_str();
            intake.give_back(1);
            socket.text(event("frame_ack", FrameAck { stream_id, frame_number, credits: 1 })).await
        }
        Err(failure) => socket.text(failure_event(&failure.with("type", "packet"))).await,
    }
}

/// Reads a text message: `picture`, which is about the next binary one. If that is wrong, it is the picture's fault.
fn describe(text: &[u8]) -> Result<Result<PictureFields, Failure>, Failure> {
    let request = Request::parse(text).map_err(|Rejected { error, .. }| Failure::from(error))?;
    match request.kind() {
        "picture" => Ok(PictureFields::read(&request).map_err(Failure::from)),
        unknown => {
            let failure = Failure::new(ErrorKind::Unimplemented, format!("unknown type {unknown:?}"));
            Err(failure.with("type", unknown))
        }
    }
}
