//! Every type of request, through the binary's stdin.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test panics")]

mod common;

use std::fs;

use common::{World, base64, eventually};
use serde_json::{Value, json};

const JPEG: &[u8] = include_bytes!("golden/gradient-64x48.jpg");

#[test]
fn hello_says_what_the_client_has_to_know() {
    let world = World::new();
    let mut host = world.host();
    let hello = host.hello();
    assert_eq!(hello["protocol"], 1);
    assert_eq!(hello["limits"]["max_inbound_bytes"], 64 << 20);
    assert_eq!(hello["limits"]["max_outbound_bytes"], 1 << 20);
    assert_eq!(hello["token"].as_str().unwrap().len(), 64);
    assert_eq!(hello["grpc"], world.hub().unwrap()["grpc"]);
    assert_ne!(hello["token"], world.hub().unwrap()["token"], "a session has a token of its own");
    assert_eq!(host.ok(&json!({"type": "ping"})), json!({}));
    let error = host.error(&json!({"type": "hello", "protocol": 2}));
    assert_eq!((&error["code"], &error["details"]["field"]), (&json!("invalid_argument"), &json!("protocol")));
}

#[test]
fn status_shows_sessions_to_extensions_and_to_people() {
    let world = World::new();
    let origin = "chrome-extension://abcdefghijklmnopabcdefghijklmnop";
    let mut host = world.host_with(&[&format!("{origin}/")]);
    host.hello();
    host.ok(&json!({"type": "stream.open", "stream_id": "cam", "source": {"kind": "extension"}}));
    let status = host.ok(&json!({"type": "status"}));
    assert_eq!(status["sessions"][0]["origin"], origin);
    assert_eq!(status["sessions"][0]["client"], "test");
    assert_eq!((&status["sessions"][0]["streams"], &status["streams"]), (&json!(1), &json!(1)));

    let shown: Value = serde_json::from_str(&world.run(&["status", "--json"])).unwrap();
    assert_eq!(shown["running"], true);
    assert_eq!(shown["sessions"].as_array().unwrap().len(), 1, "the command does not count itself");
    assert_eq!(shown["streams"][0]["stream_id"], "cam");
    let text = world.run(&["status"]);
    assert!(text.contains(shown["grpc"].as_str().unwrap()) && text.contains("cam"), "{text}");
}

#[test]
fn status_without_a_hub_says_so() {
    let world = World::new();
    let output = world.command(&["status", "--json"]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), r#"{"running":false}"#);
    assert!(!output.status.success());
}

#[test]
fn pictures_are_published_and_acknowledged() {
    let world = World::new();
    let mut host = world.host();
    let opened = host.ok(&json!({"type": "stream.open", "stream_id": "cam", "source": {"kind": "extension"}}));
    assert_eq!((&opened["stream_id"], &opened["frame_credits"]), (&json!("cam"), &json!(8)));
    let frame = json!({"type": "frame", "stream_id": "cam", "format": "jpeg", "timestamp_ms": 1, "data": base64(JPEG)});
    assert_eq!(host.ok(&frame), json!({"frame_number": 0}));
    assert_eq!(
        host.event("frame_ack"),
        json!({"event": "frame_ack", "stream_id": "cam", "frame_number": 0, "credits": 1})
    );

    let mut packet = vec![2, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0];
    packet.extend_from_slice(&[1, 2, 3, 4, 5, 6]);
    host.send(&json!({"type": "packet", "stream_id": "cam", "frame_number": 7, "data": base64(&packet)}));
    assert_eq!(host.event("frame_ack")["frame_number"], 7);

    let listed = host.ok(&json!({"type": "stream.list"}));
    let closed = host.ok(&json!({"type": "stream.close", "stream_id": "cam"}));
    for counters in [&listed["streams"][0], &closed] {
        assert_eq!((&counters["received"], &counters["published"]), (&json!(2), &json!(2)));
        assert_eq!(
            (&counters["width"], &counters["height"], &counters["format"]),
            (&json!(2), &json!(1), &json!("rgb"))
        );
        assert_eq!(counters["bytes"], JPEG.len() + 6);
    }
    assert_eq!(host.ok(&json!({"type": "stream.list"}))["streams"], json!([]));
}

