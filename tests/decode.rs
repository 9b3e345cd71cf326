//! Live video packets, made by ffmpeg, decoded and compared with what ffmpeg itself decodes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test panics")]

use std::{path::Path, process::Command};

use bytes::Bytes;
use framehost::{
    decode::{DecodeOptions, Decoder},
    frame::{Codec, Format, Metadata, PixelFormat, VideoFrame, key_frame::is_key_frame},
};
use sha2::{Digest, Sha256};

const WIDTH: u32 = 160;
const HEIGHT: u32 = 96;

struct Video {
    codec: Codec,
    packets: Vec<Bytes>,
    /// Of the I420 planes that ffmpeg decodes, in the order in which they are shown.
    reference: Vec<String>,
}

fn ffmpeg(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("ffmpeg").args(["-v", "error", "-y"]).args(arguments).output().expect("ffmpeg runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn digest(planes: &[u8]) -> String {
    Sha256::digest(planes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Forty pictures in the codec, a key frame every ten.
fn video(dir: &Path, codec: Codec, options: &[&str]) -> Video {
    let name = dir.join(if codec == Codec::H264 { "v.h264" } else { "v.ivf" });
    let source = format!("testsrc2=s={WIDTH}x{HEIGHT}:r=30:d=1.3333");
    let file = name.to_str().unwrap();
    ffmpeg(&[&["-f", "lavfi", "-i", &source, "-pix_fmt", "yuv420p", "-g", "10"][..], options, &[file]].concat());
    let planes = ffmpeg(&["-i", file, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]);
    let len = PixelFormat::I420.packed_len(WIDTH, HEIGHT).unwrap();
    let data = std::fs::read(&name).unwrap();
    let packets = if codec == Codec::H264 { access_units(&data) } else { ivf_frames(&data) };
    Video { codec, packets, reference: planes.chunks(len).map(digest).collect() }
}

/// Access units of a stream with delimiters.
fn access_units(data: &[u8]) -> Vec<Bytes> {
    const DELIMITER: [u8; 5] = [0, 0, 0, 1, 9];
    let mut starts: Vec<_> = (0..data.len()).filter(|at| data[*at..].starts_with(&DELIMITER)).collect();
    starts.push(data.len());
    starts.windows(2).map(|pair| Bytes::copy_from_slice(&data[pair[0]..pair[1]])).collect()
}

fn ivf_frames(mut data: &[u8]) -> Vec<Bytes> {
    data = &data[32..];
    let mut frames = Vec::new();
    while !data.is_empty() {
        let len = usize::try_from(u32::from_le_bytes(data[..4].try_into().unwrap())).unwrap();
        frames.push(Bytes::copy_from_slice(&data[12..12 + len]));
        data = &data[12 + len..];
    }
    frames
}

fn packet(video: &Video, number: usize, data: Bytes) -> VideoFrame {
    let at = u64::try_from(number).unwrap();
    let format = Format::Encoded(video.codec);
    let frame = VideoFrame::try_new(format, Some((WIDTH, HEIGHT)), 1000 + 33 * at, data).unwrap();
    frame.with_place(u32::try_from(number).unwrap(), 1000 + 33 * at)
}

fn decoder(video: &Video) -> Decoder {
    Decoder::new(video.codec, &DecodeOptions::default()).unwrap()
}

/// Every picture, and how many packets each came after its own, but for those at the end.
fn decode_all(video: &Video) -> (Vec<VideoFrame>, Vec<usize>) {
    let mut decoder = decoder(video);
    let (mut frames, mut delays) = (Vec::new(), Vec::new());
    for (number, data) in video.packets.iter().enumerate() {
        let decoded = decoder.push(&packet(video, number, data.clone()));
        assert_eq!(decoded.lost, 0, "packet {number}");
        for frame in &decoded.frames {
            delays.push(number - usize::try_from(frame.frame_number()).unwrap());
        }
        frames.extend(decoded.frames);
    }
    frames.extend(decoder.flush().frames);
    (frames, delays)
}

fn check_all(codec: Codec, options: &[&str], max_delay: usize) {
    let dir = tempfile::tempdir().unwrap();
    let video = video(dir.path(), codec, options);
    assert!(video.reference.len() >= 39, "{}", video.reference.len());
    let (frames, delays) = decode_all(&video);
    let decoded: Vec<_> = frames.iter().map(|frame| digest(frame.frame_data())).collect();
    assert_eq!(decoded, video.reference, "{codec:?} {options:?}");
    assert!(delays.iter().all(|delay| *delay <= max_delay), "{codec:?} {options:?}: packets late: {delays:?}");
    // One may be late where the machine is busy.
    let at_once = delays.iter().filter(|delay| **delay == 0).count();
    assert!(at_once * 2 > frames.len(), "{codec:?} {options:?}: held back: {delays:?}");
    for frame in &frames {
        assert_eq!((frame.width(), frame.height()), (WIDTH, HEIGHT));
        assert_eq!(frame.timestamp_ms(), 1000 + 33 * u64::from(frame.frame_number()));
        assert_eq!(frame.metadata()["color_matrix"], "bt601");
    }
}

#[test]
fn h264_without_b_frames_gives_each_picture_at_once() {
    let aud = "aud=1:scenecut=0";
    check_all(Codec::H264, &["-c:v", "libx264", "-profile:v", "baseline", "-x264-params", aud], 0);
    check_all(Codec::H264, &["-c:v", "libx264", "-profile:v", "high", "-bf", "0", "-x264-params", aud], 0);
}

/// What an encoder writes into its packets may be wrong, and VP8 cannot say it.
#[test]
fn what_the_sender_says_of_colours_counts() {
    let dir = tempfile::tempdir().unwrap();
    for (codec, options) in [
        (Codec::H264, &["-c:v", "libx264", "-bf", "0", "-x264-params", "aud=1"]),
        (Codec::Vp8, &["-c:v", "libvpx", "-deadline", "realtime", "-b:v", "300k"]),
    ] {
        let video = video(dir.path(), codec, options);
        let first = packet(&video, 0, video.packets[0].clone());
        let said = [("color_matrix", "bt709"), ("color_range", "full"), ("tab", "3")];
        let said = said.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let decoded = decoder(&video).push(&first.with_metadata(Metadata::from(said.clone())));
        for (key, value) in said {
            assert_eq!(decoded.frames[0].metadata()[&key], value, "{codec:?}");
        }
    }
}

#[test]
fn what_packets_say_of_colours_counts_where_the_sender_says_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for profile in ["baseline", "high"] {
        let x264 = ["-c:v", "libx264", "-profile:v", profile, "-bf", "0", "-x264-params", "aud=1"];
        let colours = ["-colorspace", "bt709", "-color_range", "pc"];
        let video = video(dir.path(), Codec::H264, &[&x264[..], &colours].concat());
        let mut decoder = decoder(&video);
        for number in 0..3 {
            let decoded = decoder.push(&packet(&video, number, video.packets[number].clone()));
            let metadata = decoded.frames[0].metadata();
            assert_eq!(
                (&*metadata["color_matrix"], &*metadata["color_range"]),
                ("bt709", "full"),
                "{profile}, {number}"
            );
        }
    }
}

const B_FRAMES: [&str; 8] = ["-c:v", "libx264", "-profile:v", "main", "-bf", "2", "-x264-params", "aud=1:scenecut=0"];

#[test]
fn h264_with_b_frames_comes_whole_from_its_only_key_frame() {
    let dir = tempfile::tempdir().unwrap();
    let video = video(dir.path(), Codec::H264, &[&B_FRAMES[..], &["-g", "1000"]].concat());
    assert_eq!(video.packets.iter().filter(|data| is_key_frame(Codec::H264, data)).count(), 1);
    let (frames, _) = decode_all(&video);
    let decoded: Vec<_> = frames.iter().map(|frame| digest(frame.frame_data())).collect();
    assert_eq!(decoded, video.reference);
}

/// Some encoders do not say whether they reorder: then the first B-frame tells it, in a group of pictures that has been
/// shown in part. With a group later on, whose key frame comes without parameter sets.
#[test]
fn ffmpeg_takes_over_in_the_middle_of_a_group() {
    let dir = tempfile::tempdir().unwrap();
    for key_frames in ["1000", "10"] {
        let mut video = video(dir.path(), Codec::H264, &[&B_FRAMES[..], &["-g", key_frames]].concat());
        video.packets[0] = without_usability(&video.packets[0]);
        for data in video.packets[1..].iter_mut().filter(|data| is_key_frame(Codec::H264, data)) {
            *data = data.slice(slice_of(data)..);
        }
        let (frames, _) = decode_all(&video);
        let numbers: Vec<_> = frames.iter().map(VideoFrame::frame_number).collect();
        assert!(numbers.is_sorted_by(|one, next| one < next), "each once: {numbers:?}");
        assert_eq!(frames.len(), video.packets.len());
        // The first two were shown before anybody could know.
        let decoded: Vec<_> = frames.iter().map(|frame| digest(frame.frame_data())).collect();
        assert_eq!(decoded[2..], video.reference[2..], "{numbers:?}");
    }
}

/// The packet with a parameter set (main profile, whole frames) that ends before its usability information.
fn without_usability(packet: &Bytes) -> Bytes {
    let begin = packet.windows(5).position(|bytes| bytes == [0, 0, 0, 1, 0x67]).unwrap() + 5;
    let len = packet[begin..].windows(3).position(|bytes| bytes == [0, 0, 1] || bytes == [0, 0, 0]).unwrap();
    let bits: Vec<u8> =
        packet[begin..begin + len].iter().flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1)).collect();
    let mut at = 24;
    let number = |at: &mut usize| {
        let zeros = bits[*at..].iter().position(|bit| *bit == 1).unwrap();
        *at += 2 * zeros + 1;
    };
    // Id, length of frame numbers, order (0), length of orders, references; gaps; width, height; frames, direct; crop.
    (0..5).for_each(|_| number(&mut at));
    at += 1;
    (0..2).for_each(|_| number(&mut at));
    at += 2;
    let is_cropped = bits[at] == 1;
    at += 1;
    if is_cropped {
        (0..4).for_each(|_| number(&mut at));
    }
    let kept = bits[..at].iter().copied().chain([0, 1]).collect::<Vec<u8>>();
    let set = kept.chunks(8).map(|byte| byte.iter().enumerate().map(|(at, bit)| bit << (7 - at)).sum::<u8>());
    [&packet[..begin], &set.collect::<Vec<u8>>(), &packet[begin + len..]].concat().into()
}

