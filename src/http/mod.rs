//! The loopback port: gRPC over HTTP/2 and plain HTTP/1.1 on one listener.
//!
//! Belongs here: the accept loop, telling the protocols apart, time limits, the access check of every request.
//! Does not belong here: the rules of access (`access`), the gRPC services (`grpc`).
//!
//! Invariants:
//! - No request reaches a service before `access` has let it pass.
//! - A connection that does not begin, or begins a request and does not end its head, is closed after `SILENCE_LIMIT`;
//!   one that never asks for anything it may have, after `UNKNOWN_LIMIT`.
//!
//! Data path: accept -> `Peer::of` -> preface -> hyper -> `Peer::or_browser` -> `Access::check` -> gRPC routes, `websocket`,
//! `hub_protocol`, or `/healthz`.

mod gathered;
mod hub_protocol;
mod preface;
mod websocket;
mod while_allowed;

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OnceCell, OwnedSemaphorePermit, Semaphore},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tonic::{body::Body, codegen::Service as _, service::Routes};

#[cfg(all(feature = "fuzzing", target_os = "linux"))]
pub(crate) use self::hub_protocol::fuzz;
use self::preface::{Protocol, Rewound};
use crate::{
    access::{Access, Asker, Peer, Scope},
    activity::{Activity, ActivityGuard},
    models::SharedModels,
    streams::Streams,
};

/// How long a connection may take to begin, or to send the head of a request.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);

/// How long a connection may stay without a request that was let pass.
const UNKNOWN_LIMIT: Duration = Duration::from_secs(30);

/// Open connections of the hub's own user; further ones are closed.
const MAX_CONNECTIONS: usize = 1024;

/// Open connections of everybody else, who have places of their own: they cannot take the user's.
const MAX_STRANGERS: usize = 32;

/// Bytes that a client may send before it is read (16 MiB): a full window holds several pictures.
const WINDOW_BYTES: u32 = 16 << 20;

/// Calls that a client of the user's own may give up before they have been looked at.
const MAX_PENDING_RESETS: usize = 1024;

/// How often a silent HTTP/2 peer is asked whether it is still there.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// A pause after a failed accept: out of descriptors, most likely, and trying at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is served.
#[derive(Clone)]
pub struct Service {
    /// Who may.
    pub access: Access,
    /// Kept busy by authenticated connections.
    pub activity: Activity,
    /// The gRPC services.
    pub routes: Routes,
    /// The model cache.
    pub models: SharedModels,
    /// The streams, for those who reach them by WebSocket.
    pub streams: Streams,
    /// Ends the listener and its connections.
    pub shutdown: CancellationToken,
    /// Shared by all listeners of the hub.
    pub places: Places,
}

/// How many connections may be open. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Places {
    own: Arc<Semaphore>,
    strangers: Arc<Semaphore>,
}

impl Default for Places {
    fn default() -> Self {
        Self { own: Arc::new(Semaphore::new(MAX_CONNECTIONS)), strangers: Arc::new(Semaphore::new(MAX_STRANGERS)) }
    }
}

impl Places {
    /// A place for a connection, if one is left.
    fn take(&self, peer: Peer) -> Option<OwnedSemaphorePermit> {
        let places = match peer {
            Peer::SameUser | Peer::Browser => &self.own,
            Peer::OtherUser | Peer::Unknown => &self.strangers,
        };
        Arc::clone(places).try_acquire_owned().ok()
    }
}

/// Serves a listener until the shutdown.
pub async fn serve(listener: TcpListener, service: Service) {
    let connections = TaskTracker::new();
    let stop = service.shutdown.clone();
    let accepting = async {
        let mut fails = false;
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    fails = false;
                    let service = service.clone();
                    // Here, not in the task: the peer may be gone by then.
                    let peer = Peer::of(&stream);
                    let Some(place) = peer.as_ref().ok().and_then(|peer| service.places.take(*peer)) else {
                        tracing::debug!(?peer, "no place for a connection");
                        continue;
                    };
                    connections.spawn(async move {
                        if let Err(error) = serve_connection(stream, peer, service).await {
                            tracing::debug!(%error, "a connection ended before its end");
                        }
                        drop(place);
                    });
                }
                Err(error) => {
                    // Once: it is tried ten times a second, for as long as it takes.
                    if !std::mem::replace(&mut fails, true) {
                        tracing::warn!(%error, "cannot take a connection, and tries again");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = accepting => {}
    }
    connections.close();
    connections.wait().await;
}

/// One connection, as far as its requests care.
struct Connection {
    local: SocketAddr,
    remote: SocketAddr,
    peer: Peer,
    /// The same, and whether it is a browser: looked at with the first request that bears no token of ours.
    caller: OnceCell<Peer>,
    /// Set by the first request that was let pass.
    authenticated: OnceLock<ActivityGuard>,
    /// What an HTTP/1.1 connection goes on with when its last answer is sent. It stays in the connection's task, and so
    /// in its place.
    upgraded: Mutex<Option<Conversation>>,
}

type Conversation = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Connection {
    async fn caller(&self) -> Peer {
        *self.caller.get_or_init(|| self.peer.or_browser(self.remote, self.local)).await
    }

    fn go_on_with(&self, conversation: impl Future<Output = ()> + Send + 'static) {
        *self.upgraded.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::pin(conversation));
    }
}