#[test]
fn a_synthetic_stream_counts_and_ends() {
    let world = World::new();
    let mut host = world.host();
    let source = json!({"kind": "synthetic", "width": 64, "height": 4, "fps": 200, "frames": 3});
    let opened = host.ok(&json!({"type": "stream.open", "source": source}));
    assert_eq!((&opened["width"], &opened["fps"], &opened["format"]), (&json!(64), &json!(200.0), &json!("rgb")));
    let ended = host.event("stream_ended");
    assert_eq!((&ended["stream_id"], &ended["reason"]), (&opened["stream_id"], &json!("finished")));
    // An endless one ends with its stream.
    let opened = host.ok(&json!({"type": "stream.open", "source": {"kind": "synthetic"}}));
    let frame =
        json!({"type": "frame", "stream_id": opened["stream_id"], "format": "rgb", "timestamp_ms": 0, "data": ""});
    assert_eq!(host.error(&frame)["code"], "failed_precondition");
    host.ok(&json!({"type": "stream.close", "stream_id": opened["stream_id"]}));
}

#[test]
fn a_stream_id_belongs_to_one_session_until_it_ends() {
    let world = World::new();
    let (mut one, mut two) = (world.host(), world.host());
    let open = json!({"type": "stream.open", "stream_id": "cam", "source": {"kind": "extension"}});
    one.ok(&open);
    for host in [&mut one, &mut two] {
        assert_eq!(host.error(&open)["code"], "already_exists");
    }
    let frame = json!({"type": "frame", "stream_id": "cam", "format": "jpeg", "timestamp_ms": 1, "data": base64(JPEG)});
    assert_eq!(two.error(&frame)["code"], "not_found", "it is the other session's");
    assert_eq!(one.finish().1, Some(0));
    eventually("the id is free again", || two.answer(&open).get("ok").is_some());
}

