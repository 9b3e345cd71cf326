//! Which request does what, and those about the session itself.

use serde::Serialize;

use super::{FRAME_CREDITS, Reply, Session, ok};
use crate::{
    access::Scope,
    error::ErrorKind,
    framing::{MAX_INBOUND_BODY, MAX_OUTBOUND_BODY},
    hub::SessionSnapshot,
    message::{Failure, MessageError, Request},
};

/// Version of the protocol on the native port.
const PROTOCOL: u32 = 1;

/// Model bytes carried by one message, before base64 (192 KiB: Chrome reads 64 to 256 KiB messages fastest).
pub(super) const MODEL_CHUNK_BYTES: usize = 192 << 10;

// Base64 turns 3 bytes into 4; 4 KiB is left for the envelope.
const _: () = assert!(MODEL_CHUNK_BYTES.div_ceil(3) * 4 + 4096 <= MAX_OUTBOUND_BODY);

/// What this version can do; what it cannot is absent.
const CAPABILITIES: [&str; 17] = [
    "frame",
    "packet",
    "fragments",
    "source.extension",
    "source.synthetic",
    "source.camera",
    "source.screen",
    "source.file",
    "devices",
    "subscribe",
    "result",
    "models",
    "models.pull",
    "models.url",
    "models.watch",
    "models.status",
    "ws",
];

/// Longest name of a client, in characters.
const MAX_CLIENT_CHARS: usize = 128;

#[derive(Serialize)]
struct Hello<'a> {
    protocol: u32,
    version: &'a str,
    session: &'a str,
    limits: Limits,
    grpc: Option<String>,
    http: Option<String>,
    ws: Option<String>,
    token: &'a str,
    capabilities: [&'a str; 17],
}

#[derive(Serialize)]
struct Limits {
    max_inbound_bytes: usize,
    max_outbound_bytes: usize,
    chunk_bytes: usize,
    frame_credits: u32,
}

#[derive(Serialize)]
struct Status<'a> {
    version: &'a str,
    pid: u32,
    uptime_ms: u64,
    grpc: Option<String>,
    embedded: bool,
    cache_dir: String,
    sessions: Vec<SessionSnapshot>,
    streams: usize,
    subscribers: usize,
}

/// `{}`.
#[derive(Serialize)]
pub(super) struct Nothing {}

impl Session {
    pub(super) async fn dispatch(&mut self, request: &Request<'_>) -> Result<Reply, Failure> {
        if request.kind().starts_with("models.") {
            self.may(Scope::Models)?;
        }
        match request.kind() {
            "frame" => self.frame(request),
            "packet" => self.packet(request),
            "hello" => self.hello(request).await,
            "ping" => ok(&Nothing {}),
            "status" => self.status(),
            "devices" => self.devices(request),
            "stream.open" => self.stream_open(request).await,
            "stream.list" => self.stream_list(request),
            "stream.close" => self.stream_close(request).await,
            "stream.subscribe" => self.stream_subscribe(request),
            "stream.unsubscribe" => self.stream_unsubscribe(request),
            "models.list" => self.models_list(request),
            "models.status" => self.models_status(request),
            "models.open" => self.models_open(request),
            "models.read" => self.models_read(request),
            "models.close" => self.models_close(request),
            "models.pull" => self.models_pull(request),
            "models.watch" => self.models_watch(request).await,
            "models.unwatch" => self.models_unwatch(request),
            unknown => Err(Failure::new(ErrorKind::Unimplemented, format!("unknown type {unknown:?}"))),
        }
    }

    /// Begins anew: what the session held is void, so that a client that says `hello` after a restart meets nothing of
    /// what it had sent before it knew.
    async fn hello(&mut self, request: &Request<'_>) -> Result<Reply, Failure> {
        let protocol = request.required::<u32>("protocol")?;
        if protocol != PROTOCOL {
            let problem = format!("this version speaks protocol {PROTOCOL}, not {protocol}");
            return Err(Failure::from(MessageError::field("protocol", problem)).with("supported", vec![PROTOCOL]));
        }
        if let Some(client) = request.optional::<String>("client")? {
            // It is shown in terminals, which take other characters for orders.
            let shown = |letter: char| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter };
            self.registration.name_client(client.chars().take(MAX_CLIENT_CHARS).map(shown).collect());
        }
        self.epoch += 1;
        self.give_up_openings().await;
        self.registration.close_sockets();
        self.close_all_streams().await;
        self.handles.clear();
        self.watches.clear();
        ok(&Hello {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION"),
            session: self.registration.session_id(),
            limits: Limits {
                max_inbound_bytes: MAX_INBOUND_BODY,
                max_outbound_bytes: MAX_OUTBOUND_BODY,
                chunk_bytes: MODEL_CHUNK_BYTES,
                frame_credits: FRAME_CREDITS,
            },
            grpc: self.hub.address().map(|address| address.to_string()),
            http: self.hub.address().map(|address| format!("http://{address}")),
            ws: self.hub.address().map(|address| format!("ws://{address}")),
            token: self.registration.token().as_str(),
            capabilities: CAPABILITIES,
        })
    }

    /// Devices take their time to answer.
    fn devices(&mut self, request: &Request<'_>) -> Result<Reply, Failure> {
        self.may(Scope::Devices)?;
        let sources = self.hub.sources().clone();
        self.answer_later(request, async move {
            let listing = tokio::task::spawn_blocking(move || sources.list_devices());
            let devices = listing.await.map_err(|error| Failure::new(ErrorKind::Internal, error))?;
            ok(&devices)
        })
    }

    fn status(&self) -> Result<Reply, Failure> {
        let streams = self.hub.streams().list();
        ok(&Status {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            uptime_ms: u64::try_from(self.hub.uptime().as_millis()).unwrap_or(u64::MAX),
            grpc: self.hub.address().map(|address| address.to_string()),
            embedded: self.hub.is_embedded(),
            cache_dir: self.hub.models().cache_dir().display().to_string(),
            sessions: self.hub.sessions(),
            streams: streams.len(),
            subscribers: streams.iter().map(|stream| stream.subscribers.len()).sum(),
        })
    }
}
