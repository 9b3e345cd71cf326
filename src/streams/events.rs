//! What is told of streams over the native port and over WebSockets alike: the members of these events.

use serde::Serialize;

use super::Trouble;

/// `frame_ack`: places that are free again.
#[derive(Debug, Serialize)]
pub struct FrameAck<'a> {
    /// The publisher's stream.
    pub stream_id: &'a str,
    /// The picture that is acknowledged. `None` for a fragment that completes no packet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frame_number: Option<u32>,
    /// Pictures that may be sent for it.
    pub credits: u32,
}

/// `subscription_ended`: no picture comes any more.
#[derive(Debug, Serialize)]
pub struct SubscriptionEnded<'a> {
    /// The stream that was watched.
    pub stream_id: &'a str,
    /// A word of docs/protocol.md.
    pub reason: &'static str,
    /// What went wrong, if anything did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a Trouble>,
}
