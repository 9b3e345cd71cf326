//! What the fuzz targets of `fuzz/` run, one function each: bytes in, and the invariants that must hold whatever they are.
//!
//! Belongs here: the list of targets, and those that need nothing private. Does not belong here: the rest, which stands
//! beside what it looks at (`http::hub_protocol::fuzz`, `models::fuzz`, `decode::fuzz`); seeds (`fuzz/corpus`).
//!
//! Each function panics when an invariant does not hold. In no released program: the feature `fuzzing` is for tests.

use bytes::Bytes;
use serde_json::Value;

pub use crate::{
    decode::fuzz::h264,
    http::fuzz::{http_paths, http_range, http_route},
    models::fuzz::{gguf, hub_listing, onnx, safetensors},
};
use crate::{
    decode::fuzz::pieces,
    frame::{
        Codec, Format, MAX_FRAME_BYTES, MAX_SIDE, MAX_TIMESTAMP_MS, PixelFormat, Pool, VideoFrame,
        fragment::{self, Reassembler},
        packet, still,
    },
    framing::{Decoder, FramingError, encode_prefix},
    message::{Failure, Rejected, Request, RequestId, failure_answer, failure_event},
    session::fuzz_source,
};

/// A target: its name, which is that of its corpus, and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 13] = [
    ("framing", framing),
    ("message", message),
    ("packet", packet),
    ("fragment", fragment),
    ("still", still),
    ("h264", h264),
    ("http_range", http_range),
    ("http_route", http_route),
    ("http_paths", http_paths),
    ("hub_listing", hub_listing),
    ("safetensors", safetensors),
    ("gguf", gguf),
    ("onnx", onnx),
];

/// A stream of native messages. Input: limit (`u16`), bytes of one read less one (`u8`), stream.
pub fn framing(data: &[u8]) {
    let Some(([low, high, step], stream)) = data.split_first_chunk() else { return };
    let limit = usize::from(u16::from_le_bytes([*low, *high]));
    let mut whole = Decoder::new(limit);
    whole.space().extend_from_slice(stream);
    let (bodies, error) = pop_all(&mut whole);

    // The same, however it is cut, and no memory for what was only announced.
    let mut cut = Decoder::new(limit);
    let (mut found, mut failed) = (Vec::new(), None);
    for part in stream.chunks(usize::from(*step) + 1) {
        cut.space().extend_from_slice(part);
        assert!(cut.space().capacity() <= (1 << 20) + 4 * stream.len(), "memory was taken for an announcement");
        let (bodies, error) = pop_all(&mut cut);
        found.extend(bodies);
        failed = failed.or(error);
    }
    assert_eq!((&found, failed.is_some()), (&bodies, error.is_some()));

    let mut again = Vec::new();
    for body in &bodies {
        let Ok(prefix) = encode_prefix(body.len(), limit) else {
            panic!("a body of {} bytes, over {limit}", body.len())
        };
        again.extend_from_slice(&prefix);
        again.extend_from_slice(body);
    }
    assert_eq!(stream.get(..again.len()), Some(&again[..]));
    match error {
        Some(error) => assert_eq!(whole.pop(), Err(error), "it goes on behind an error"),
        None => assert_eq!(whole.finish().is_ok(), again.len() == stream.len()),
    }
}

fn pop_all(decoder: &mut Decoder) -> (Vec<Bytes>, Option<FramingError>) {
    let mut bodies = Vec::new();
    loop {
        match decoder.pop() {
            Ok(Some(body)) => bodies.push(body.freeze()),
            Ok(None) => return (bodies, None),
            Err(error) => return (bodies, Some(error)),
        }
    }
}

/// Longest error that an extension is told for a request of its own, in bytes.
const MAX_ERROR_BYTES: usize = 64 << 10;

/// A message of an extension, as a session reads it.
pub fn message(data: &[u8]) {
    let whole: Option<Value> = serde_json::from_slice(data).ok().filter(Value::is_object);
    let request = match Request::parse(data) {
        Ok(request) => request,
        Err(Rejected { id, error }) => return is_told(id.as_ref(), error.into()),
    };
    assert!(!data.is_empty() && request.kind().len() <= 64);
    match request.id() {
        Some(RequestId::Number(number)) => assert!(*number < 1 << 53),
        Some(RequestId::Text(text)) => assert!((1..=64).contains(&text.chars().count())),
        None => {}
    }
    // What serde_json reads as a whole, as far as that can read it: it knows no lone surrogates and no large numbers.
    if let Some(whole) = &whole {
        assert_eq!(whole.get("type").and_then(Value::as_str), Some(request.kind()));
    }
    for field in ["type", "data", "model_id", "file_path", "stream_id", "page_token", "offset", "format", "source"] {
        let text = request.text(field);
        match whole.as_ref().map(|whole| whole.get(field)) {
            Some(Some(Value::String(expected))) => assert_eq!(text.as_deref(), Ok(expected.as_str())),
            Some(_) => assert!(text.is_err(), "{field} is no text"),
            None => {}
        }
        match request.base64(field) {
            Ok(bytes) => {
                let coded = base64_simd::STANDARD.encode_to_string(&bytes);
                assert_eq!(text.as_deref(), Ok(coded.as_str()), "bytes that their text is not");
            }
            Err(error) => is_told(request.id(), error.into()),
        }
        if let Err(error) = request.required::<u64>(field) {
            is_told(request.id(), error.into());
        }
        if let Err(error) = request.optional::<Vec<String>>(field) {
            is_told(request.id(), error.into());
        }
    }
    if let Err(failure) = fuzz_source(&request) {
        is_told(request.id(), failure);
    }
}