/// Where a key frame's slice begins, behind the parameter sets.
fn slice_of(packet: &[u8]) -> usize {
    packet.windows(4).position(|bytes| bytes == [0, 0, 1, 0x65]).unwrap()
}

/// Parameter sets may come in packets of their own, even while a key frame is waited for.
#[test]
fn parameter_sets_count_wherever_they_come() {
    let dir = tempfile::tempdir().unwrap();
    let x264 = ["-c:v", "libx264", "-bf", "0", "-g", "1000", "-x264-params", "aud=1:scenecut=0"];
    let video = video(dir.path(), Codec::H264, &x264);
    let slice = slice_of(&video.packets[0]);
    let mut decoder = decoder(&video);
    let sets = decoder.push(&packet(&video, 0, video.packets[0].slice(..slice)));
    assert_eq!((sets.frames.len(), sets.lost), (0, 0));
    let mut decoded = Vec::new();
    for (at, data) in video.packets.iter().enumerate() {
        let data = if at == 0 { data.slice(slice..) } else { data.clone() };
        decoded.extend(decoder.push(&packet(&video, at + 1, data)).frames);
    }
    let decoded: Vec<_> = decoded.iter().map(|frame| digest(frame.frame_data())).collect();
    assert_eq!(decoded, video.reference);
}

