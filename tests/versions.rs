//! Two versions of framehost on one machine: the newer one takes over when the older one has nothing to do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test panics")]

mod common;

use std::{
    fs,
    io::{Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    thread,
};

use common::{World, eventually};
use framehost::{
    hub::lock,
    link::{HubPreamble, LINK_VERSION, RelayPreamble, encode_preamble, read_preamble},
};
use serde_json::json;

/// A relay of another framehost. `link_version`: the fourth byte of its preamble.
fn relay_of(world: &World, version: &str, link_version: u8) -> UnixStream {
    let preamble = RelayPreamble { version: version.to_owned(), argv: Vec::new(), pid: 1 };
    let mut bytes = encode_preamble(&preamble).unwrap();
    bytes[3] = link_version;
    let mut stream = UnixStream::connect(world.runtime_dir().join("hub.sock")).unwrap();
    stream.write_all(&bytes).unwrap();
    read_preamble::<HubPreamble>(&mut stream).unwrap();
    stream
}

/// A hub that would stay for ten minutes, and a session of it.
fn busy_hub() -> (World, common::Host) {
    let world = World::with_idle_exit("600");
    let mut host = world.host();
    host.hello();
    (world, host)
}

#[test]
fn a_hub_leaves_to_a_newer_framehost_when_nobody_needs_it() {
    let (world, mut host) = busy_hub();
    let hub = world.hub_pid();
    let mut newer = relay_of(&world, "999.0.0", LINK_VERSION);
    // It serves the newer relay, and who was there before it.
    let body = serde_json::to_vec(&json!({"id": 1, "type": "ping"})).unwrap();
    newer.write_all(&common::framed(&body)).unwrap();
    let mut kind = [1];
    newer.read_exact(&mut kind).unwrap();
    assert_eq!(kind, [0], "a message");
    drop(newer);
    host.hello();
    assert_eq!(world.hub_pid(), hub);
    assert_eq!(host.finish().1, Some(0));
    eventually("the hub has left", || world.hub().is_none());
    let mut next = world.host();
    next.hello();
    assert_ne!(world.hub_pid(), hub);
}

#[test]
fn a_hub_stays_for_relays_that_are_not_newer() {
    let (world, host) = busy_hub();
    let hub = world.hub_pid();
    for version in [env!("CARGO_PKG_VERSION"), "0.0.1", "", "new"] {
        drop(relay_of(&world, version, LINK_VERSION));
    }
    assert_eq!(host.finish().1, Some(0));
    world.host().hello();
    assert_eq!(world.hub_pid(), hub);
}

#[test]
fn a_hub_leaves_to_a_relay_whose_link_it_does_not_understand() {
    let (world, host) = busy_hub();
    let mut newer = relay_of(&world, "999.0.0", LINK_VERSION + 1);
    assert!(matches!(newer.read(&mut [0]), Ok(0) | Err(_)), "it is not served");
    assert!(world.hub().is_some(), "somebody needs the hub");
    assert_eq!(host.finish().1, Some(0));
    eventually("the hub has left", || world.hub().is_none());
}

/// Stands for a hub of another link version: holds its lock, and answers `answers` connections.
fn hub_of(world: &World, link_version: u8, answers: usize) -> thread::JoinHandle<()> {
    fs::create_dir_all(world.runtime_dir()).unwrap();
    let socket = world.runtime_dir().join("hub.sock");
    let held = lock::try_lock(&world.runtime_dir()).unwrap().unwrap();
    let listener = UnixListener::bind(&socket).unwrap();
    thread::spawn(move || {
        for _ in 0..answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut bytes = encode_preamble(&HubPreamble { version: "0.0.1".to_owned(), pid: 1 }).unwrap();
            bytes[3] = link_version;
            // It may have heard enough.
            let _ = stream.write_all(&bytes);
        }
        fs::remove_file(&socket).unwrap();
        drop(held);
    })
}

#[test]
fn a_relay_waits_for_an_older_hub_to_leave() {
    let world = World::new();
    let older = hub_of(&world, LINK_VERSION - 1, 3);
    let mut host = world.host();
    host.hello();
    older.join().unwrap();
}

#[test]
fn a_relay_that_an_older_hub_does_not_leave_to_says_so() {
    let world = World::new();
    let _older = hub_of(&world, LINK_VERSION - 1, usize::MAX);
    let mut host = world.host();
    let error = host.event("error");
    assert_eq!(error["code"], "unavailable");
    assert!(error["message"].as_str().unwrap().contains("an older framehost"), "{error}");
    assert_eq!(host.finish().1, Some(1));
}

#[test]
fn a_relay_that_is_too_old_for_the_hub_says_so() {
    let world = World::new();
    let newer = hub_of(&world, LINK_VERSION + 1, 1);
    let mut host = world.host();
    let error = host.event("error");
    assert_eq!(error["code"], "failed_precondition");
    assert!(error["message"].as_str().unwrap().contains("update framehost"), "{error}");
    assert_eq!(host.finish().1, Some(1));
    newer.join().unwrap();
}
