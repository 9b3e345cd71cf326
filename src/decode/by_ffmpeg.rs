//! VP8, VP9, AV1, and H.264 with B-frames, by an ffmpeg process: packets in an IVF file on its input, pictures on its
//! output. A packet's place in the stream is its time there, and tells which packet a picture was coded in; of H.264, whose
//! pictures are reordered, the first that comes has the first packet's place.

use std::{
    borrow::Borrow,
    collections::VecDeque,
    ffi::{OsStr, OsString},
    time::{Duration, Instant},
};

use super::{DecodeError, DecodeOptions, Decoded, Label, has_picture};
use crate::{
    ffmpeg::{self, FfmpegError, Input, Next, Pictures, Tools},
    frame::{Codec, Colour, PixelFormat, Pool, VideoFrame},
};

/// How long the first picture may take: ffmpeg has to start.
const START_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a picture is waited for before the next packet is sent.
const PICTURE_TIMEOUT: Duration = Duration::from_millis(100);

/// How long ffmpeg may neither take a packet nor give a picture.
const SILENCE: Duration = Duration::from_secs(10);

/// Packets whose pictures have not come: a codec that reorders holds back 16 at most.
const MAX_WAITING: usize = 64;

/// A running decoder.
#[derive(Debug)]
pub(super) struct ByFfmpeg {
    codec: Codec,
    pictures: Pictures,
    /// Packets whose pictures have not come, by their places. Whoever takes one out hands its picture on, or counts it;
    /// without a label, it has been shown or counted before.
    waiting: VecDeque<(i64, Option<Label>)>,
    next_place: i64,
    /// When the first of those packets came that no picture has come for since.
    waiting_since: Option<Instant>,
    /// The first picture has been waited for: ffmpeg has started.
    has_started: bool,
    pool: Pool,
}

impl ByFfmpeg {
    /// `packet`: the first one; its size is written in the file's header.
    pub(super) fn start(codec: Codec, packet: &VideoFrame, options: &DecodeOptions) -> Result<Self, DecodeError> {
        let tools = Tools::find(options.ffmpeg.as_deref())?;
        let words = ["-hide_banner", "-nostats", "-loglevel", "info", "-probesize", "32", "-analyzeduration", "0"];
        // Not `-fflags nobuffer`: that throws away the packets that it was probed with.
        // Nor `low_delay` where pictures are reordered: it loses those that come late.
        let live: &[&str] = if codec == Codec::H264 { &[] } else { &["-flags", "low_delay"] };
        let input = ["-protocol_whitelist", "file,pipe", "-f", "ivf", "-i", "pipe:0"];
        let words = words.iter().chain(live).chain(&["-threads", "1"]).chain(&input).map(OsString::from);
        // Else the raw pictures are "encoded" by several threads, which hold each one back until the next has come.
        let at_once = ["-threads", "1"].map(OsString::from);
        let output = ffmpeg::output("", "yuv420p").into_iter().map(OsString::from);
        let arguments: Vec<OsString> = words.chain(at_once).chain(output).collect();
        let arguments: Vec<&OsStr> = arguments.iter().map(OsString::as_os_str).collect();
        let mut started = Self {
            codec,
            pictures: Pictures::start(&tools.ffmpeg, &arguments, Input::Pipe)?,
            waiting: VecDeque::new(),
            next_place: 0,
            waiting_since: None,
            has_started: false,
            pool: Pool::default(),
        };
        started.write(&file_header(codec, packet), &mut Decoded::default())?;
        Ok(started)
    }

    /// Where it fails, what has come is in `decoded`, and what has not is [`Self::held_back`].
    pub(super) fn push(&mut self, packet: &VideoFrame, decoded: &mut Decoded) -> Result<(), DecodeError> {
        self.push_labelled(packet, Some(Label::of(packet)), decoded)
    }

    /// A packet that others build on, and whose own picture has been shown or counted.
    pub(super) fn push_again(&mut self, packet: &VideoFrame, decoded: &mut Decoded) -> Result<(), DecodeError> {
        // None is pushed out: every picture would come under another's label.
        while self.waiting.len() == MAX_WAITING && self.take(START_TIMEOUT, decoded)? == Taken::Picture {}
        self.push_labelled(packet, None, decoded)
    }

    fn push_labelled(
        &mut self,
        packet: &VideoFrame,
        label: Option<Label>,
        decoded: &mut Decoded,
    ) -> Result<(), DecodeError> {
        let place = self.next_place;
        self.next_place += 1;
        if has_picture(self.codec, packet.frame_data()) {
            if self.waiting.len() == MAX_WAITING {
                decoded.lost += count(self.waiting.pop_front());
            }
            self.waiting.push_back((place, label));
            self.waiting_since.get_or_insert_with(Instant::now);
        }
        let len = u32::try_from(packet.frame_data().len()).unwrap_or(u32::MAX);
        let header = [&len.to_le_bytes()[..], &place.to_le_bytes()].concat();
        self.write(&header, decoded)?;
        self.write(packet.frame_data(), decoded)?;
        self.wait(place, decoded)
    }

    /// The pictures that were held back; those that do not come now are lost.
    pub(super) fn finish(mut self, decoded: &mut Decoded) {
        self.pictures.child().close_input();
        let due = Instant::now() + START_TIMEOUT;
        while Instant::now() < due {
            match self.take(PICTURE_TIMEOUT, decoded) {
                Ok(Taken::Picture | Taken::Nothing) => {}
                Ok(Taken::End) => break,
                Err(error) => {
                    tracing::debug!(%error, "a decoder lost its last pictures");
                    break;
                }
            }
        }
        decoded.lost += self.held_back();
    }