/// What a decoder swallows is as lost as what it was never given.
#[test]
fn pictures_that_do_not_come_out_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let video = video(dir.path(), Codec::H264, &["-c:v", "libx264", "-bf", "2", "-x264-params", "aud=1:scenecut=0"]);
    let mut decoder = decoder(&video);
    let (mut shown, mut lost) = (0, 0);
    // B-slices without an end are more than it may hold back.
    let junk = Bytes::from_static(&[0, 0, 0, 1, 0x01, 0b1010_0000, 0x5A, 0x5A]);
    for number in 0..112 {
        let data = video.packets.get(number).filter(|_| number < 12).unwrap_or(&junk);
        let decoded = decoder.push(&packet(&video, number, data.clone()));
        assert!(decoded.error.is_none(), "{:?}", decoded.error);
        shown += decoded.frames.len();
        lost += decoded.lost;
    }
    let last = decoder.flush();
    frames_or_lost(shown + last.frames.len(), lost + last.lost, 112);
    assert!(lost > 10, "at once where it can be known: {lost}, {} at the end", last.lost);
}

fn frames_or_lost(frames: usize, lost: u64, packets: usize) {
    assert_eq!(frames + usize::try_from(lost).unwrap(), packets, "{lost} lost");
}

#[test]
fn vp8_and_vp9_are_decoded_one_by_one() {
    let live = ["-deadline", "realtime", "-cpu-used", "8", "-b:v", "300k"];
    check_all(Codec::Vp8, &[&["-c:v", "libvpx"][..], &live].concat(), 1);
    check_all(Codec::Vp9, &[&["-c:v", "libvpx-vp9"][..], &live].concat(), 1);
}

