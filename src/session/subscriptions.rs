//! `stream.subscribe` and `stream.unsubscribe`: a stream's pictures for the extension itself, small enough for a message.

use std::{collections::hash_map::Entry, sync::Arc};

use serde::Serialize;
use tokio::task::AbortHandle;

use super::{Reply, Session, ok, outbound::Outbound, stream_id};
use crate::{
    access::Scope,
    error::ErrorKind,
    frame::{Codec, Format, Metadata},
    framing::MAX_OUTBOUND_BODY,
    message::{Failure, MessageError, Request},
    streams::{Delivered, Event, Queue, StreamId, SubscribeOptions, Subscription, SubscriptionEnded, Wish, WishError},
};

/// Subscriptions of one session.
const MAX_SUBSCRIPTIONS: usize = 16;

/// Bytes of a picture in one message: base64 turns 3 into 4, and 64 KiB are left for its metadata and the envelope.
const MAX_PREVIEW_BYTES: usize = (MAX_OUTBOUND_BODY - (64 << 10)) / 4 * 3;

/// A subscription of this session. Dropping it ends it.
pub(super) struct OpenSubscription {
    subscription: Arc<Subscription>,
    carrier: AbortHandle,
}

#[derive(Serialize)]
struct Subscribed<'a> {
    stream_id: &'a str,
    format: &'static str,
}

#[derive(Serialize)]
struct Unsubscribed<'a> {
    stream_id: &'a str,
    delivered: u64,
    dropped: u64,
}

#[derive(Serialize)]
struct FrameFields<'a> {
    stream_id: &'a str,
    frame_number: u32,
    timestamp_ms: u64,
    format: &'static str,
    width: u32,
    height: u32,
    dropped: u64,
    metadata: &'a Metadata,
    data: String,
}

impl Session {
    pub(super) fn stream_subscribe(&mut self, request: &Request<'_>) -> Result<Reply, Failure> {
        let id = stream_id(request)?;
        let format = match request.optional::<String>("format")? {
            Some(name) => Format::parse(&name)?,
            None => Format::Encoded(Codec::Jpeg),
        };
        let wish = Wish::new(vec![format], request.optional("max_width")?, request.optional("max_fps")?)?
            .with_max_bytes(MAX_PREVIEW_BYTES);
        let wait = request.optional("wait")?.unwrap_or_default();
        self.may(Scope::Frames)?;
        self.subscriptions.retain(|_, subscription| !subscription.carrier.is_finished());
        if self.subscriptions.len() >= MAX_SUBSCRIPTIONS {
            let problem = format!("this session has {MAX_SUBSCRIPTIONS} subscriptions already");
            return Err(Failure::new(ErrorKind::ResourceExhausted, problem));
        }
        let Entry::Vacant(place) = self.subscriptions.entry(id) else {
            let failure = Failure::new(ErrorKind::AlreadyExists, "this session has subscribed to this stream");
            return Err(failure.with("stream_id", stream_id(request)?.as_str()));
        };
        let sight = self.hub.access().grants().sight(self.extension.as_deref());
        let options = SubscribeOptions { wait, queue: Queue::Latest, wish, sight };
        let subscription = Arc::new(self.hub.streams().subscribe(place.key(), options)?);
        let answer = ok(&Subscribed { stream_id: place.key().as_str(), format: format.as_str() });
        let carrier = tokio::spawn(carry_frames(Arc::clone(&subscription), self.out.clone())).abort_handle();
        place.insert(OpenSubscription { subscription, carrier });
        answer
    }

    pub(super) fn stream_unsubscribe(&mut self, request: &Request<'_>) -> Result<Reply, Failure> {
        let id = stream_id(request)?;
        let Some(gone) = self.subscriptions.remove(&id) else {
            let failure = Failure::new(ErrorKind::NotFound, "this session has not subscribed to this stream");
            return Err(failure.with("stream_id", id.as_str()));
        };
        let counts = gone.subscription.snapshot();
        ok(&Unsubscribed { stream_id: id.as_str(), delivered: counts.delivered, dropped: counts.dropped })
    }
}

impl Drop for OpenSubscription {
    fn drop(&mut self) {
        self.carrier.abort();
    }
}

/// Hands pictures to the client until the stream ends. One that reads slowly loses those between, counted.
async fn carry_frames(subscription: Arc<Subscription>, out: Outbound) {
    let id = subscription.stream_id();
    let trouble = loop {
        match subscription.next_event().await {
            Event::Frame(delivered) => send_frame(&subscription, &delivered, &out).await,
            Event::Notice(_) => {}
            Event::End(trouble) => break trouble,
        }
    };
    let reason = if trouble.is_some() { "failed" } else { "finished" };
    let error = trouble.as_ref();
    out.event("subscription_ended", SubscriptionEnded { stream_id: id.as_str(), reason, error }).await;
}

async fn send_frame(subscription: &Subscription, delivered: &Delivered, out: &Outbound) {
    let frame = &delivered.frame;
    let fields = FrameFields {
        stream_id: subscription.stream_id().as_str(),
        frame_number: frame.frame_number(),
        timestamp_ms: frame.timestamp_ms(),
        format: frame.format().as_str(),
        width: frame.width(),
        height: frame.height(),
        dropped: delivered.dropped,
        metadata: frame.metadata(),
        data: base64_simd::STANDARD.encode_to_string(frame.frame_data()),
    };
    if !out.event_if_it_fits("frame", fields).await {
        subscription.count_dropped();
    }
}

impl From<WishError> for Failure {
    fn from(error: WishError) -> Self {
        let field = error.field();
        MessageError::field(field, error).into()
    }
}

/// The subscriptions of a session, by their streams.
pub(super) type Subscriptions = std::collections::HashMap<StreamId, OpenSubscription>;
