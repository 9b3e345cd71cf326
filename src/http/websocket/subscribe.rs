//! `role=subscribe`: pictures out.

use http::StatusCode;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::{
    handshake::Refused,
    socket::{Ended, Socket, Why},
};
use crate::{
    frame::{Codec, Format, FrameError, Metadata, packet},
    message::event,
    streams::{Delivered, Event, Subscription, SubscriptionEnded, Trouble, Wish},
};

/// How to subscribe, as the query says.
#[derive(Debug, Default)]
pub(super) struct SubscribeQuery {
    format: Option<Format>,
    max_width: Option<i64>,
    max_fps: Option<f64>,
    pub(super) wait: bool,
    /// Is there a `frame` event before each picture, with what a packet has no place for?
    pub(super) describe: bool,
}

#[derive(Serialize)]
struct FrameFields<'a> {
    stream_id: &'a str,
    frame_number: u32,
    dropped: u64,
    metadata: &'a Metadata,
}

impl SubscribeQuery {
    /// Takes one parameter. Unknown ones are ignored.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(), Refused> {
        let wrong = || Refused::new(StatusCode::BAD_REQUEST, format!("{name}={value:?} cannot be read"));
        match name {
            "format" => self.format = Some(Format::parse(value)?),
            "max_width" => self.max_width = Some(value.parse().map_err(|_| wrong())?),
            "max_fps" => self.max_fps = Some(value.parse().map_err(|_| wrong())?),
            "wait" => self.wait = value.parse().map_err(|_| wrong())?,
            "describe" => self.describe = value.parse().map_err(|_| wrong())?,
            _ => {}
        }
        Ok(())
    }

    pub(super) fn wish(&self) -> Result<Wish, Refused> {
        let format = self.format.unwrap_or(Format::Encoded(Codec::Jpeg));
        if format.packet_byte().is_none() {
            return Err(FrameError::NoPacketByte { format }.into());
        }
        Ok(Wish::new(vec![format], self.max_width, self.max_fps)?)
    }
}

/// Serves a socket to its end. One that reads slowly loses pictures, counted.
pub(super) async fn serve(
    mut socket: Socket,
    subscription: &Subscription,
    is_described: bool,
    session_over: &CancellationToken,
) {
    let why = tokio::select! {
        biased;
        () = session_over.cancelled() => Why::SessionOver,
        why = show(&mut socket, subscription, is_described) => why,
    };
    socket.close(why).await;
}

async fn show(socket: &mut Socket, subscription: &Subscription, is_described: bool) -> Why {
    loop {
        let shown = tokio::select! {
            event = subscription.next_event() => match event {
                Event::Frame(delivered) => send_frame(socket, subscription, &delivered, is_described).await,
                Event::Notice(_) => Ok(()),
                Event::End(trouble) => {
                    // Whether it hears of it or not, this is the end.
                    drop(end(socket, subscription, trouble.as_ref()).await);
                    return Why::Done;
                }
            },
            // It has nothing to say, but it may leave.
            received = socket.receive() => received.map(drop),
        };
        if let Err(ended) = shown {
            return ended.into();
        }
    }
}

async fn send_frame(
    socket: &mut Socket,
    subscription: &Subscription,
    delivered: &Delivered,
    is_described: bool,
) -> Result<(), Ended> {
    let packet = match packet::encode(&delivered.frame) {
        Ok(packet) => packet,
        Err(error) => {
            tracing::debug!(%error, "a picture that no packet carries");
            subscription.count_dropped();
            return Ok(());
        }
    };
    if is_described {
        let fields = FrameFields {
            stream_id: subscription.stream_id().as_str(),
            frame_number: delivered.frame.frame_number(),
            dropped: delivered.dropped,
            metadata: delivered.frame.metadata(),
        };
        socket.text(event("frame", fields)).await?;
    }
    socket.binary(packet).await
}

async fn end(socket: &mut Socket, subscription: &Subscription, error: Option<&Trouble>) -> Result<(), Ended> {
    let reason = if error.is_some() { "failed" } else { "finished" };
    let stream_id = subscription.stream_id().as_str();
    socket.text(event("subscription_ended", SubscriptionEnded { stream_id, reason, error })).await
}
