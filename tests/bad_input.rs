//! What a broken or hostile client may send, through the binary's stdin: each gets its named error or a clean end,
//! memory stays bounded by the message at hand, and another session of the same hub notices nothing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test panics")]

mod common;

use std::{
    fs,
    io::Write,
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    thread,
};

use common::{Host, World, base64, eventually, framed, resident_bytes};
use rustix::process::Signal;
use serde_json::{Value, json};

const PNG: &[u8] = include_bytes!("golden/gradient-64x48.png");

/// A hub with the client under test and another one, who must not notice anything.
struct Pair {
    world: World,
    client: Host,
    other: Host,
}

impl Pair {
    fn new() -> Self {
        Self::of(World::new())
    }

    fn of(world: World) -> Self {
        let (client, mut other) = (world.host(), world.host());
        other.hello();
        other.ok(&open("other"));
        Self { world, client, other }
    }

    /// The client still is served after it sent this.
    fn check_alive(&mut self) {
        assert_eq!(self.client.ok(&json!({"type": "ping"})), json!({}));
        self.check_other();
    }

    fn check_other(&mut self) {
        let frame =
            json!({"type": "frame", "stream_id": "other", "format": "png", "timestamp_ms": 1, "data": base64(PNG)});
        self.other.ok(&frame);
    }
}

fn open(stream_id: &str) -> Value {
    json!({"type": "stream.open", "stream_id": stream_id, "source": {"kind": "extension"}})
}

/// An `error` event with this code comes next.
fn check_event(host: &mut Host, code: &str) -> Value {
    let event = host.receive();
    assert_eq!((&event["event"], &event["code"]), (&json!("error"), &json!(code)), "{event}");
    event
}