/// Serves one connection to its end.
///
/// # Errors
///
/// What ended it before a protocol was known.
async fn serve_connection(stream: TcpStream, peer: io::Result<Peer>, service: Service) -> io::Result<()> {
    let (peer, local, remote) = (peer?, stream.local_addr()?, stream.peer_addr()?);
    stream.set_nodelay(true)?;
    let connection = Connection {
        local,
        remote,
        peer,
        caller: OnceCell::new(),
        authenticated: OnceLock::new(),
        upgraded: Mutex::default(),
    };
    let connection = Arc::new(connection);
    let stop = service.shutdown.clone();
    let conversation = async {
        let (protocol, stream) = tokio::time::timeout(SILENCE_LIMIT, preface::read(stream)).await??;
        match protocol {
            Protocol::Http2 => serve_http2(stream, Arc::clone(&connection), service).await,
            Protocol::Http1 => serve_http1(stream, Arc::clone(&connection), service).await,
        }
        Ok(())
    };
    let unknown = async {
        tokio::time::sleep(UNKNOWN_LIMIT).await;
        if connection.authenticated.get().is_some() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => Ok(()),
        () = unknown => Err(io::Error::new(io::ErrorKind::TimedOut, "it never asked for anything it may have")),
        ended = conversation => ended,
    }
}

async fn serve_http1(stream: Rewound, connection: Arc<Connection>, service: Service) {
    let answer = service_fn(|request| answer(request, Arc::clone(&connection), service.clone()));
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(SILENCE_LIMIT)
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades()
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "an HTTP/1.1 connection ended");
    }
    let upgraded = connection.upgraded.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(conversation) = upgraded {
        conversation.await;
    }
}

async fn serve_http2(stream: Rewound, connection: Arc<Connection>, service: Service) {
    let answer = service_fn(|request| answer(request, Arc::clone(&connection), service.clone()));
    // A client may give up many calls at once, and other calls of its process share the connection. Strangers have no
    // business here, so for them the usual bound against floods of resets stays.
    let resets = (connection.peer == Peer::SameUser).then_some(MAX_PENDING_RESETS);
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    if resets.is_some() {
        builder.max_pending_accept_reset_streams(resets);
    }
    let (stream, flusher) = gathered::gathered(stream);
    let connection = builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .keep_alive_interval(KEEP_ALIVE)
        .serve_connection(TokioIo::new(stream), answer);
    match flusher.drive(connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an HTTP/2 connection ended"),
        Err(error) => tracing::debug!(%error, "an HTTP/2 connection broke"),
    }
}

async fn answer(
    request: Request<Incoming>,
    connection: Arc<Connection>,
    mut service: Service,
) -> Result<Response<Body>, Infallible> {
    let (mut parts, body) = request.into_parts();
    let is_grpc = is_grpc(parts.headers.get(header::CONTENT_TYPE));
    let asker = match service.access.check(connection.local, connection.caller(), &parts).await {
        Ok(asker) => asker,
        Err(denied) => {
            // Not louder: a web page could fill the log with it.
            tracing::debug!(%denied, peer = ?connection.peer, "request denied");
            return Ok(if is_grpc {
                denied_grpc()
            } else {
                json(StatusCode::FORBIDDEN, r#"{"error":"permission_denied"}"#)
            });
        }
    };
    connection.authenticated.get_or_init(|| service.activity.enter());
    if is_grpc {
        // What an extension may is asked nowhere there. Browsers speak HTTP/1.1 to this port, gRPC's clients HTTP/2.
        if asker.extension().is_some() || parts.version < http::Version::HTTP_2 {
            return Ok(denied_grpc());
        }
        return service.routes.call(Request::from_parts(parts, body)).await;
    }
    if let Some(response) = websocket::answer(&service, &connection, &asker, &mut parts) {
        return Ok(response);
    }
    if !service.access.grants().allow(asker.extension(), Scope::Models) && hub_protocol::is_asked(&parts) {
        return Ok(json(StatusCode::FORBIDDEN, r#"{"error":"permission_denied"}"#));
    }
    if let Some(response) = hub_protocol::answer(&service.models, &parts, body).await {
        return Ok(match asker {
            Asker::User => response,
            Asker::Session(session) => {
                let grants = service.access.grants().clone();
                response.map(|body| while_allowed::body(body, session, grants))
            }
        });
    }
    Ok(match (&parts.method, parts.uri.path()) {
        (&Method::GET | &Method::HEAD, "/healthz") => json(StatusCode::OK, r#"{"status":"ok"}"#),
        (_, "/healthz") => json(StatusCode::METHOD_NOT_ALLOWED, r#"{"error":"unimplemented"}"#),
        _ => json(StatusCode::NOT_FOUND, r#"{"error":"not_found"}"#),
    })
}

fn is_grpc(content_type: Option<&HeaderValue>) -> bool {
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}

fn denied_grpc() -> Response<Body> {
    tonic::Status::permission_denied("permission_denied").into_http()
}

fn json(status: StatusCode, body: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::new(http_body_util::Full::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests;
