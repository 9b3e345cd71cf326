//! What the benchmarks share: pictures and messages, figures with their bounds, and the real binary of the tests.

#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "`tests/speed.rs` is built with this, too; each uses a part, and has nobody to hand an error to"
)]

#[path = "../../tests/common/mod.rs"]
pub mod common;
pub mod display;
mod peer;
pub mod video;
pub mod watch;

pub use peer::Peer;

use std::{env, time::Duration};

use serde_json::json;

/// Is this a check that the benchmark works, rather than a measurement?
pub fn is_quick() -> bool {
    env::var_os("FRAMEHOST_BENCH").is_some_and(|value| value == "quick")
}

/// The first when there is time to measure, the second when there is not.
pub fn thorough_or_quick<T>(thorough: T, quick: T) -> T {
    if is_quick() { quick } else { thorough }
}

/// Bytes that base64 and nobody else can make smaller, the same in every run.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| next().to_le_bytes()).collect();
    bytes.truncate(len);
    bytes
}

/// What a JPEG file of this size in pixels and bytes looks like to everybody but a decoder of its pixels.
pub fn jpeg(width: u16, height: u16, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xe0, 0, 16];
    bytes.extend_from_slice(b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0");
    bytes.extend_from_slice(&[0xff, 0xc0, 0, 17, 8]);
    bytes.extend_from_slice(&height.to_be_bytes());
    bytes.extend_from_slice(&width.to_be_bytes());
    bytes.extend_from_slice(&[3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1]);
    bytes.extend_from_slice(&[0xff, 0xda, 0, 12, 3, 1, 0, 2, 0x11, 3, 0x11, 0, 63, 0]);
    let rest = noise(len - bytes.len());
    bytes.extend_from_slice(&rest);
    bytes
}

/// The body of a `frame` request, as the sample extension writes it.
pub fn frame_body(stream_id: &str, format: &str, width: u16, height: u16, data: &[u8]) -> Vec<u8> {
    let head = json!({"type": "frame", "stream_id": stream_id, "format": format, "width": width, "height": height,
                      "timestamp_ms": 1_760_000_000_000_u64})
    .to_string();
    let mut body = head.strip_suffix('}').unwrap().as_bytes().to_vec();
    body.extend_from_slice(b",\"data\":\"");
    body.extend_from_slice(common::base64(data).as_bytes());
    body.extend_from_slice(b"\"}");
    body
}

/// A `frame` request with a JPEG of 1080p, prefix included, of `len` bytes to within three.
pub fn jpeg_message(stream_id: &str, len: usize) -> Vec<u8> {
    let picture = |len| jpeg(1920, 1080, len);
    let envelope = common::framed(&frame_body(stream_id, "jpeg", 1920, 1080, &picture(300))).len() - 400;
    common::framed(&frame_body(stream_id, "jpeg", 1920, 1080, &picture((len - envelope) / 4 * 3)))
}

/// `stream.open` for a stream that the `frame` requests feed.
pub fn open_request(stream_id: &str) -> serde_json::Value {
    json!({"type": "stream.open", "stream_id": stream_id, "source": {"kind": "extension"}})
}

/// Figures of one kind, in the order in which they were taken.
#[derive(Debug, Default, Clone)]
pub struct Samples(pub Vec<f64>);

impl Samples {
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The value that `share` of the samples (0 to 1) do not exceed.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index of a few thousand samples"
        )]
        let at = ((sorted.len() as f64 * share).ceil() as usize).clamp(1, sorted.len());
        sorted[at - 1]
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub fn max(&self) -> f64 {
        self.quantile(1.0)
    }
}

/// Gigabytes a second.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub fn gigabytes_per_second(bytes: usize, elapsed: Duration) -> f64 {
    bytes as f64 / 1e9 / elapsed.as_secs_f64()
}

pub fn milliseconds(elapsed: Duration) -> f64 {
    elapsed.as_secs_f64() * 1e3
}

/// What a figure has to be.
#[derive(Debug, Clone, Copy)]
pub enum Bound {
    AtLeast(f64),
    Under(f64),
}

/// Prints a figure beside its bound.
pub fn judge(what: &str, value: f64, unit: &str, bound: Bound) {
    let (met, bound) = match bound {
        Bound::AtLeast(least) => (value >= least, format!("at least {least}")),
        Bound::Under(limit) => (value < limit, format!("under {limit}")),
    };
    println!("{:<6} {what}: {value:.2} {unit} ({bound})", if met { "ok" } else { "missed" });
}