#[test]
fn bodies_that_are_no_request_cost_only_themselves() {
    let mut pair = Pair::new();
    let deep = format!("{}1{}", "[".repeat(200_000), "]".repeat(200_000));
    let long_type = format!(r#"{{"type":"{}"}}"#, "x".repeat(2 << 20));
    let bodies: [&[u8]; 13] = [
        long_type.as_bytes(),
        b"",
        b" ",
        b"{",
        b"[]",
        b"null",
        b"\"text\"",
        b"{\"type\":\"ping\"} trailing",
        b"\xff\xfe\xfd",
        b"{\"type\":\"pi\xff\"}",
        b"{}",
        b"{\"type\":7}",
        deep.as_bytes(),
    ];
    for body in bodies {
        pair.client.send_body(body);
        check_event(&mut pair.client, "invalid_argument");
    }
    pair.check_alive();
}

#[test]
fn deep_nesting_in_a_field_is_an_error_of_that_field() {
    let mut pair = Pair::new();
    let body = format!(r#"{{"id":1,"type":"stream.open","source":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    pair.client.send_body(body.as_bytes());
    let answer = pair.client.receive();
    assert_eq!(answer["error"]["details"]["field"], "source", "{answer}");
    pair.check_alive();
}

#[test]
fn a_length_over_the_limit_ends_the_session_with_a_reason() {
    for announced in [(64 << 20) + 1, u32::MAX] {
        let mut pair = Pair::new();
        pair.client.send_raw(&u32::to_ne_bytes(announced));
        pair.client.send_raw(&[b'x'; 1000]);
        check_event(&mut pair.client, "resource_exhausted");
        assert!(pair.client.try_receive(common::PATIENCE).is_none());
        assert_eq!(pair.client.wait().code(), Some(1));
        pair.check_other();
    }
}

#[test]
fn a_length_that_lies_breaks_its_own_session_only() {
    let mut pair = Pair::new();
    let body = br#"{"type":"ping","padding":"0123456789"}"#;
    // Shorter than what follows: the rest is read as a length, and `"typ` is one beyond every limit.
    pair.client.send_raw(&[&1_u32.to_ne_bytes()[..], body].concat());
    check_event(&mut pair.client, "invalid_argument");
    check_event(&mut pair.client, "resource_exhausted");
    assert_eq!(pair.client.wait().code(), Some(1));
    pair.check_other();
}

#[test]
fn an_error_about_something_long_is_short() {
    let mut pair = Pair::new();
    // What the error repeats would be more than a browser takes: it would close the port.
    let long = format!("/{}", "x".repeat(2 << 20));
    let source = json!({"kind": "file", "path": long});
    let error = pair.client.error(&json!({"type": "stream.open", "stream_id": "s", "source": source}));
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("the file is not in a directory") && message.len() < 10_000, "{}", message.len());
    pair.check_alive();
}

#[test]
fn the_largest_body_is_taken() {
    let mut pair = Pair::new();
    let mut body = vec![b' '; 64 << 20];
    body[..15].copy_from_slice(br#"{"type":"ping"}"#);
    pair.client.send_body(&body);
    pair.check_alive();
}

#[test]
fn an_announced_length_takes_no_memory() {
    let mut pair = Pair::new();
    let hub = pair.world.hub_pid();
    let before = resident_bytes(hub);
    let mut liars: Vec<_> = (0..16).map(|_| pair.world.host()).collect();
    for liar in &mut liars {
        liar.send_raw(&u32::to_ne_bytes(64 << 20));
        liar.send_raw(&[b'x'; 1000]);
    }
    let sessions = |pair: &mut Pair| pair.other.ok(&json!({"type": "status"}))["sessions"].as_array().unwrap().len();
    eventually("every session is there", || sessions(&mut pair) == 18);
    assert!(resident_bytes(hub) < before + (48 << 20), "16 x 64 MiB were announced and not sent");
    pair.check_other();
}

#[test]
fn an_end_in_the_middle_of_anything_is_a_clean_end() {
    let whole = framed(br#"{"id":1,"type":"ping"}"#);
    for cut in 0..whole.len() {
        let world = World::new();
        let mut host = world.host();
        host.send_raw(&whole);
        host.send_raw(&whole[..cut]);
        let (rest, code) = host.finish();
        assert_eq!((rest, code), (vec![json!({"id": 1, "ok": {}})], Some(0)), "cut after {cut} bytes");
        world.signal_hub(Signal::TERM);
    }
}

#[test]
fn wrong_and_missing_fields_are_named() {
    let mut pair = Pair::new();
    pair.client.ok(&open("cam"));
    let frame = |change: Value| {
        let mut frame = json!({"type": "frame", "stream_id": "cam", "format": "rgb", "width": 2, "height": 1,
            "timestamp_ms": 1, "data": base64(&[0; 6])});
        for (field, value) in change.as_object().unwrap() {
            frame[field] = value.clone();
        }
        frame
    };
    let synthetic = |source: Value| json!({"type": "stream.open", "source": source});
    let cases = [
        (json!({"type": "hello"}), "protocol"),
        (json!({"type": "hello", "protocol": "1"}), "protocol"),
        (json!({"type": "hello", "protocol": 1, "client": 5}), "client"),
        (json!({"type": "stream.open"}), "source"),
        (json!({"type": "stream.open", "source": {"kind": "microphone"}}), "source"),
        (json!({"type": "stream.open", "stream_id": "a/b", "source": {"kind": "extension"}}), "stream_id"),
        (json!({"type": "stream.open", "stream_id": "", "source": {"kind": "extension"}}), "stream_id"),
        (json!({"type": "stream.open", "stream_id": "x".repeat(129), "source": {"kind": "extension"}}), "stream_id"),
        (json!({"type": "stream.open", "stream_id": 5, "source": {"kind": "extension"}}), "stream_id"),
        (synthetic(json!({"kind": "synthetic", "fps": 0})), "fps"),
        (synthetic(json!({"kind": "synthetic", "width": 0})), "width"),
        (synthetic(json!({"kind": "synthetic", "format": "i420"})), "format"),
        (frame(json!({"stream_id": null})), "stream_id"),
        (frame(json!({"format": "gif"})), "format"),
        (frame(json!({"format": 5})), "format"),
        (frame(json!({"format": null})), "format"),
        (frame(json!({"width": 0})), "width"),
        (frame(json!({"width": "2"})), "width"),
        (frame(json!({"width": null})), "width"),
        (frame(json!({"height": null})), "height"),
        (frame(json!({"width": 2_147_483_648_u64, "height": 2_147_483_648_u64})), "width"),
        (frame(json!({"width": 18_446_744_073_709_551_615_u64})), "width"),
        (frame(json!({"width": 16_385})), "width"),
        (frame(json!({"width": -1})), "width"),
        (frame(json!({"timestamp_ms": null})), "timestamp_ms"),
        (frame(json!({"timestamp_ms": -1})), "timestamp_ms"),
        (frame(json!({"timestamp_ms": 1.5})), "timestamp_ms"),
        (frame(json!({"timestamp_ms": 9_007_199_254_740_992_u64})), "timestamp_ms"),
        (frame(json!({"frame_number": -1})), "frame_number"),
        (frame(json!({"frame_number": 2_147_483_648_u64})), "frame_number"),
        (frame(json!({"metadata": {"a": 1}})), "metadata"),
        (frame(json!({"metadata": {"a": "x".repeat(4097)}})), "metadata"),
        (frame(json!({"data": null})), "data"),
        (frame(json!({"data": 5})), "data"),
        (frame(json!({"data": ""})), "data"),
        (frame(json!({"data": "AAAA AAA"})), "data"),
        (frame(json!({"data": "AAAAAAA"})), "data"),
        (frame(json!({"data": base64(&[0; 5])})), "data"),
        (frame(json!({"data": base64(&[0; 7])})), "data"),
        (frame(json!({"format": "jpeg", "width": null, "height": null, "data": base64(PNG)})), "data"),
        (frame(json!({"format": "png", "data": base64(PNG)})), "width"),
        (frame(json!({"format": "png", "width": null, "height": null, "data": base64(&PNG[..20])})), "data"),
        (json!({"type": "packet", "stream_id": "cam", "data": base64(&[0; 16])}), "data"),
        (json!({"type": "packet", "stream_id": "cam", "data": base64(&[0; 17])}), "data"),
        (json!({"type": "packet", "stream_id": "cam", "data": base64(&[0; 17]), "metadata": {"a": 1}}), "metadata"),
        (json!({"type": "stream.subscribe"}), "stream_id"),
        (json!({"type": "stream.subscribe", "stream_id": "s", "format": "bmp"}), "format"),
        (json!({"type": "stream.subscribe", "stream_id": "s", "max_width": 0}), "max_width"),
        (json!({"type": "stream.subscribe", "stream_id": "s", "max_fps": -1}), "max_fps"),
        (json!({"type": "models.open", "file_path": "a"}), "model_id"),
        (json!({"type": "models.open", "model_id": "m"}), "file_path"),
        (json!({"type": "models.open", "model_id": "m", "file_path": "a", "revision": "../x"}), "revision"),
        (json!({"type": "models.read", "offset": 0, "length": 1}), "handle"),
        (json!({"type": "models.read", "handle": "1", "offset": 0, "length": 1}), "handle"),
        (json!({"type": "models.close"}), "handle"),
    ];
    for (request, field) in cases {
        let error = pair.client.error(&request);
        assert_eq!(
            (&error["code"], &error["details"]["field"]),
            (&json!("invalid_argument"), &json!(field)),
            "{request}: {error}"
        );
    }
    let counters = pair.client.ok(&json!({"type": "stream.close", "stream_id": "cam"}));
    assert_eq!(counters["published"], 0);
    assert!(counters["rejected"].as_u64().unwrap() > 20);
    pair.check_alive();
}

#[test]
fn an_unknown_format_byte_is_named() {
    let mut pair = Pair::new();
    pair.client.ok(&open("cam"));
    let mut packet = vec![0; 20];
    (packet[8], packet[12], packet[16]) = (1, 1, 200);
    let error = pair.client.error(&json!({"type": "packet", "stream_id": "cam", "data": base64(&packet)}));
    assert!(error["message"].as_str().unwrap().contains("200"), "{error}");
    pair.check_alive();
}

#[test]
fn a_refused_picture_gives_its_credit_back() {
    let mut pair = Pair::new();
    pair.client.ok(&open("cam"));
    for _ in 0..50 {
        let bad = json!({"type": "frame", "stream_id": "cam", "format": "png", "timestamp_ms": 1, "data": "AAAA"});
        assert_eq!(pair.client.error(&bad)["details"]["credits"], 1);
    }
    let good = json!({"type": "frame", "stream_id": "cam", "format": "png", "timestamp_ms": 1, "data": base64(PNG)});
    pair.client.ok(&good);
}

#[test]
fn names_that_are_tricks_open_nothing() {
    let mut pair = Pair::new();
    pair.world.import("m", &[("a", b"1")]);
    let long = "x".repeat(5000);
    for path in [
        "/etc/passwd",
        "../a",
        "a/../../a",
        "..",
        ".",
        "",
        "a//b",
        "a/",
        "a\0",
        "a\n",
        "a\\b",
        "C:\\a",
        "c:a",
        "CON",
        "nul.txt",
        "a/COM1",
        "a.",
        "a ",
        long.as_str(),
    ] {
        let error = pair.client.error(&json!({"type": "models.open", "model_id": "m", "file_path": path}));
        assert_eq!(
            (&error["code"], &error["details"]["field"]),
            (&json!("invalid_argument"), &json!("file_path")),
            "{path:?}"
        );
    }
    for model_id in
        ["", "..", "../m", "/m", "a/b/c", "models--m", "a--b", "m\0", "m/..", ".locks", "datasets/a/b", long.as_str()]
    {
        let error = pair.client.error(&json!({"type": "models.open", "model_id": model_id, "file_path": "a"}));
        assert_eq!(
            (&error["code"], &error["details"]["field"]),
            (&json!("invalid_argument"), &json!("model_id")),
            "{model_id:?}"
        );
    }
    pair.check_alive();
}

#[test]
fn what_does_not_exist_is_not_found() {
    let mut pair = Pair::new();
    pair.world.import("m", &[("a", b"1")]);
    let frame = json!({"type": "frame", "stream_id": "none", "format": "png", "timestamp_ms": 1, "data": base64(PNG)});
    for request in [
        frame,
        json!({"type": "packet", "stream_id": "none", "data": ""}),
        json!({"type": "stream.close", "stream_id": "none"}),
        json!({"type": "stream.close", "stream_id": "other"}),
        json!({"type": "stream.subscribe", "stream_id": "none"}),
        json!({"type": "stream.unsubscribe", "stream_id": "none"}),
        json!({"type": "models.open", "model_id": "none", "file_path": "a"}),
        json!({"type": "models.open", "model_id": "m", "file_path": "none"}),
        json!({"type": "models.open", "model_id": "m", "file_path": "a", "revision": "none"}),
        json!({"type": "models.read", "handle": 1, "offset": 0, "length": 1}),
        json!({"type": "models.close", "handle": 1}),
    ] {
        assert_eq!(pair.client.error(&request)["code"], "not_found", "{request}");
    }
    assert_eq!(pair.client.error(&json!({"type": "models.push"}))["code"], "unimplemented");
    pair.check_alive();
}

#[test]
fn an_id_whose_request_is_open_is_not_used_again() {
    let world = World::new();
    let folder = world.runtime_dir().with_file_name("tools");
    let (ffmpeg, ffprobe) = (folder.join("ffmpeg"), folder.join("ffprobe"));
    let (video, go) = (folder.join("video.mp4"), folder.join("go"));
    fs::create_dir(&folder).unwrap();
    for file in [&ffmpeg, &video] {
        fs::write(file, "no video").unwrap();
    }
    // A file is looked at until somebody says so.
    fs::write(&ffprobe, format!("#!/bin/sh\nwhile [ ! -e '{}' ]; do sleep 0.02; done; exit 1\n", go.display()))
        .unwrap();
    fs::set_permissions(&ffprobe, fs::Permissions::from_mode(0o755)).unwrap();
    let config = world.runtime_dir().with_file_name("config");
    fs::create_dir(&config).unwrap();
    let settings = json!({"ffmpeg": ffmpeg, "video_dirs": [folder]});
    fs::write(config.join("config.json"), settings.to_string()).unwrap();
    let mut pair = Pair::of(world);
    let source = json!({"kind": "file", "path": video});
    pair.client.send(&json!({"id": "twice", "type": "stream.open", "source": source}));
    pair.client.send(&json!({"id": "twice", "type": "ping"}));
    let event = check_event(&mut pair.client, "already_exists");
    assert_eq!(event["details"]["id"], "twice");
    fs::write(go, "").unwrap();
    let answer = pair.client.receive();
    assert_eq!(
        (&answer["id"], &answer["error"]["details"]["reason"]),
        (&json!("twice"), &json!("not_a_video")),
        "{answer}"
    );
    // Now it is free again.
    pair.client.send(&json!({"id": "twice", "type": "ping"}));
    assert_eq!(pair.client.receive(), json!({"id": "twice", "ok": {}}));
    pair.check_alive();
}

#[test]
fn ids_that_are_none_are_errors_without_an_answer() {
    let mut pair = Pair::new();
    for id in [json!(-1), json!(1.5), json!([]), json!({}), json!(true), json!(""), json!("x".repeat(65))] {
        pair.client.send(&json!({"id": id, "type": "ping"}));
        let event = check_event(&mut pair.client, "invalid_argument");
        assert_eq!(event["details"]["field"], "id");
    }
    pair.check_alive();
}

#[test]
fn a_reader_that_never_reads_runs_out_of_credit_and_hurts_nobody() {
    let mut pair = Pair::new();
    pair.client.ok(&open("cam"));
    let frame = json!({"type": "frame", "stream_id": "cam", "format": "rgb", "width": 1, "height": 1, "timestamp_ms": 1,
        "data": base64(&[0; 3])});
    let frame = framed(&serde_json::to_vec(&frame).unwrap());
    // Far more than pipes and sockets hold of either direction; the writer ends with the pipe.
    let mut stdin = pair.client.take_stdin();
    let writer = thread::spawn(move || (0..200_000).all(|_| stdin.write_all(&frame).is_ok()));
    // The hub stops reading from it once its acknowledgements lie everywhere.
    let cam = |pair: &mut Pair| {
        let streams = pair.other.ok(&json!({"type": "stream.list"}));
        streams["streams"].as_array().unwrap().iter().find(|s| s["stream_id"] == "cam").unwrap()["rejected"].clone()
    };
    eventually("a picture is refused for want of credit", || cam(&mut pair) != json!(0));
    assert!(resident_bytes(pair.world.hub_pid()) < 64 << 20);
    pair.check_other();
    // What it could have read all along: acknowledgements, and then the refusal.
    let refusal = pair.client.event("error");
    assert_eq!((&refusal["code"], &refusal["details"]["credits"]), (&json!("resource_exhausted"), &json!(0)));
    drop(pair.client);
    assert!(!writer.join().unwrap(), "the pipe ended under the writer");
    let sessions = |other: &mut Host| other.ok(&json!({"type": "status"}))["sessions"].as_array().unwrap().len();
    eventually("its session ends", || sessions(&mut pair.other) == 1);
}

#[test]
fn stale_files_do_not_keep_a_hub_from_starting() {
    let world = World::new();
    fs::create_dir_all(world.runtime_dir()).unwrap();
    // A socket whose listener is gone, a lock nobody holds, a runtime file of a process that never was.
    drop(UnixListener::bind(world.runtime_dir().join("hub.sock")).unwrap());
    fs::write(world.runtime_dir().join("hub.lock"), "junk").unwrap();
    fs::write(
        world.runtime_dir().join("hub.json"),
        r#"{"pid":2147483647,"version":"0","grpc":"127.0.0.1:1","token":""}"#,
    )
    .unwrap();
    let mut host = world.host();
    assert_eq!(host.hello()["grpc"], world.hub().unwrap()["grpc"]);
}

#[test]
fn a_plain_file_in_the_sockets_place_is_replaced() {
    let world = World::new();
    fs::create_dir_all(world.runtime_dir()).unwrap();
    fs::write(world.runtime_dir().join("hub.sock"), "no socket").unwrap();
    world.host().hello();
}

#[test]
fn a_hub_that_holds_the_lock_and_never_answers_is_unavailable() {
    let world = World::new();
    fs::create_dir_all(world.runtime_dir()).unwrap();
    let lock = fs::File::create(world.runtime_dir().join("hub.lock")).unwrap();
    lock.lock().unwrap();
    let mut host = world.host();
    check_event(&mut host, "unavailable");
    assert_eq!(host.wait().code(), Some(1));
}

#[test]
fn a_socket_path_that_is_too_long_is_said_on_stderr() {
    let world = World::new();
    let mut command = world.command(&["hub"]);
    command.env("FRAMEHOST_RUNTIME_DIR", world.runtime_dir().join("x".repeat(120)));
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && text.contains("FRAMEHOST_RUNTIME_DIR"), "{text}");
}
