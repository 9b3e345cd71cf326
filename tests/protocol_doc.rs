//! The transcripts in `docs/protocol.md`, replayed through the binary's stdin.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test panics")]

mod common;

use common::World;
use serde_json::Value;

/// Stands for any value in an expected message.
const ANYTHING: &str = "…";

/// Does a message agree with what the page shows?
fn agrees(shown: &Value, got: &Value) -> bool {
    match (shown, got) {
        (Value::String(text), _) if text == ANYTHING => true,
        (Value::Object(shown), Value::Object(got)) => {
            shown.len() == got.len()
                && shown.iter().all(|(key, value)| got.get(key).is_some_and(|other| agrees(value, other)))
        }
        (Value::Array(shown), Value::Array(got)) => {
            shown.len() == got.len() && shown.iter().zip(got).all(|(one, other)| agrees(one, other))
        }
        (shown, got) => shown == got,
    }
}

#[test]
fn agrees_compares_all_but_the_wildcards() {
    let check =
        |shown: &str, got: &str| agrees(&serde_json::from_str(shown).unwrap(), &serde_json::from_str(got).unwrap());
    assert!(check(r#"{"a":"…","b":[1,"…"]}"#, r#"{"a":{"x":1},"b":[1,2]}"#));
    assert!(!check(r#"{"a":"…"}"#, r#"{"a":1,"b":2}"#));
    assert!(!check(r#"{"a":1}"#, r#"{"a":2}"#));
    assert!(!check(r#"[1]"#, r#"[1,2]"#));
}

#[test]
fn the_transcripts_are_what_the_binary_says() {
    let page = std::fs::read_to_string("docs/protocol.md").unwrap();
    let transcripts: Vec<_> =
        page.split("```transcript\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(transcripts.len() >= 5, "the page shows transcripts");
    for transcript in transcripts {
        let world = World::new();
        world.import("demo/tiny", &[("config.json", b"{\"a\": 1}\n"), ("onnx/model.onnx", b"not really a model")]);
        let mut host = world.host();
        for line in transcript.lines() {
            match line.split_at(2) {
                ("> ", sent) => host.send_body(sent.as_bytes()),
                ("< ", shown) => {
                    let shown: Value = serde_json::from_str(shown).unwrap();
                    let got = host.receive();
                    assert!(agrees(&shown, &got), "\nshown: {shown}\ngot:   {got}");
                }
                _ => panic!("neither sent nor received: {line:?}"),
            }
        }
        let (rest, code) = host.finish();
        assert_eq!((rest, code), (vec![], Some(0)), "nothing comes that is not shown:\n{transcript}");
    }
}
