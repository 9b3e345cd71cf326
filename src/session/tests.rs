#[cfg(unix)]
mod openings;

use std::sync::Arc;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncWriteExt, DuplexStream, duplex},
    sync::mpsc,
    task::JoinHandle,
};

use super::*;
use crate::{
    frame::{Format, PixelFormat, VideoFrame, fragment, packet},
    framing::encode_prefix,
    hub::HubSettings,
    models::{ModelStore, SharedModels, StoreOptions, Upstream},
    streams::SubscribeOptions,
};

/// A whole session in this process, between a duplex stream and a channel.
struct World {
    hub: Arc<Hub>,
    _dir: TempDir,
}

struct Client {
    input: DuplexStream,
    bodies: mpsc::Receiver<Vec<u8>>,
    session: JoinHandle<Ended>,
}

impl World {
    fn new() -> Self {
        Self::with(HubSettings::default())
    }

    fn with(settings: HubSettings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = StoreOptions { cache_dir: dir.path().join("hub"), state_dir: dir.path().join("state") };
        let models = SharedModels::new(ModelStore::new(options), Upstream::off());
        Self { hub: Hub::new(models, settings).unwrap(), _dir: dir }
    }

    fn client(&self, outbound: usize) -> Client {
        let (input, reader) = duplex(1 << 20);
        let (sender, bodies) = mpsc::channel(outbound);
        let session = tokio::spawn(serve(Arc::clone(&self.hub), Caller::default(), reader, sender));
        Client { input, bodies, session }
    }
}

impl Client {
    async fn send(&mut self, message: &Value) {
        let body = serde_json::to_vec(message).unwrap();
        self.input.write_all(&encode_prefix(body.len(), MAX_INBOUND_BODY).unwrap()).await.unwrap();
        self.input.write_all(&body).await.unwrap();
    }

    async fn receive(&mut self) -> Value {
        serde_json::from_slice(&self.bodies.recv().await.unwrap()).unwrap()
    }

    async fn open(&mut self, stream_id: &str) {
        self.send(&json!({"id": 0, "type": "stream.open", "stream_id": stream_id, "source": {"kind": "extension"}}))
            .await;
        assert!(self.receive().await["ok"].is_object());
    }
}

fn frame(stream_id: &str) -> Value {
    json!({"type": "frame", "stream_id": stream_id, "format": "rgb", "width": 1, "height": 1, "timestamp_ms": 1,
        "data": "AAAA"})
}

#[test]
fn callers_are_known_by_what_browsers_pass() {
    let caller = |argv: &[&str]| {
        let argv: Vec<_> = argv.iter().map(|argument| (*argument).to_owned()).collect();
        Caller::from_argv(&argv, None)
    };
    let origin = |argv: &[&str]| caller(argv).origin;
    let extension = |argv: &[&str]| caller(argv).extension();
    assert_eq!(extension(&["chrome-extension://abc/"]).unwrap(), "abc");
    assert_eq!(extension(&["/path/manifest.json", "addon@example"]).unwrap(), "addon@example");
    assert_eq!(extension(&["C:\\manifest.json", "{b9db16a4-6edc-47ec-a1f4-b86292ed211d}"]).unwrap().len(), 38);
    // A browser all the same, and no program that may everything.
    assert_eq!(extension(&["/path/manifest.json", "no id"]).unwrap(), "no id");
    for argv in [&["/path/manifest.json"][..], &["status", "addon@example"], &[]] {
        assert_eq!(extension(argv), None, "{argv:?}");
    }
    assert_eq!(origin(&["chrome-extension://abc/", "--parent-window=0"]).unwrap(), "chrome-extension://abc");
    assert_eq!(origin(&["/path/manifest.json", "addon@example"]), None);
    assert_eq!(origin(&[]), None);
}

