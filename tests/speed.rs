//! Figures that are wrong by a factor of ten, not by a noisy machine: `benches/` measures, this only notices.
//!
//! Where other programs may take the processor in between, the best of several tries counts. Tests are built without
//! optimisation, so that bytes a second are `benches/`' own business.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test panics")]

mod common;

use std::{
    io::Write,
    os::unix::net::UnixStream,
    time::{Duration, Instant},
};

use common::{Host, World, base64, framed, resident_bytes};
use framehost::link::{self, Frame, HubPreamble, RelayPreamble};
use serde_json::json;

const TRIES: usize = 10;

fn best(what: impl FnMut() -> Duration) -> Duration {
    std::iter::repeat_with(what).take(TRIES).min().unwrap()
}

fn time_to_hello(world: &World) -> (Duration, Host) {
    let began = Instant::now();
    let mut host = world.host();
    host.hello();
    (began.elapsed(), host)
}

#[test]
fn hello_is_answered_soon() {
    let without = best(|| time_to_hello(&World::new()).0);
    assert!(without < Duration::from_millis(1500), "without a hub: {without:?}");
    let world = World::new();
    let (_, _keeper) = time_to_hello(&world);
    let with = best(|| time_to_hello(&world).0);
    assert!(with < Duration::from_millis(300), "with a hub: {with:?}");
}

#[test]
fn the_relay_adds_little_time() {
    let world = World::new();
    let mut host = world.host();
    host.hello();
    let mut hub = UnixStream::connect(world.runtime_dir().join("hub.sock")).unwrap();
    let preamble = RelayPreamble { version: "test".to_owned(), argv: Vec::new(), pid: std::process::id() };
    hub.write_all(&link::encode_preamble(&preamble).unwrap()).unwrap();
    let _: HubPreamble = link::read_preamble(&mut hub).unwrap();
    let ping = framed(br#"{"id":1,"type":"ping"}"#);
    let direct = best(|| {
        let began = Instant::now();
        hub.write_all(&ping).unwrap();
        assert!(matches!(link::read_frame(&mut hub), Ok(Frame::Message(_))));
        began.elapsed()
    });
    let through = best(|| {
        let began = Instant::now();
        host.ok(&json!({"type": "ping"}));
        began.elapsed()
    });
    assert!(through.saturating_sub(direct) < Duration::from_millis(10), "{through:?} instead of {direct:?}");
}

#[test]
fn relay_and_hub_stay_small() {
    let world = World::new();
    let mut host = world.host();
    host.hello();
    host.ok(&json!({"type": "stream.open", "stream_id": "cam", "source": {"kind": "extension"}}));
    // Raw pictures of 1080p, 8 MiB each as they come: memory that is not given back would show.
    let data = base64(&vec![0x55; 1920 * 1080 * 3]);
    for number in 0..20 {
        host.ok(&json!({"type": "frame", "stream_id": "cam", "format": "rgb", "width": 1920, "height": 1080,
                        "timestamp_ms": number, "data": data}));
        host.event("frame_ack");
    }
    let (relay, hub) = (resident_bytes(host.pid()), resident_bytes(world.hub_pid()));
    assert!(relay < 50_000_000, "relay: {relay} bytes");
    assert!(hub < 250_000_000, "hub: {hub} bytes");
}
