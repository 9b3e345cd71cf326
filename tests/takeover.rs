//! One hub per user, whoever dies: races, restarts, embedded hubs, broken pipes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test panics")]

mod common;

use std::{
    fs,
    process::Stdio,
    time::{Duration, Instant},
};

use common::{Host, World, base64, eventually, framed};
use rustix::process::Signal;
use serde_json::{Value, json};

fn open(stream_id: &str) -> Value {
    json!({"type": "stream.open", "stream_id": stream_id, "source": {"kind": "extension"}})
}

#[test]
fn many_relays_at_once_end_with_one_hub() {
    let world = World::new();
    let mut hosts: Vec<_> = (0..12).map(|_| world.host()).collect();
    for host in &mut hosts {
        host.hello();
    }
    let status = hosts[0].ok(&json!({"type": "status"}));
    assert_eq!(status["sessions"].as_array().unwrap().len(), 12);
}

#[test]
fn a_session_goes_on_with_another_hub_when_its_hub_is_killed() {
    let world = World::new();
    let (mut one, mut two) = (world.host(), world.host());
    let token = one.hello()["token"].clone();
    two.hello();
    one.ok(&open("cam"));
    for _ in 0..3 {
        let hub = world.hub_pid();
        world.signal_hub(Signal::KILL);
        for host in [&mut one, &mut two] {
            assert_eq!(host.event("hub_restarted"), json!({"event": "hub_restarted"}));
        }
        assert_ne!(one.hello()["token"], token);
        assert_ne!(world.hub_pid(), hub);
        // Streams are void, and their names are free.
        assert_eq!(one.error(&json!({"type": "stream.close", "stream_id": "cam"}))["code"], "not_found");
        one.ok(&open("cam"));
        assert_eq!(two.error(&open("cam"))["code"], "already_exists", "both have the same hub");
    }
}

#[test]
fn a_hub_that_is_told_to_stop_leaves_its_relays_to_the_next_one() {
    let world = World::new();
    let mut host = world.host();
    host.hello();
    world.signal_hub(Signal::TERM);
    host.event("hub_restarted");
    host.hello();
}

#[test]
fn the_rest_of_a_half_sent_message_is_discarded() {
    let world = World::new();
    let mut host = world.host();
    host.hello();
    let message =
        framed(&serde_json::to_vec(&json!({"id": "half", "type": "ping", "x": "y".repeat(500_000)})).unwrap());
    let (first, rest) = message.split_at(message.len() / 2);
    host.send_raw(first);
    world.signal_hub(Signal::KILL);
    host.event("hub_restarted");
    host.send_raw(rest);
    // The new hub sees only what begins after the old one's death.
    host.send(&json!({"id": "whole", "type": "ping"}));
    assert_eq!(host.receive(), json!({"id": "whole", "ok": {}}));
}

#[test]
fn the_end_of_input_while_there_is_no_hub_is_a_clean_end() {
    let world = World::new();
    let mut host = world.host();
    host.hello();
    world.signal_hub(Signal::KILL);
    let (_, code) = host.finish();
    assert_eq!(code, Some(0));
}

#[test]
fn an_embedded_hub_serves_others_and_they_outlive_it() {
    let world = World::new();
    let mut embedded = world.host_with(&["--embedded"]);
    assert_eq!(embedded.ok(&json!({"type": "status"}))["embedded"], true);
    assert_eq!(world.hub_pid(), embedded.pid());
    let mut other = world.host();
    other.hello();
    assert_eq!(embedded.ok(&json!({"type": "status"}))["sessions"].as_array().unwrap().len(), 2);
    assert_eq!(embedded.finish().1, Some(0));
    other.event("hub_restarted");
    assert_eq!(other.ok(&json!({"type": "status"}))["embedded"], false);
}

#[test]
fn an_embedded_hub_puts_its_files_away() {
    let world = World::new();
    let mut embedded = world.host_with(&["--embedded"]);
    embedded.hello();
    assert_eq!(embedded.finish().1, Some(0));
    let left: Vec<_> = fs::read_dir(world.runtime_dir()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["hub.lock"]);
}

#[test]
fn an_embedded_relay_that_finds_a_hub_uses_it() {
    let world = World::new();
    let mut first = world.host();
    first.hello();
    let mut second = world.host_with(&["--embedded"]);
    assert_eq!(second.ok(&json!({"type": "status"}))["embedded"], false);
}