#[tokio::test]
async fn credits_come_back_with_acknowledgements_and_not_before() {
    let world = World::new();
    // Room for one message: the acknowledgements after the first one wait, and their credits with them.
    let mut client = world.client(1);
    client.open("s").await;
    let allowed = 1 + FRAME_CREDITS;
    for _ in 0..=allowed {
        client.send(&frame("s")).await;
    }
    let (mut credits, mut newest) = (0, 0);
    loop {
        let message = client.receive().await;
        match message["event"].as_str() {
            Some("frame_ack") => {
                credits += message["credits"].as_u64().unwrap();
                newest = message["frame_number"].as_u64().unwrap();
            }
            _ => {
                assert_eq!(
                    (&message["code"], &message["details"]["credits"]),
                    (&json!("resource_exhausted"), &json!(0))
                );
                break;
            }
        }
    }
    while credits < u64::from(allowed) {
        let ack = client.receive().await;
        credits += ack["credits"].as_u64().unwrap();
        newest = ack["frame_number"].as_u64().unwrap();
    }
    assert_eq!((credits, newest), (u64::from(allowed), u64::from(allowed) - 1), "acknowledgements add up");
    client.send(&frame("s")).await;
    assert_eq!(client.receive().await["frame_number"], allowed);
}

#[tokio::test]
async fn everything_a_session_holds_goes_with_it() {
    let world = World::new();
    let mut client = world.client(16);
    client.open("s").await;
    assert_eq!((world.hub.sessions().len(), world.hub.streams().list().len()), (1, 1));
    drop(client.input);
    assert_eq!(client.session.await.unwrap(), Ended::Normally);
    assert_eq!((world.hub.sessions().len(), world.hub.streams().list().len()), (0, 0));
}

#[tokio::test]
async fn a_client_that_leaves_with_acknowledgements_unread_keeps_no_worker() {
    let world = World::new();
    let mut client = world.client(1);
    client.open("s").await;
    for _ in 0..4 {
        client.send(&frame("s")).await;
    }
    // The end of input comes first, then the end of output: the drain is under way when nobody is left to read.
    drop(client.input);
    tokio::task::yield_now().await;
    drop(client.bodies);
    assert_eq!(client.session.await.unwrap(), Ended::Normally);
}

#[tokio::test]
async fn hello_begins_anew() {
    let world = World::new();
    let mut client = world.client(16);
    client.open("s").await;
    client.send(&json!({"id": 1, "type": "hello", "protocol": 1})).await;
    assert!(client.receive().await["ok"].is_object());
    assert!(world.hub.streams().list().is_empty());
    client.open("s").await;
}

#[tokio::test]
async fn a_stream_that_takes_a_finished_ones_name_is_not_ended_for_it() {
    let world = World::new();
    let mut client = world.client(16);
    let source = json!({"kind": "synthetic", "width": 32, "height": 4, "fps": 240, "frames": 1});
    for _ in 0..50 {
        client.send(&json!({"id": 1, "type": "stream.open", "stream_id": "s", "source": source})).await;
        client.send(&json!({"id": 2, "type": "stream.close", "stream_id": "s"})).await;
        client.send(&json!({"id": 3, "type": "stream.open", "stream_id": "s", "source": {"kind": "extension"}})).await;
        client.send(&json!({"id": 4, "type": "stream.close", "stream_id": "s"})).await;
        loop {
            let message = client.receive().await;
            if message["id"] == 4 {
                assert!(message["ok"].is_object(), "{message}");
                break;
            }
            assert!(message["id"] != 3 || message["ok"].is_object(), "{message}");
        }
    }
}

#[tokio::test]
async fn a_refused_source_does_not_end_those_who_wait_for_its_stream() {
    let world = World::new();
    let mut client = world.client(16);
    let id = StreamId::parse("s").unwrap();
    let waiting = world.hub.streams().subscribe(&id, SubscribeOptions { wait: true, ..Default::default() }).unwrap();
    client
        .send(&json!({"id": 1, "type": "stream.open", "stream_id": "s", "source": {"kind": "synthetic", "fps": 0}}))
        .await;
    assert!(client.receive().await["error"].is_object());
    client.open("s").await;
    client.send(&frame("s")).await;
    assert_eq!(waiting.next().await.unwrap().unwrap().frame.frame_number(), 0);
    assert_eq!(world.hub.streams().list()[0].source, "extension");
}