#[test]
fn models_are_listed_opened_and_read_to_the_last_byte() {
    let world = World::new();
    let weights: Vec<u8> = (0..500_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    world.import("org/name", &[("config.json", b"{}"), ("onnx/model.onnx", &weights), ("empty", b"")]);
    let mut host = world.host();
    let listed = host.ok(&json!({"type": "models.list"}));
    let model = &listed["models"][0];
    assert_eq!(
        (&model["model_id"], &model["revision"], &model["complete"]),
        (&json!("org/name"), &json!("main"), &json!(true))
    );
    assert_eq!(model["files"][2], json!({"file_path": "onnx/model.onnx", "size_bytes": weights.len()}));

    let open = json!({"type": "models.open", "model_id": "org/name", "file_path": "onnx/model.onnx"});
    let opened = host.ok(&open);
    assert_eq!((&opened["size_bytes"], &opened["verified"]), (&json!(weights.len()), &json!(true)));
    assert_eq!(opened["sha256"], opened["etag"]);
    let mut got = Vec::new();
    loop {
        let read = json!({"type": "models.read", "handle": opened["handle"], "offset": got.len(), "length": 1 << 30});
        let chunk = host.ok(&read);
        got.extend(base64_simd::STANDARD.decode_to_vec(chunk["data"].as_str().unwrap()).unwrap());
        if chunk["is_last"] == true {
            break;
        }
    }
    assert_eq!(got, weights);
    let read = |offset: Value, length: Value| json!({"type": "models.read", "handle": opened["handle"], "offset": offset, "length": length});
    let at_end = host.ok(&read(json!(weights.len()), json!(1)));
    assert_eq!((&at_end["data"], &at_end["is_last"]), (&json!(""), &json!(true)));
    assert_eq!(host.error(&read(json!(weights.len() + 1), json!(1)))["code"], "out_of_range");
    assert_eq!(host.error(&read(json!(0), json!(0)))["details"]["field"], "length");
    assert_eq!(host.error(&read(json!(-1), json!(1)))["details"]["field"], "offset");

    host.ok(&json!({"type": "models.close", "handle": opened["handle"]}));
    assert_eq!(host.error(&read(json!(0), json!(1)))["code"], "not_found");
    assert_eq!(host.error(&json!({"type": "models.close", "handle": opened["handle"]}))["code"], "not_found");
    let empty = host.ok(&json!({"type": "models.open", "model_id": "org/name", "file_path": "empty"}));
    let chunk = host.ok(&json!({"type": "models.read", "handle": empty["handle"], "offset": 0, "length": 1}));
    assert_eq!((&chunk["data"], &chunk["is_last"]), (&json!(""), &json!(true)));
}

#[test]
fn a_session_holds_so_many_model_files_and_failed_opens_do_not_count() {
    let world = World::new();
    world.import("m", &[("a", b"1")]);
    let mut host = world.host();
    for _ in 0..100 {
        let absent = json!({"type": "models.open", "model_id": "m", "file_path": "absent"});
        assert_eq!(host.error(&absent)["code"], "not_found");
    }
    let open = json!({"type": "models.open", "model_id": "m", "file_path": "a"});
    for _ in 0..64 {
        host.ok(&open);
    }
    assert_eq!(host.error(&open)["code"], "resource_exhausted");
}

#[test]
fn long_lists_come_in_pages() {
    let world = World::new();
    let commit = "c".repeat(40);
    let model = world.cache_dir().join("models--org--many");
    let snapshot = model.join("snapshots").join(&commit);
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(model.join("refs")).unwrap();
    fs::write(model.join("refs/main"), &commit).unwrap();
    for number in 0..6000 {
        fs::write(snapshot.join(format!("{number:04}-{}", "x".repeat(200))), "").unwrap();
    }
    let mut host = world.host();
    let (mut files, mut pages, mut token) = (0, 0, Value::Null);
    loop {
        let page = host.ok(&json!({"type": "models.list", "page_token": token}));
        for entry in page["models"].as_array().unwrap() {
            files += entry["files"].as_array().unwrap().len();
        }
        pages += 1;
        token = page["next_page_token"].clone();
        if token.is_null() {
            break;
        }
    }
    assert_eq!(files, 6000);
    assert!(pages > 1);
    assert_eq!(host.error(&json!({"type": "models.list", "page_token": "x"}))["details"]["field"], "page_token");
}

#[test]
fn answers_that_are_under_way_at_end_of_input_still_come() {
    let world = World::new();
    world.import("m", &[("a", &[7; 100_000])]);
    let mut host = world.host();
    host.hello();
    host.send(&json!({"id": "open", "type": "models.open", "model_id": "m", "file_path": "a"}));
    host.send(&json!({"id": "ping", "type": "ping"}));
    let (rest, code) = host.finish();
    let ids: Vec<_> = rest.iter().map(|message| message["id"].as_str().unwrap()).collect();
    assert!(ids.contains(&"open") && ids.contains(&"ping") && ids.len() == 2, "{rest:?}");
    assert_eq!(code, Some(0));
}

#[test]
fn requests_without_an_id_answer_only_with_errors() {
    let world = World::new();
    let mut host = world.host();
    host.send(&json!({"type": "ping"}));
    host.send(&json!({"type": "no.such.type"}));
    let event = host.receive();
    assert_eq!((&event["event"], &event["code"]), (&json!("error"), &json!("unimplemented")));
    assert_eq!(event["details"]["type"], "no.such.type");
    host.send(&json!({"type": "models.open", "model_id": "m", "file_path": "a"}));
    let event = host.receive();
    assert_eq!(
        (&event["event"], &event["code"], &event["details"]["type"]),
        (&json!("error"), &json!("not_found"), &json!("models.open"))
    );
}

#[test]
fn hub_leaves_when_it_is_idle_and_leaves_nothing_behind() {
    let world = World::with_idle_exit("1");
    let mut host = world.host();
    host.hello();
    let hub = world.hub_pid();
    assert_eq!(host.finish().1, Some(0));
    eventually("the hub leaves", || !fs::exists(format!("/proc/{hub}")).unwrap());
    let left: Vec<_> = fs::read_dir(world.runtime_dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["hub.lock"]);
    // And the next session gets the next hub.
    let mut host = world.host();
    host.hello();
    assert_ne!(world.hub_pid(), hub);
}

#[test]
fn firefox_calls_differently_and_gets_the_same() {
    let world = World::new();
    let manifest = "/home/user/.mozilla/native-messaging-hosts/com.framehost.host.json";
    let mut host = world.host_with(&[manifest, "addon@example"]);
    assert_eq!(host.hello()["protocol"], 1);
}
