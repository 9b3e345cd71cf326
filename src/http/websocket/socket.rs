//! An open WebSocket with limits on everything that is waited for.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncReadExt, time::timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message, Utf8Bytes,
        error::ProtocolError,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

/// How often a silent peer is asked whether it is still there; one that does not answer until the next time is gone.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// How long a peer may take to read a message.
const WRITE_LIMIT: Duration = Duration::from_secs(30);

/// How long a peer may take to read why its socket ends.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// Bytes that are read at once (256 KiB).
const READ_BYTES: usize = 256 << 10;

/// An open socket.
pub(super) struct Socket {
    stream: WebSocketStream<TokioIo<Upgraded>>,
    /// Asked whether it is there, and not heard of since.
    is_asked: bool,
}

/// What a peer says.
#[derive(Debug)]
pub(super) enum Received {
    Text(Utf8Bytes),
    Binary(Bytes),
}

/// Why nothing is received any more.
#[derive(Debug)]
pub(super) enum Ended {
    /// The peer has left, or does not answer.
    Gone,
    /// The peer has broken the protocol.
    Broken,
    /// A text message is no UTF-8.
    NoText,
    /// A message is longer than it may be.
    TooLong,
}

/// Why a socket is closed. Source of the numbers: RFC 6455, section 7.4.
#[derive(Debug, Clone, Copy)]
pub(super) enum Why {
    /// What it was for is over.
    Done,
    /// The session is over.
    SessionOver,
    /// The peer has broken the protocol.
    Broken,
    /// A text message was no UTF-8.
    NoText,
    /// A message was too long.
    TooLong,
}

impl From<Ended> for Why {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Gone => Self::Done,
            Ended::Broken => Self::Broken,
            Ended::NoText => Self::NoText,
            Ended::TooLong => Self::TooLong,
        }
    }
}

impl Socket {
    /// The socket that a connection becomes, if it does.
    pub(super) async fn of(upgrade: OnUpgrade, max_message_bytes: usize) -> Option<Self> {
        let upgraded = upgrade.await.inspect_err(|error| tracing::debug!(%error, "no WebSocket came of it")).ok()?;
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BYTES.min(max_message_bytes))
            .max_message_size(Some(max_message_bytes))
            .max_frame_size(Some(max_message_bytes))
            .write_buffer_size(0);
        let stream = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
        Some(Self { stream, is_asked: false })
    }

    /// The peer's next message. Pings are answered.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost if the future is dropped; the keep-alive begins anew.
    pub(super) async fn receive(&mut self) -> Result<Received, Ended> {
        loop {
            let Ok(message) = timeout(KEEP_ALIVE, self.stream.next()).await else {
                if self.is_asked {
                    tracing::debug!("a WebSocket's peer does not answer");
                    return Err(Ended::Gone);
                }
                self.is_asked = true;
                self.send(Message::Ping(Bytes::new())).await?;
                continue;
            };
            self.is_asked = false;
            match message {
                Some(Ok(Message::Text(text))) => return Ok(Received::Text(text)),
                Some(Ok(Message::Binary(bytes))) => return Ok(Received::Binary(bytes)),
                // Its answer waits to be sent: nothing more is taken from a peer that does not read it.
                Some(Ok(Message::Ping(_))) => {
                    let answered = timeout(WRITE_LIMIT, self.stream.flush()).await;
                    if !matches!(answered, Ok(Ok(()))) {
                        tracing::debug!("a WebSocket's peer does not read");
                        return Err(Ended::Gone);
                    }
                }
                Some(Ok(Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(Error::Capacity(_))) => return Err(Ended::TooLong),
                Some(Err(Error::Utf8(_))) => return Err(Ended::NoText),
                Some(Err(Error::Protocol(problem))) if problem != ProtocolError::ResetWithoutClosingHandshake => {
                    tracing::debug!(%problem, "a WebSocket's peer broke the protocol");
                    return Err(Ended::Broken);
                }
                Some(Err(error)) => {
                    tracing::debug!(%error, "a WebSocket broke");
                    return Err(Ended::Gone);
                }
                Some(Ok(Message::Close(_))) => {
                    // Its answer is there to be sent: without it a browser would say that the connection broke.
                    drop(timeout(CLOSE_LIMIT, self.stream.flush()).await);
                    return Err(Ended::Gone);
                }
                None => return Err(Ended::Gone),
            }
        }
    }

    pub(super) async fn text(&mut self, json: serde_json::Result<Vec<u8>>) -> Result<(), Ended> {
        let text = json.ok().and_then(|json| String::from_utf8(json).ok());
        match text {
            Some(text) => self.send(Message::text(text)).await,
            None => {
                tracing::error!("an event could not be written");
                Ok(())
            }
        }
    }

    pub(super) async fn binary(&mut self, bytes: Vec<u8>) -> Result<(), Ended> {
        self.send(Message::binary(bytes)).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Ended> {
        match timeout(WRITE_LIMIT, self.stream.send(message)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a WebSocket broke");
                Err(Ended::Gone)
            }
            Err(_) => {
                tracing::debug!("a WebSocket's peer does not read");
                Err(Ended::Gone)
            }
        }
    }

    /// Says goodbye to a peer that may still be there.
    pub(super) async fn close(mut self, why: Why) {
        let (code, reason) = match why {
            Why::Done => (CloseCode::Normal, "the stream has ended"),
            Why::SessionOver => (CloseCode::Away, "the session has ended"),
            Why::Broken => (CloseCode::Protocol, "that is no WebSocket message"),
            Why::NoText => (CloseCode::Invalid, "the text is no UTF-8"),
            Why::TooLong => (CloseCode::Size, "the message is too long"),
        };
        let farewell = async {
            self.stream.close(Some(CloseFrame { code, reason: reason.into() })).await.ok()?;
            // What the peer has sent meanwhile has to be read: an end with unread bytes would take the farewell along.
            let mut rest = vec![0; READ_BYTES];
            while self.stream.get_mut().read(&mut rest).await.ok()? > 0 {}
            Some(())
        };
        drop(timeout(CLOSE_LIMIT, farewell).await);
    }
}