    /// How many pictures have not come.
    pub(super) fn held_back(&self) -> u64 {
        count(&self.waiting)
    }

    /// Waits for a packet's picture, if it can be expected to come by itself.
    fn wait(&mut self, place: i64, decoded: &mut Decoded) -> Result<(), DecodeError> {
        let is_waiting = |this: &Self| this.waiting.iter().any(|(waiting, _)| *waiting == place);
        // Where pictures are reordered, only further packets bring this one.
        let comes_at_once = self.codec != Codec::H264 && is_waiting(self);
        let timeout = match (comes_at_once, std::mem::replace(&mut self.has_started, true)) {
            (true, true) => PICTURE_TIMEOUT,
            (true, false) => START_TIMEOUT,
            (false, _) => Duration::ZERO,
        };
        let due = Instant::now() + timeout;
        loop {
            let left = due.saturating_duration_since(Instant::now());
            match self.take(left, decoded)? {
                Taken::Picture if is_waiting(self) => {}
                Taken::Picture => return Ok(()),
                Taken::Nothing
                    if self.waiting_since.is_some_and(|since| comes_at_once && since.elapsed() > SILENCE) =>
                {
                    return Err(self.pictures.hangs().into());
                }
                Taken::Nothing if left.is_zero() => return Ok(()),
                Taken::Nothing => {}
                Taken::End => {
                    let problem = "the decoder has given up".to_owned();
                    return Err(DecodeError::Broken { codec: self.name(), problem });
                }
            }
        }
    }

    /// Writes all of it, taking pictures meanwhile: ffmpeg may have to be rid of one before it reads on.
    fn write(&mut self, mut bytes: &[u8], decoded: &mut Decoded) -> Result<(), DecodeError> {
        let mut moved = Instant::now();
        while !bytes.is_empty() {
            let timeout = Duration::from_millis(10);
            let written = self.pictures.child().write(bytes, timeout).map_err(|error| self.gave_up(error))?;
            bytes = bytes.get(written..).unwrap_or_default();
            if written > 0 || self.take(Duration::ZERO, decoded)? == Taken::Picture {
                moved = Instant::now();
            } else if moved.elapsed() > SILENCE {
                return Err(self.pictures.hangs().into());
            }
        }
        Ok(())
    }

    fn take(&mut self, timeout: Duration, decoded: &mut Decoded) -> Result<Taken, DecodeError> {
        let len = |width, height| PixelFormat::I420.packed_len(width, height).unwrap_or(0);
        match self.pictures.next(timeout, len, &self.pool).map_err(|error| self.gave_up(error))? {
            Next::Nothing => Ok(Taken::Nothing),
            Next::End => Ok(Taken::End),
            Next::Picture(shown, planes) => {
                self.waiting_since = None;
                // Where pictures are reordered, ffmpeg guesses times: there the first that is shown takes the first
                // packet's place, so that numbers and times still increase.
                let at = match self.codec {
                    Codec::H264 => (!self.waiting.is_empty()).then_some(0),
                    _ => self.waiting.iter().position(|(place, _)| Some(*place) == shown.time),
                };
                // What is not reordered does not come behind a later one.
                decoded.lost += count(self.waiting.drain(..at.unwrap_or(0)));
                if let Some((_, Some(label))) = at.and_then(|_| self.waiting.pop_front()) {
                    let colour = Colour::of_video(shown.height).or_as_said(shown.matrix, shown.range);
                    match label.on(self.codec, (shown.width, shown.height), colour, planes) {
                        Ok(frame) => decoded.frames.push(frame),
                        Err(error) => {
                            tracing::debug!(%error, "what came out of a decoder is no picture");
                            decoded.lost += 1;
                        }
                    }
                }
                Ok(Taken::Picture)
            }
        }
    }

    /// ffmpeg ends when it cannot make anything of the packets: those are broken, not ffmpeg.
    fn gave_up(&self, error: FfmpegError) -> DecodeError {
        match error {
            FfmpegError::Failed { problem, .. } => DecodeError::Broken { codec: self.name(), problem },
            other => other.into(),
        }
    }

    const fn name(&self) -> &'static str {
        match self.codec {
            Codec::Vp8 => "vp8",
            Codec::Vp9 => "vp9",
            Codec::Av1 => "av1",
            Codec::H264 | Codec::Jpeg | Codec::Png | Codec::Webp => "h264",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Picture,
    Nothing,
    End,
}

/// How many pictures are lost with these packets.
fn count<W: Borrow<(i64, Option<Label>)>>(waiting: impl IntoIterator<Item = W>) -> u64 {
    waiting.into_iter().map(|packet| u64::from(packet.borrow().1.is_some())).sum()
}

/// Source: the IVF container, 32 bytes, little-endian; a time base of a millisecond, of which places are counted.
fn file_header(codec: Codec, packet: &VideoFrame) -> Vec<u8> {
    let fourcc: &[u8; 4] = match codec {
        Codec::Vp8 => b"VP80",
        Codec::Vp9 => b"VP90",
        Codec::Av1 => b"AV01",
        Codec::H264 | Codec::Jpeg | Codec::Png | Codec::Webp => b"H264",
    };
    let side = |pixels: u32| u16::try_from(pixels).unwrap_or(u16::MAX).to_le_bytes();
    let mut header = b"DKIF\0\0\x20\0".to_vec();
    header.extend_from_slice(fourcc);
    header.extend_from_slice(&side(packet.width()));
    header.extend_from_slice(&side(packet.height()));
    header.extend_from_slice(&1000_u32.to_le_bytes());
    header.extend_from_slice(&1_u32.to_le_bytes());
    header.extend_from_slice(&[0; 8]);
    header
}
