use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use crate::{
    framing::{MAX_INBOUND_BODY, encode_prefix},
    http::{self, Service},
    hub::{Hub, HubSettings},
    models::{ModelStore, SharedModels, StoreOptions, Upstream},
    session::{self, Caller},
    streams::{Queue, StreamId, SubscribeOptions},
};

const EXTENSION: &str = "chrome-extension://abcdefghijklmnopabcdefghijklmnop";

/// A hub with its loopback port, and one session.
struct World {
    hub: Arc<Hub>,
    address: SocketAddr,
    input: DuplexStream,
    bodies: mpsc::Receiver<Vec<u8>>,
    token: String,
    _dir: TempDir,
}

impl World {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions { cache_dir: dir.path().join("hub"), state_dir: dir.path().join("state") };
        let models = SharedModels::new(ModelStore::new(options), Upstream::off());
        let hub = Hub::new(models, HubSettings::default()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = Service {
            access: hub.access().clone(),
            activity: hub.activity().clone(),
            routes: tonic::service::Routes::default(),
            models: hub.models().clone(),
            streams: hub.streams().clone(),
            shutdown: hub.shutdown().clone(),
            places: hub.places().clone(),
        };
        tokio::spawn(http::serve(listener, service));
        hub.set_address(address);
        let (input, reader) = duplex(1 << 20);
        let (sender, bodies) = mpsc::channel(16);
        let caller = Caller { origin: Some(EXTENSION.to_owned()), ..Caller::default() };
        tokio::spawn(session::serve(Arc::clone(&hub), caller, reader, sender));
        let mut world = Self { hub, address, input, bodies, token: String::new(), _dir: dir };
        world.greet().await;
        world
    }

    async fn greet(&mut self) {
        let hello = self.ask(json!({"type": "hello", "protocol": 1})).await;
        assert_eq!(hello["ok"]["ws"], format!("ws://{}", self.address));
        self.token = hello["ok"]["token"].as_str().unwrap().to_owned();
    }

    async fn ask(&mut self, mut message: Value) -> Value {
        message["id"] = json!(1);
        let body = serde_json::to_vec(&message).unwrap();
        self.input.write_all(&encode_prefix(body.len(), MAX_INBOUND_BODY).unwrap()).await.unwrap();
        self.input.write_all(&body).await.unwrap();
        serde_json::from_slice(&self.bodies.recv().await.unwrap()).unwrap()
    }

    async fn open(&mut self, id: &str) {
        let opened = self.ask(json!({"type": "stream.open", "stream_id": id, "source": {"kind": "extension"}})).await;
        assert!(opened["ok"].is_object(), "{opened}");
    }

    /// Offers these subprotocols, and tells the status if the socket is refused.
    async fn try_connect(&self, path: &str, origin: &str, protocols: &str) -> Result<Client, u16> {
        let mut tcp = TcpStream::connect(self.address).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nOrigin: {origin}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: {protocols}\r\n\r\n",
            self.address
        );
        tcp.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(tcp.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        if status != 101 {
            return Err(status);
        }
        assert!(head.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{head}");
        assert!(head.contains("sec-websocket-protocol: framehost\r\n"), "{head}");
        let config = WebSocketConfig::default().max_message_size(None).max_frame_size(None);
        Ok(Client(WebSocketStream::from_raw_socket(tcp, Role::Client, Some(config)).await))
    }

    async fn connect(&self, path: &str) -> Client {
        let protocols = format!("framehost, framehost.token.{}", self.token);
        self.try_connect(path, EXTENSION, &protocols).await.unwrap()
    }

    async fn subscriber(&self, id: &str) -> crate::streams::Subscription {
        let options = SubscribeOptions { wait: true, queue: Queue::fifo(100).unwrap(), ..SubscribeOptions::default() };
        self.hub.streams().subscribe(&StreamId::parse(id).unwrap(), options).unwrap()
    }
}

#[derive(Debug)]
struct Client(WebSocketStream<TcpStream>);

impl Client {
    async fn send(&mut self, message: impl Into<Message>) {
        self.0.send(message.into()).await.unwrap();
    }

    async fn message(&mut self) -> Option<Message> {
        tokio::time::timeout(Duration::from_secs(10), self.0.next()).await.unwrap().map(Result::unwrap)
    }

