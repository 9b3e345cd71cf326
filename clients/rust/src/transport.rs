//! hyper's own HTTP/2 connection as tonic wants it: tonic's channel brings reconnecting and balancing, which calls over
//! loopback have no use for, and the crates for them.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Uri;
use hyper::{body::Incoming, client::conn::http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{net::TcpStream, time::timeout};
use tonic::{body::Body, codegen::Service};

use crate::ClientError;

/// How long the hub may take to accept.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How often a silent connection is tried, and how long the hub may take to show that it is there.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Bytes that may be under way (16 MiB): a receiver with less waits for the next while it has work.
const WINDOW_BYTES: u32 = 16 << 20;

/// Largest piece in one HTTP/2 frame, in bytes (1 MiB).
const MAX_HTTP_FRAME_BYTES: u32 = 1 << 20;

/// A connection to a hub, for generated clients. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Transport {
    sender: http2::SendRequest<Body>,
    origin: Uri,
}

impl Transport {
    /// Connects to `host:port`.
    ///
    /// # Errors
    ///
    /// [`ClientError::Unreachable`].
    pub async fn connect(address: &str) -> Result<Self, ClientError> {
        let unreachable = |problem: String| ClientError::Unreachable { problem };
        let address = address.trim_start_matches("http://").trim_end_matches('/');
        let in_time = timeout(TIMEOUT, TcpStream::connect(address)).await;
        let socket = in_time
            .map_err(|_| unreachable(format!("no connection within {TIMEOUT:?}")))?
            .map_err(|error| unreachable(format!("{error}: {address}")))?;
        socket.set_nodelay(true).map_err(|error| unreachable(error.to_string()))?;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_frame_size(MAX_HTTP_FRAME_BYTES)
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        let greeting = timeout(TIMEOUT, builder.handshake(TokioIo::new(socket))).await;
        let (sender, connection) = greeting
            .map_err(|_| unreachable(format!("no greeting within {TIMEOUT:?}")))?
            .map_err(|error| unreachable(error.to_string()))?;
        // It ends with its sender; what breaks it, the calls are told.
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the hub has broken");
            }
        });
        let origin = format!("http://{address}").parse().map_err(|error| unreachable(format!("{error}")))?;
        Ok(Self { sender, origin })
    }

    /// Where it leads, as generated clients want it.
    pub fn origin(&self) -> Uri {
        self.origin.clone()
    }
}

impl Service<http::Request<Body>> for Transport {
    type Response = http::Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.sender.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.sender.send_request(request))
    }
}