#[test]
fn vp9_with_hidden_frames_keeps_its_pictures_with_their_packets() {
    check_all(Codec::Vp9, &["-c:v", "libvpx-vp9", "-auto-alt-ref", "1", "-lag-in-frames", "16", "-b:v", "300k"], 1);
}

#[test]
fn av1_is_decoded_one_by_one() {
    // Not `-usage realtime`: with a bit rate, the encoder sometimes has no memory for that in Wine.
    check_all(Codec::Av1, &["-c:v", "libaom-av1", "-cpu-used", "8", "-lag-in-frames", "0", "-b:v", "300k"], 1);
}

#[test]
fn a_lost_packet_loses_what_follows_up_to_the_next_key_frame() {
    for (codec, options) in [
        (Codec::H264, &["-c:v", "libx264", "-bf", "0", "-x264-params", "aud=1:scenecut=0"][..]),
        (Codec::Vp8, &["-c:v", "libvpx", "-deadline", "realtime", "-auto-alt-ref", "0"][..]),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let video = video(dir.path(), codec, options);
        let keys: Vec<_> = (0..40).filter(|at| is_key_frame(codec, &video.packets[*at])).collect();
        assert_eq!(keys, [0, 10, 20, 30], "{codec:?}");
        let mut decoder = decoder(&video);
        let (mut shown, mut skipped, mut asked) = (Vec::new(), 0, 0);
        // Beginning in the middle of a group, losing 14, and 25 being cut short.
        for number in (3..40).filter(|number| *number != 14) {
            let whole = &video.packets[number];
            let data = if number == 25 { whole.slice(..whole.len() / 3) } else { whole.clone() };
            let decoded = decoder.push(&packet(&video, number, data));
            shown.extend(decoded.frames);
            skipped += decoded.lost;
            asked += u32::from(decoded.needs_key_frame);
        }
        let last = decoder.flush();
        shown.extend(last.frames);
        frames_or_lost(shown.len(), skipped + last.lost, 36);
        assert!(asked >= 2, "{codec:?}: asked {asked} times");
        assert!(skipped >= 7 + 5, "{codec:?}: skipped {skipped}");
        for frame in &shown {
            let number = usize::try_from(frame.frame_number()).unwrap();
            // What a packet that was cut short shows is the codec's own concealment.
            if !(25..30).contains(&number) {
                assert_eq!(digest(frame.frame_data()), video.reference[number], "{codec:?} {number}");
            }
        }
        let numbers: Vec<_> =
            shown.iter().map(|frame| frame.frame_number()).filter(|n| !(25..30).contains(n)).collect();
        let expected: Vec<_> = (10..14).chain(20..25).chain(30..40).collect();
        assert_eq!(numbers, expected, "{codec:?}");
    }
}

#[test]
fn junk_is_skipped_and_nothing_hangs() {
    for codec in [Codec::H264, Codec::Vp8, Codec::Vp9, Codec::Av1] {
        let junk = Video { codec, packets: Vec::new(), reference: Vec::new() };
        let mut decoder = decoder(&junk);
        let (mut shown, mut lost, mut pushed) = (0, 0, 0);
        // What looks like key frames and is none.
        let heads: [&[u8]; 4] =
            [&[0, 0, 0, 1, 0x65], &[0x10, 0, 0, 0x9d, 1, 0x2a], &[0x82, 0x49, 0x83, 0x42], &[0x0A, 3]];
        for (number, head) in heads.iter().cycle().take(12).enumerate() {
            let data = [head, &[0x5A; 50][..]].concat();
            // Of H.264 what has no slice is no picture; of VP8 what is not to be shown.
            pushed += match codec {
                Codec::H264 => usize::from(data.starts_with(&[0, 0, 0, 1])),
                Codec::Vp8 => usize::from(data[0] & 0x10 != 0),
                _ => 1,
            };
            let decoded = decoder.push(&packet(&junk, number, data.into()));
            assert!(decoded.frames.len() <= 1);
            shown += decoded.frames.len();
            lost += decoded.lost;
        }
        let last = decoder.flush();
        frames_or_lost(shown + last.frames.len(), lost + last.lost, pushed);
    }
}