    async fn event(&mut self) -> Value {
        match self.message().await {
            Some(Message::Text(text)) => serde_json::from_str(&text).unwrap(),
            other => panic!("no event: {other:?}"),
        }
    }

    async fn close_code(&mut self) -> CloseCode {
        match self.message().await {
            Some(Message::Close(Some(frame))) => frame.code,
            other => panic!("not closed: {other:?}"),
        }
    }
}

/// A gray picture as a packet.
fn packet(timestamp_ms: u64, width: u8, data: &[u8]) -> Vec<u8> {
    let mut packet = timestamp_ms.to_le_bytes().to_vec();
    packet.extend_from_slice(&[width, 0, 0, 0, 1, 0, 0, 0, 13]);
    packet.extend_from_slice(data);
    packet
}

#[tokio::test]
async fn pictures_come_in_and_give_their_credits_back() {
    let mut world = World::new().await;
    world.open("s").await;
    let subscriber = world.subscriber("s").await;
    let mut socket = world.connect("/v1/streams/s?role=publish").await;
    for number in 0..20 {
        socket.send(packet(1000 + number, 2, &[1, 2])).await;
        let ack = json!({"event": "frame_ack", "stream_id": "s", "frame_number": number, "credits": 1});
        assert_eq!(socket.event().await, ack);
    }
    let frame = subscriber.next().await.unwrap().unwrap().frame;
    assert_eq!((frame.width(), frame.timestamp_ms(), &frame.frame_data()[..]), (2, 1000, &[1_u8, 2][..]));

    socket.send(r#"{"type": "picture", "frame_number": 77, "metadata": {"tab": "3"}}"#).await;
    socket.send(packet(2000, 2, &[1, 2])).await;
    assert_eq!(socket.event().await["frame_number"], 77);
    socket.send(packet(2001, 2, &[1, 2])).await;
    assert_eq!(socket.event().await["frame_number"], 78, "it was about one picture");
    let mut described = Vec::new();
    while described.len() < 2 {
        let frame = subscriber.next().await.unwrap().unwrap().frame;
        if frame.frame_number() >= 77 {
            described.push(frame.metadata().get("tab").cloned());
        }
    }
    assert_eq!(described, [Some("3".to_owned()), None]);

    let counters = world.ask(json!({"type": "stream.close", "stream_id": "s"})).await;
    assert_eq!((&counters["ok"]["published"], &counters["ok"]["rejected"]), (&json!(22), &json!(0)));
    assert_eq!(socket.close_code().await, CloseCode::Normal);
}

#[tokio::test]
async fn an_error_is_that_pictures_alone() {
    let mut world = World::new().await;
    world.open("s").await;
    let mut socket = world.connect("/v1/streams/s?role=publish").await;
    let cases: [(Message, &str, Value); 6] = [
        (
            packet(1, 2, &[1]).into(),
            "invalid_argument",
            json!({"credits": 1, "field": "data", "stream_id": "s", "type": "packet"}),
        ),
        (
            vec![0; 5].into(),
            "invalid_argument",
            json!({"credits": 1, "field": "data", "stream_id": "s", "type": "packet"}),
        ),
        // What would be a part of a packet on the native port.
        (
            vec![255; 30].into(),
            "invalid_argument",
            json!({"credits": 1, "field": "data", "stream_id": "s", "type": "packet"}),
        ),
        ("no json".into(), "invalid_argument", json!({})),
        (r#"{"type": "dance"}"#.into(), "unimplemented", json!({"type": "dance"})),
        (r#"{"type": "picture", "frame_number": -1}"#.into(), "", json!({})),
    ];
    for (message, code, details) in cases {
        socket.send(message).await;
        if !code.is_empty() {
            let event = socket.event().await;
            assert_eq!((&event["code"], &event["details"]), (&json!(code), &details), "{event}");
        }
    }
    socket.send(packet(1, 1, &[1])).await;
    assert_eq!(socket.event().await["details"]["field"], "frame_number");
    socket.send(packet(1, 1, &[1])).await;
    assert_eq!(socket.event().await["frame_number"], 0);
    let counters = world.ask(json!({"type": "stream.close", "stream_id": "s"})).await;
    assert_eq!((&counters["ok"]["received"], &counters["ok"]["rejected"]), (&json!(5), &json!(4)));
}

#[tokio::test]
async fn a_message_over_the_limit_ends_the_socket_and_says_why() {
    let mut world = World::new().await;
    world.open("s").await;
    let mut socket = world.connect("/v1/streams/s?role=publish").await;
    let limit = super::publish::MAX_MESSAGE_BYTES;
    let mut largest = packet(1, 1, &[]);
    largest.resize(limit, 0);
    socket.send(largest.clone()).await;
    assert_eq!(socket.event().await["details"]["credits"], 1, "a size that does not match, but no length too long");
    largest.push(0);
    socket.send(largest).await;
    assert_eq!(socket.event().await["code"], "resource_exhausted");
    assert_eq!(socket.close_code().await, CloseCode::Size);
}

#[tokio::test]
async fn a_peer_that_breaks_the_protocol_is_told() {
    let mut world = World::new().await;
    world.open("s").await;
    // Masked with zeros: reserved bits, an operation that there is not, a continuation of nothing; text that is no UTF-8.
    let cases = [
        ([0xF1, 0x81, 0, 0, 0, 0, b'a'], CloseCode::Protocol),
        ([0x83, 0x81, 0, 0, 0, 0, b'a'], CloseCode::Protocol),
        ([0x80, 0x81, 0, 0, 0, 0, b'a'], CloseCode::Protocol),
        ([0x81, 0x81, 0, 0, 0, 0, 0xFF], CloseCode::Invalid),
    ];
    for path in ["/v1/streams/s?role=publish", "/v1/streams/s?role=subscribe"] {
        for (bytes, code) in cases {
            let mut socket = world.connect(path).await;
            socket.0.get_mut().write_all(&bytes).await.unwrap();
            assert_eq!(socket.close_code().await, code, "{path} {bytes:x?}");
        }
    }
    assert!(world.ask(json!({"type": "stream.close", "stream_id": "s"})).await["ok"].is_object());
}

#[tokio::test]
async fn a_farewell_is_answered_with_one() {
    let mut world = World::new().await;
    world.open("s").await;
    for path in ["/v1/streams/s?role=publish", "/v1/streams/s?role=subscribe"] {
        let mut socket = world.connect(path).await;
        let frame = CloseFrame { code: CloseCode::Normal, reason: "done".into() };
        socket.send(Message::Close(Some(frame))).await;
        assert_eq!(socket.close_code().await, CloseCode::Normal, "{path}");
    }
}

#[tokio::test]
async fn a_socket_ends_with_its_session_and_when_that_begins_anew() {
    let mut world = World::new().await;
    world.open("s").await;
    let mut feeding = world.connect("/v1/streams/s?role=publish").await;
    let mut watching = world.connect("/v1/streams/s?role=subscribe&wait=true").await;
    world.greet().await;
    assert_eq!(feeding.close_code().await, CloseCode::Away);
    assert_eq!(watching.close_code().await, CloseCode::Away);
    world.open("s").await;
    let mut feeding = world.connect("/v1/streams/s?role=publish").await;
    feeding.send(packet(1, 1, &[1])).await;
    assert_eq!(feeding.event().await["event"], "frame_ack");
    let old = format!("framehost, framehost.token.{}", world.token);
    drop(std::mem::replace(&mut world.input, duplex(1).0));
    assert_eq!(feeding.close_code().await, CloseCode::Away);
    assert_eq!(world.try_connect("/v1/streams/s?role=publish", EXTENSION, &old).await.unwrap_err(), 403);
}

#[tokio::test]
async fn who_may_not_is_refused_before_anything_is_opened() {
    let mut world = World::new().await;
    world.open("s").await;
    world.hub.streams().open(&StreamId::parse("other").unwrap(), crate::streams::Origin::default()).unwrap();
    let token = format!("framehost, framehost.token.{}", world.token);
    let path = "/v1/streams/s?role=publish";
    let refused = async |path: &str, origin: &str, protocols: &str| {
        world.try_connect(path, origin, protocols).await.expect_err(path)
    };
    assert_eq!(refused(path, "https://evil.example", &token).await, 403);
    assert_eq!(refused(path, EXTENSION, "framehost").await, 403);
    assert_eq!(refused(path, EXTENSION, &format!("framehost, framehost.token.{}", "0".repeat(64))).await, 403);
    let user = format!("framehost, framehost.token.{}", world.hub.access().user_token().as_str());
    assert_eq!(refused(path, EXTENSION, &user).await, 403, "of no session");
    assert_eq!(refused(path, EXTENSION, &token.replace("framehost, ", "")).await, 400);
    assert_eq!(refused("/v1/streams/other?role=publish", EXTENSION, &token).await, 404, "not this session's");
    assert_eq!(refused("/v1/streams/none?role=subscribe", EXTENSION, &token).await, 404);
    for bad in
        ["s", "s?role=watch", "s?role=subscribe&max_width=x", "s?role=subscribe&format=gif", "a%20b?role=publish"]
    {
        assert_eq!(refused(&format!("/v1/streams/{bad}"), EXTENSION, &token).await, 400, "{bad}");
    }
    let mut open = Vec::new();
    for _ in 0..32 {
        open.push(world.connect(path).await);
    }
    assert_eq!(refused(path, EXTENSION, &token).await, 429);
}

#[tokio::test]
async fn pictures_go_out_as_wished_and_the_end_is_told() {
    let mut world = World::new().await;
    let mut early = world.connect("/v1/streams/s?role=subscribe&format=gray&wait=true").await;
    world.open("s").await;
    let mut small = world.connect("/v1/streams/s?role=subscribe&format=gray&max_width=1&describe=true").await;
    let mut feeding = world.connect("/v1/streams/s?role=publish").await;
    feeding.send(r#"{"type": "picture", "metadata": {"tab": "3"}}"#).await;
    feeding.send(packet(1000, 2, &[7, 9])).await;
    assert_eq!(early.message().await, Some(packet(1000, 2, &[7, 9]).into()));
    let described =
        json!({"event": "frame", "stream_id": "s", "frame_number": 0, "dropped": 0, "metadata": {"tab": "3"}});
    assert_eq!(small.event().await, described);
    assert_eq!(small.message().await, Some(packet(1000, 1, &[8]).into()));
    let stream = world.hub.streams().list().remove(0);
    assert_eq!(stream.subscribers.iter().map(|one| one.delivered).collect::<Vec<_>>(), [1, 1]);
    drop(early);
    let left = async {
        while world.hub.streams().list()[0].subscribers.len() > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), left).await.expect("its subscription ends with its socket");
}

#[tokio::test]
async fn a_slow_reader_loses_pictures_and_holds_nobody_up() {
    let mut world = World::new().await;
    world.open("s").await;
    let mut slow = world.connect("/v1/streams/s?role=subscribe&format=gray&describe=true").await;
    let mut feeding = world.connect("/v1/streams/s?role=publish").await;
    let mut data = packet(0, 0, &[]);
    // 4096 x 1024.
    data[8..16].copy_from_slice(&[0, 16, 0, 0, 0, 4, 0, 0]);
    data.resize(17 + (4 << 20), 7);
    for number in 0..40 {
        feeding.send(data.clone()).await;
        assert_eq!(feeding.event().await["frame_number"], number);
    }
    // What waits for it is the newest.
    let mut last = (Value::Null, 0);
    while last.0 != 39 {
        let event = slow.event().await;
        assert!(matches!(slow.message().await, Some(Message::Binary(bytes)) if bytes.len() == data.len()));
        last = (event["frame_number"].clone(), event["dropped"].as_u64().unwrap());
    }
    assert!(last.1 > 0, "{last:?}");
    assert_eq!(world.hub.streams().list()[0].subscribers[0].dropped, last.1);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_is_let_go() {
    let mut world = World::new().await;
    world.open("s").await;
    let mut silent = world.connect("/v1/streams/s?role=publish").await;
    let asked = tokio::time::Instant::now();
    // Nobody polls it, so nobody answers the ping.
    while world.hub.access().session(&bearer(&world.token)).unwrap().unwrap().sockets.available_permits() < 32 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(asked.elapsed() < Duration::from_secs(100), "still there");
    }
    assert!(asked.elapsed() >= super::socket::KEEP_ALIVE * 2);
    assert!(matches!(silent.message().await, Some(Message::Ping(_))));
}

fn bearer(token: &str) -> ::http::HeaderMap {
    let mut headers = ::http::HeaderMap::new();
    headers.insert(::http::header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    headers
}