#[tokio::test]
async fn requests_that_wait_for_the_disk_do_not_keep_pictures_waiting() {
    let world = World::new();
    let mut client = world.client(16);
    client.open("s").await;
    for id in 1..=2 * MAX_OPEN_REQUESTS {
        client.send(&json!({"id": id, "type": "models.list"})).await;
    }
    client
        .send(&json!({"id": "picture", "type": "frame", "stream_id": "s", "format": "rgb", "width": 1, "height": 1,
        "timestamp_ms": 1, "data": "AAAA"}))
        .await;
    let mut answers = 0;
    while answers < 2 * MAX_OPEN_REQUESTS + 1 {
        let message = client.receive().await;
        answers += usize::from(message.get("id").is_some());
        let is_sound = message["error"].is_null() || message["error"]["code"] == "resource_exhausted";
        assert!(is_sound, "{message}");
    }
    assert_eq!(world.hub.streams().list()[0].published, 1);
}

#[tokio::test]
async fn a_client_that_is_gone_ends_its_session() {
    let world = World::new();
    let client = world.client(16);
    drop(client.bodies);
    assert_eq!(client.session.await.unwrap(), Ended::Normally);
}

#[tokio::test]
async fn a_hub_that_stops_ends_its_sessions_without_a_farewell() {
    let world = World::new();
    let client = world.client(16);
    world.hub.shutdown().cancel();
    let ended = client.session.await.unwrap();
    assert_eq!((ended, ended.exit_code()), (Ended::HubStopped, None));
}

#[tokio::test]
async fn sessions_are_limited() {
    let world = World::new();
    let clients: Vec<_> = (0..crate::hub::MAX_SESSIONS_OF_ONE).map(|_| world.client(16)).collect();
    tokio::task::yield_now().await;
    let mut one_more = world.client(16);
    assert_eq!(one_more.receive().await["code"], "resource_exhausted");
    assert_eq!(one_more.session.await.unwrap().exit_code(), Some(1));
    drop(clients);
}

#[tokio::test]
async fn results_reach_the_session_that_holds_the_stream() {
    let world = World::new();
    let mut client = world.client(16);
    client.open("s").await;
    let json: Arc<serde_json::value::RawValue> =
        Arc::from(serde_json::value::RawValue::from_string(r#"{"faces":2}"#.to_owned()).unwrap());
    world.hub.streams().give_result(&StreamId::parse("s").unwrap(), 5, json).unwrap();
    let expected = json!({"event": "result", "stream_id": "s", "frame_number": 5, "result": {"faces": 2}});
    assert_eq!(client.receive().await, expected);
}

#[tokio::test]
async fn packets_that_lost_a_fragment_are_counted_and_cost_no_other() {
    let world = World::new();
    let mut client = world.client(16);
    client.open("cam").await;
    let len = PixelFormat::Rgb.packed_len(500, 200).unwrap();
    let frame = VideoFrame::try_new(Format::Pixels(PixelFormat::Rgb), Some((500, 200)), 1, vec![7; len].into());
    let packet = packet::encode(&frame.unwrap()).unwrap().into();
    // Of five packets only the first half comes: one more than may be incomplete. The sixth comes whole.
    let halves = (0..5).map(|id| fragment::split(id, &packet).remove(0));
    for message in halves.chain(fragment::split(5, &packet)) {
        let data = base64_simd::STANDARD.encode_to_string(&message);
        client.send(&json!({"type": "packet", "stream_id": "cam", "data": data})).await;
    }
    client.send(&json!({"id": 1, "type": "stream.close", "stream_id": "cam"})).await;
    let counters = loop {
        let message = client.receive().await;
        if message["id"] == 1 {
            break message["ok"].clone();
        }
        assert_eq!(message["event"], "frame_ack", "{message}");
    };
    assert_eq!((&counters["published"], &counters["lost_packets"]), (&json!(1), &json!(2)), "{counters}");
}