#[test]
fn a_relay_whose_reader_is_gone_leaves_without_waiting() {
    let world = World::new();
    world.import("m", &[("large", &vec![1; 30_000_000])]);
    // Hashing takes a while in an unoptimised build; the memory of it must not shorten that.
    fs::remove_dir_all(world.runtime_dir().parent().unwrap().join("config")).unwrap();
    let mut child = world.host_command(&[]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let request = br#"{"id":1,"type":"models.open","model_id":"m","file_path":"large"}"#;
    std::io::Write::write_all(&mut stdin, &framed(request)).unwrap();
    eventually("the hub is at work", || world.hub().is_some());
    let began = Instant::now();
    drop((stdin, child.stdout.take()));
    assert!(child.wait().unwrap().success());
    // Ten times the 100 ms it may take; a drain would take a second more.
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[test]
fn nothing_but_messages_reaches_stdout_however_much_is_logged() {
    let world = World::new();
    let mut command = world.host_command(&["--embedded"]);
    command.env("FRAMEHOST_LOG", "trace");
    let mut host = Host::start(command);
    host.hello();
    host.send_body(b"not json");
    host.event("error");
    let (rest, code) = host.finish();
    assert_eq!((rest, code), (vec![], Some(0)));
}

#[test]
fn a_relay_without_its_program_says_so() {
    let world = World::new();
    let alone = world.runtime_dir().parent().unwrap().join("framehost-relay");
    fs::copy(env!("CARGO_BIN_EXE_framehost-relay"), &alone).unwrap();
    let mut host = Host::start(world.command_of(alone.to_str().unwrap(), &[]));
    let error = host.event("error");
    assert_eq!(error["code"], "unavailable");
    assert!(error["message"].as_str().unwrap().contains("No such file"), "{error}");
    assert_eq!(host.finish().1, Some(1));
}

#[test]
fn the_relay_stands_for_the_program_where_it_is_no_host() {
    let world = World::new();
    let version = world.host_command(&["--version"]).output().unwrap();
    assert!(version.status.success() && version.stdout.starts_with(b"framehost "), "{version:?}");
}

#[test]
fn pictures_flow_again_after_a_restart() {
    let world = World::new();
    let mut host = world.host();
    host.ok(&open("cam"));
    let frame = json!({"type": "frame", "stream_id": "cam", "format": "rgb", "width": 1, "height": 1, "timestamp_ms": 1,
        "data": base64(&[0; 3])});
    for _ in 0..100 {
        host.send(&frame);
        host.event("frame_ack");
    }
    world.signal_hub(Signal::KILL);
    // What is sent before the client has read of the restart is dropped whole, or refused by the new hub.
    host.send(&frame);
    host.event("hub_restarted");
    host.ok(&open("cam"));
    assert_eq!(host.ok(&frame)["frame_number"], 0);
}

#[test]
fn a_second_hub_in_the_foreground_says_who_is_there() {
    let world = World::new();
    world.host().hello();
    let output = world.command(&["hub"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && text.contains(&world.hub_pid().to_string()), "{text}");
}

#[test]
fn the_port_is_free_again_when_it_can_be_had() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let world = World::new();
    let mut command = world.host_command(&[]);
    command.env("FRAMEHOST_PORT", &port);
    let mut host = Host::start(command);
    let other_port = host.hello()["grpc"].as_str().unwrap().to_owned();
    assert!(!other_port.ends_with(&port), "{other_port}");
    drop(taken);
    eventually("the wanted port is served", || {
        host.hello()["grpc"].as_str().unwrap().ends_with(&format!(":{port}"))
            && world.hub().unwrap()["grpc"].as_str().unwrap().ends_with(&format!(":{port}"))
    });
    // Who was told the other one is still served there.
    assert!(std::net::TcpStream::connect(&other_port).is_ok());
}

#[test]
fn a_hub_whose_socket_was_removed_is_found_again() {
    let world = World::new();
    let mut host = world.host();
    host.hello();
    let hub = world.hub_pid();
    fs::remove_file(world.runtime_dir().join("hub.sock")).unwrap();
    eventually("the socket is there again", || world.runtime_dir().join("hub.sock").exists());
    world.host().hello();
    assert_eq!(world.hub_pid(), hub);
}

#[test]
fn a_hub_whose_lock_was_removed_leaves_to_another_and_takes_nothing_along() {
    let world = World::new();
    let mut host = world.host();
    host.hello();
    let hub = world.hub_pid();
    for file in ["hub.sock", "hub.lock"] {
        fs::remove_file(world.runtime_dir().join(file)).unwrap();
    }
    let mut next = world.host();
    next.hello();
    assert_ne!(world.hub_pid(), hub);
    host.event("hub_restarted");
    host.hello();
    let status = next.ok(&json!({"type": "status"}));
    assert_eq!(status["sessions"].as_array().unwrap().len(), 2, "both have the same hub");
}

#[test]
fn a_hub_that_is_told_to_stop_waits_for_nobody() {
    let world = World::new();
    let mut host = world.host();
    host.hello();
    // One that connects and says nothing, and one that does not read what it asked for.
    let _silent = std::os::unix::net::UnixStream::connect(world.runtime_dir().join("hub.sock")).unwrap();
    let mut deaf = world.host();
    let request = framed(&serde_json::to_vec(&json!({"id": 1, "type": "status"})).unwrap());
    let mut stdin = deaf.take_stdin();
    let writer =
        std::thread::spawn(move || (0..100_000).all(|_| std::io::Write::write_all(&mut stdin, &request).is_ok()));
    eventually("it is served", || host.ok(&json!({"type": "status"}))["sessions"].as_array().unwrap().len() == 2);
    let began = Instant::now();
    world.signal_hub(Signal::TERM);
    host.event("hub_restarted");
    host.hello();
    assert!(began.elapsed() < Duration::from_millis(1900), "{:?}", began.elapsed());
    drop(deaf);
    // Its pipe has ended under the writer, or it had written all.
    let _ = writer.join();
}

#[test]
fn a_relay_that_cannot_begin_says_why() {
    let world = World::new();
    let config = world.runtime_dir().parent().unwrap().join("config");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("config.json"), "{broken").unwrap();
    let mut host = world.host();
    let event = host.event("error");
    assert_eq!(event["code"], "failed_precondition");
    assert!(event["message"].as_str().unwrap().contains("config.json"), "{event}");
    assert_eq!(host.wait().code(), Some(1));
}

#[test]
fn a_relative_cache_is_the_same_for_commands_and_hubs() {
    let world = World::new();
    let work = world.runtime_dir().parent().unwrap().join("work");
    fs::create_dir_all(work.join("source")).unwrap();
    fs::write(work.join("source/a"), "1").unwrap();
    let in_work = |arguments: &[&str]| {
        let mut command = world.command(arguments);
        command.env("HF_HUB_CACHE", "cache").current_dir(&work);
        command
    };
    assert!(in_work(&["models", "import", "source", "org/name"]).stdin(Stdio::null()).status().unwrap().success());
    let mut host = Host::start(in_work(&[]));
    assert_eq!(host.ok(&json!({"type": "models.list"}))["models"].as_array().unwrap().len(), 1);
}

#[test]
fn pipes_that_somebody_left_non_blocking_do_not_end_a_session() {
    let world = World::new();
    let (stdin, mut to_relay) = std::io::pipe().unwrap();
    let (mut from_relay, stdout) = std::io::pipe().unwrap();
    for end in [&std::os::fd::AsFd::as_fd(&stdin), &std::os::fd::AsFd::as_fd(&stdout)] {
        rustix::fs::fcntl_setfl(end, rustix::fs::OFlags::NONBLOCK).unwrap();
    }
    let mut relay = world.host_command(&[]).stdin(stdin).stdout(stdout).spawn().unwrap();
    for id in 0..3 {
        let ping = framed(&serde_json::to_vec(&json!({"id": id, "type": "ping"})).unwrap());
        std::io::Write::write_all(&mut to_relay, &ping).unwrap();
        let expected = framed(&serde_json::to_vec(&json!({"id": id, "ok": {}})).unwrap());
        let mut answer = vec![0; expected.len()];
        // Reading waits for the answer, so that the relay finds its input empty in between.
        std::io::Read::read_exact(&mut from_relay, &mut answer).unwrap();
        assert_eq!(answer, expected);
    }
    drop(to_relay);
    assert!(relay.wait().unwrap().success());
}

#[test]
fn a_hub_that_extensions_have_filled_says_whose_they_are() {
    let world = World::new();
    let origin = |letter: &str| format!("chrome-extension://{}/", letter.repeat(32));
    let fill = |letter| {
        let mut hosts: Vec<_> = (0..32).map(|_| world.host_with(&[&origin(letter)])).collect();
        for host in &mut hosts {
            host.hello();
        }
        hosts
    };
    let _one = fill("a");
    let refused = |letter| world.host_with(&[&origin(letter)]).event("error")["message"].as_str().unwrap().to_owned();
    assert_eq!(refused("a"), "this extension has 32 sessions already");
    let _another = fill("b");
    assert_eq!(refused("c"), "extensions have 64 sessions already");
    let output = world.command(&["status", "--json"]).output().unwrap();
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    let sessions = status["sessions"].as_array().unwrap();
    let of = |letter: &str| sessions.iter().filter(|session| session["extension"] == letter.repeat(32)).count();
    assert_eq!((of("a"), of("b"), of("c")), (32, 32, 0));
}