/// An error is JSON, and repeats little of what came.
fn is_told(id: Option<&RequestId>, failure: Failure) {
    let told = match id {
        Some(id) => failure_answer(id, &failure),
        None => failure_event(&failure),
    };
    let Ok(told) = told else { panic!("{failure:?} cannot be told") };
    assert!(told.len() <= MAX_ERROR_BYTES, "an error of {} bytes", told.len());
    assert!(serde_json::from_slice::<Value>(&told).is_ok());
}

/// A picture with the header of a packet.
pub fn packet(data: &[u8]) {
    let whole = Bytes::copy_from_slice(data);
    let Ok(frame) = packet::decode(&whole) else { return };
    check_frame(&frame);
    assert_eq!(Some(&frame.frame_data()[..]), data.get(packet::HEADER_BYTES..));
    let Ok(again) = packet::encode(&frame) else { panic!("{} came in a packet and goes in none", frame.format()) };
    let Ok(same) = packet::decode(&Bytes::from(again)) else { panic!("a packet of our own is none") };
    let place = |frame: &VideoFrame| (frame.format(), frame.width(), frame.height(), frame.timestamp_ms());
    assert_eq!((place(&same), same.frame_data()), (place(&frame), frame.frame_data()));
}

fn check_frame(frame: &VideoFrame) {
    assert!((1..=MAX_SIDE).contains(&frame.width()) && (1..=MAX_SIDE).contains(&frame.height()));
    assert!((1..=MAX_FRAME_BYTES).contains(&frame.frame_data().len()) && frame.timestamp_ms() <= MAX_TIMESTAMP_MS);
    if let Format::Pixels(pixels) = frame.format() {
        assert_eq!(pixels.packed_len(frame.width(), frame.height()), Ok(frame.frame_data().len()));
    }
}

/// Messages of a data channel. Input: each with its length (`u16`) before it; or, where the first byte is 255, one packet
/// that is made so long that it is split.
pub fn fragment(data: &[u8]) {
    if let Some((255, packet)) = data.split_first() {
        return split_and_joined(packet);
    }
    let (mut reassembler, mut received, mut given, mut messages) = (Reassembler::default(), 0, 0, 0);
    for message in pieces(data) {
        messages += 1;
        received += message.len();
        if let Ok(Some(packet)) = reassembler.push(Bytes::copy_from_slice(message)) {
            given += packet.len();
        }
        assert!(given <= received, "{given} bytes were made of {received}");
    }
    let counts = reassembler.counts();
    assert!(counts.completed + counts.lost + counts.repeated <= messages, "{counts:?} of {messages} messages");
}

fn split_and_joined(seed: &[u8]) {
    let (turn, len) = (seed.len() % 7, fragment::MAX_FRAGMENT_BYTES + 1 + seed.len());
    let mut packet: Vec<u8> = seed.iter().copied().chain([0]).cycle().take(len).collect();
    // The highest byte of the time, by which a packet is told from a fragment.
    if let Some(byte) = packet.get_mut(7) {
        *byte = 0;
    }
    let packet = Bytes::from(packet);
    let mut parts = fragment::split(7, &packet);
    assert!(parts.len() > 1 && parts.iter().all(|part| part.len() <= fragment::MAX_FRAGMENT_BYTES));
    parts.extend(parts.first().cloned());
    let turn = turn % parts.len();
    parts.rotate_left(turn);
    let mut reassembler = Reassembler::default();
    let joined: Vec<_> = parts.into_iter().filter_map(|part| reassembler.push(part).ok().flatten()).collect();
    assert_eq!(joined, [packet]);
}

/// Pictures of up to so many pixels are decoded; what is too large to be decoded at all is tried, too.
const MAX_DECODED: u64 = 1 << 18;

/// A still picture. Input: codec and wanted layout (`u8`), picture.
pub fn still(data: &[u8]) {
    const CODECS: [Codec; 3] = [Codec::Jpeg, Codec::Png, Codec::Webp];
    use PixelFormat::{Bgr, Bgra, Gray, I420, Nv12, Rgb, Rgba, Yuy2};
    const LAYOUTS: [PixelFormat; 8] = [Rgb, Bgr, Rgba, Bgra, Gray, I420, Nv12, Yuy2];
    let Some((choice, picture)) = data.split_first() else { return };
    let choice = usize::from(*choice);
    let (Some(codec), Some(to)) = (CODECS.get(choice % 3), LAYOUTS.get(choice / 3 % 8)) else { return };
    let pool = Pool::default();
    let Ok(frame) = VideoFrame::try_new(Format::Encoded(*codec), None, 1, Bytes::copy_from_slice(picture)) else {
        return;
    };
    check_frame(&frame);
    let pixels = u64::from(frame.width()) * u64::from(frame.height());
    let is_too_large = to.packed_len(frame.width(), frame.height()).is_ok_and(|len| len > MAX_FRAME_BYTES);
    if pixels > MAX_DECODED && !is_too_large {
        return;
    }
    let Ok(decoded) = still::decode(&frame, *to, &pool) else { return };
    check_frame(&decoded);
    let size = |frame: &VideoFrame| (frame.width(), frame.height(), frame.timestamp_ms());
    assert_eq!((decoded.format(), size(&decoded)), (Format::Pixels(*to), size(&frame)));
    if pixels <= 4096 && matches!(to, Rgb | Rgba | Gray) {
        let Ok(coded) = still::encode(&decoded, Codec::Png, 90) else { panic!("pixels are no PNG") };
        let Ok(again) = still::decode(&coded, *to, &pool) else { panic!("a PNG of our own is none") };
        assert_eq!(again.frame_data(), decoded.frame_data(), "PNG loses nothing");
    }
}
