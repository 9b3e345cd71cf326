//! Coded video packets to raw pictures.
//!
//! Belongs here: which decoder takes a stream, waiting for key frames, lost packets.
//! Does not belong here: pixels (`frame::convert`), still pictures (`frame::still`).
//!
//! Invariants:
//! - A picture comes with the time, number and metadata of the packet that it was coded in; of H.264 with B-frames, of
//!   the packet in its place, as packets come in another order than pictures: packets' times are those of decoding.
//! - Nothing is shown that builds on a lost packet: it is skipped, counted, and a key frame asked for.
//! - A packet with a picture brings one, or is counted as lost: once, and at the latest when the decoder is flushed.
//! - A stream needs one key frame, its first: a [`Decoder`] remembers parameter sets for every engine that begins later, and
//!   packets for ffmpeg, which takes over when B-frames turn up in a stream that had not said so. The two pictures before
//!   such a takeover are shown as they were coded, not as they are ordered.
//!
//! H.264 without B-frames is decoded in this process (feature `h264`), picture by picture; everything else by an ffmpeg
//! process.

mod by_ffmpeg;
#[cfg(feature = "h264")]
mod by_openh264;
#[cfg(all(feature = "fuzzing", target_os = "linux"))]
pub(crate) mod fuzz;
mod h264;
mod sps;

use std::path::PathBuf;

use self::by_ffmpeg::ByFfmpeg;
use crate::{
    error::ErrorKind,
    ffmpeg::FfmpegError,
    frame::{
        Buffer, Codec, Colour, Format, FrameError, MAX_FRAME_NUMBER, Metadata, PixelFormat, VideoFrame,
        key_frame::{is_inter_coded, is_key_frame, nal_units},
    },
};

/// Packets that are skipped before the sender is asked for a key frame again: a second's worth.
const ASK_AGAIN_AFTER: u64 = 30;

/// Why packets cannot be decoded.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each field is named in its variant's message")]
pub enum DecodeError {
    /// No video codec.
    #[error("{codec} is no video")]
    Unsupported { codec: Format },

    /// A packet is broken.
    #[error("broken {codec} packet: {problem}")]
    Broken { codec: &'static str, problem: String },

    /// ffmpeg could not be run, or failed.
    #[error(transparent)]
    Ffmpeg(#[from] FfmpegError),

    /// What came out was no picture.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl DecodeError {
    /// Class reported to peers.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Unsupported { .. } => ErrorKind::Unimplemented,
            Self::Broken { .. } => ErrorKind::DataLoss,
            Self::Ffmpeg(error) => error.kind(),
            Self::Frame(error) => error.kind(),
        }
    }
}

/// What a decoder may use.
#[derive(Debug, Clone, Default)]
pub struct DecodeOptions {
    /// The ffmpeg program; from `PATH` unless set.
    pub ffmpeg: Option<PathBuf>,
}

/// What one packet brought.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Pictures in `I420`, with `color_matrix` and `color_range` in their metadata.
    pub frames: Vec<VideoFrame>,
    /// Pictures that will not come: their packets had to be skipped, as no key frame has come yet or one before them was
    /// lost, or their decoder has not given them.
    pub lost: u64,
    /// A key frame is needed to go on: ask the sender for one.
    pub needs_key_frame: bool,
    /// ffmpeg is needed and of no help. What had come before that is here, too.
    pub error: Option<DecodeError>,
}

/// Decodes the packets of one stream in order. Dropping it ends what it runs.
#[derive(Debug)]
pub struct Decoder {
    codec: Codec,
    options: DecodeOptions,
    engine: Option<Engine>,
    waits_for_key_frame: bool,
    /// Packets since the last key frame was asked for.
    skipped: u64,
    last_number: Option<u32>,
    /// The stream has what only ffmpeg decodes.
    needs_ffmpeg: bool,
    /// For H.264: what the next engine has to be given first.
    recent: h264::Recent,
    /// The engine knows the newest parameter sets.
    has_sets: bool,
}

#[derive(Debug)]
enum Engine {
    #[cfg(feature = "h264")]
    OpenH264(by_openh264::ByOpenH264),
    Ffmpeg(ByFfmpeg),
}

/// What a picture takes over from its packet.
#[derive(Debug, Clone)]
struct Label {
    timestamp_ms: u64,
    frame_number: u32,
    metadata: Metadata,
}

impl Decoder {
    /// A decoder that waits for a key frame.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Unsupported`] for still pictures.
    pub fn new(codec: Codec, options: &DecodeOptions) -> Result<Self, DecodeError> {
        if !is_inter_coded(codec) {
            return Err(DecodeError::Unsupported { codec: Format::Encoded(codec) });
        }
        Ok(Self {
            codec,
            options: options.clone(),
            engine: None,
            waits_for_key_frame: true,
            skipped: 0,
            last_number: None,
            needs_ffmpeg: codec != Codec::H264 || cfg!(not(feature = "h264")),
            recent: h264::Recent::default(),
            has_sets: false,
        })
    }

    /// Takes one packet and gives the pictures that are ready: its own at once, unless the codec reorders. Blocks
    /// for as long as decoding takes. A gap in the packets' numbers, or a broken one, loses what follows up to the next
    /// key frame.
    pub fn push(&mut self, packet: &VideoFrame) -> Decoded {
        let is_key_frame = is_key_frame(self.codec, packet.frame_data());
        let number = packet.frame_number();
        let expected = self.last_number.map(|last| if last == MAX_FRAME_NUMBER { 0 } else { last + 1 });
        self.last_number = Some(number);
        if is_key_frame {
            self.waits_for_key_frame = false;
            self.skipped = 0;
        } else if expected.is_some_and(|expected| expected != number) {
            self.waits_for_key_frame = true;
        }
        let has_news = self.codec == Codec::H264 && self.recent.take_sets(packet.frame_data());
        let mut decoded = Decoded::default();
        if self.waits_for_key_frame {
            self.has_sets &= !has_news;
            decoded.lost = u64::from(has_picture(self.codec, packet.frame_data()));
            self.ask(&mut decoded);
            return decoded;
        }
        if let Err(error) = self.decode(packet, is_key_frame, &mut decoded) {
            decoded.lost += self.give_up(packet);
            self.waits_for_key_frame = true;
            match error {
                DecodeError::Broken { codec, problem } => {
                    tracing::debug!(codec, problem, number, "a packet could not be decoded");
                    self.ask(&mut decoded);
                }
                other => decoded.error = Some(other),
            }
        }
        decoded
    }

    /// Do pictures wait for later packets, as they are shown in another order?
    pub fn holds_back(&self) -> bool {
        match &self.engine {
            Some(Engine::Ffmpeg(engine)) => self.codec == Codec::H264 && engine.held_back() > 0,
            #[cfg(feature = "h264")]
            Some(Engine::OpenH264(_)) => false,
            None => false,
        }
    }

    /// The pictures that still wait for others. Afterwards it waits for a key frame.
    pub fn flush(&mut self) -> Decoded {
        self.waits_for_key_frame = true;
        let mut decoded = Decoded::default();
        match self.engine.take() {
            Some(Engine::Ffmpeg(engine)) => engine.finish(&mut decoded),
            // It gives each picture at once.
            #[cfg(feature = "h264")]
            Some(Engine::OpenH264(_)) => {}
            None => {}
        }
        decoded
    }

    /// Ends the engine, which has failed with a packet, and tells how many pictures are lost by that.
    fn give_up(&mut self, packet: &VideoFrame) -> u64 {
        let own = u64::from(has_picture(self.codec, packet.frame_data()));
        match self.engine.take() {
            // The packet is among those that it has.
            Some(Engine::Ffmpeg(engine)) => engine.held_back(),
            #[cfg(feature = "h264")]
            Some(Engine::OpenH264(_)) => own,
            None => own,
        }
    }

    /// Asks for a key frame with the first packet that needs one, and again when none comes.
    fn ask(&mut self, decoded: &mut Decoded) {
        decoded.needs_key_frame = self.skipped.is_multiple_of(ASK_AGAIN_AFTER);
        self.skipped += 1;
    }

    fn decode(&mut self, packet: &VideoFrame, is_key_frame: bool, decoded: &mut Decoded) -> Result<(), DecodeError> {
        if !self.needs_ffmpeg && self.recent.needs_ffmpeg(packet.frame_data()) {
            self.needs_ffmpeg = true;
            // It has given what it had.
            self.engine = None;
            let packets = self.recent.take_packets();
            if !is_key_frame && let Err(error) = self.catch_up(packets, decoded) {
                // What it had was shown before.
                self.engine = None;
                return Err(error);
            }
        }
        let whole = self.with_missing_sets(packet)?;
        let packet = whole.as_ref().unwrap_or(packet);
        match self.engine_for(packet)? {
            #[cfg(feature = "h264")]
            Engine::OpenH264(engine) => {
                engine.push(packet, decoded)?;
                self.recent.keep(packet);
                Ok(())
            }
            Engine::Ffmpeg(engine) => engine.push(packet, decoded),
        }
    }

    /// Gives a new ffmpeg what the stream has had since its last key frame, and has shown.
    fn catch_up(&mut self, packets: Option<Vec<VideoFrame>>, decoded: &mut Decoded) -> Result<(), DecodeError> {
        let too_late = || {
            let problem = "it has B-frames, which come too late for ffmpeg to take over".to_owned();
            DecodeError::Broken { codec: "h264", problem }
        };
        for packet in packets.ok_or_else(too_late)? {
            let whole = self.with_missing_sets(&packet)?;
            match self.engine_for(&packet)? {
                Engine::Ffmpeg(engine) => engine.push_again(whole.as_ref().unwrap_or(&packet), decoded)?,
                #[cfg(feature = "h264")]
                Engine::OpenH264(_) => return Err(too_late()),
            }
        }
        Ok(())
    }

    /// The packet with the stream's parameter sets, if the engine has not had them.
    fn with_missing_sets(&mut self, packet: &VideoFrame) -> Result<Option<VideoFrame>, FrameError> {
        let has_sets = self.engine.is_some() && self.has_sets;
        self.has_sets = true;
        if self.codec != Codec::H264 || has_sets { Ok(None) } else { self.recent.with_sets(packet) }
    }

    /// The one there is, or a new one that begins with `packet`.
    fn engine_for(&mut self, packet: &VideoFrame) -> Result<&mut Engine, DecodeError> {
        match &mut self.engine {
            Some(engine) => Ok(engine),
            none => Ok(none.insert(engine(self.codec, self.needs_ffmpeg, packet, &self.options)?)),
        }
    }
}

/// Does a picture belong to the packet? None does to parameter sets of H.264 that come by themselves, nor to a packet
/// that is decoded and not shown. VP9 and AV1 packets always show one. Sources: ITU-T H.264, table 7-1 (slices are 1 to 5);
/// RFC 6386, 9.1 (`show_frame`).
fn has_picture(codec: Codec, data: &[u8]) -> bool {
    match codec {
        Codec::H264 => {
            nal_units(data).any(|unit| unit.first().is_some_and(|header| (1..=5).contains(&(header & 0x1F))))
        }
        Codec::Vp8 => data.first().is_none_or(|tag| tag >> 4 & 1 == 1),
        Codec::Vp9 | Codec::Av1 | Codec::Jpeg | Codec::Png | Codec::Webp => true,
    }
}

fn engine(
    codec: Codec,
    needs_ffmpeg: bool,
    packet: &VideoFrame,
    options: &DecodeOptions,
) -> Result<Engine, DecodeError> {
    #[cfg(feature = "h264")]
    if codec == Codec::H264 && !needs_ffmpeg {
        return Ok(Engine::OpenH264(by_openh264::ByOpenH264::new()?));
    }
    let _ = needs_ffmpeg;
    Ok(Engine::Ffmpeg(ByFfmpeg::start(codec, packet, options)?))
}

impl Label {
    fn of(packet: &VideoFrame) -> Self {
        Self {
            timestamp_ms: packet.timestamp_ms(),
            frame_number: packet.frame_number(),
            metadata: packet.metadata().clone(),
        }
    }

    /// The decoded picture. What its sender says of its colours counts more than `colour`, the decoder's: VP8 has no words
    /// for them, and a browser's encoder uses those of its own pictures, whatever their size.
    fn on(
        self,
        codec: Codec,
        (width, height): (u32, u32),
        colour: Colour,
        planes: Buffer,
    ) -> Result<VideoFrame, FrameError> {
        let Self { timestamp_ms, frame_number, mut metadata } = self;
        colour.or_as_in(&metadata).write(&mut metadata);
        metadata.insert("decoded_from".to_owned(), Format::Encoded(codec).to_string());
        let format = Format::Pixels(PixelFormat::I420);
        let frame = VideoFrame::try_new(format, Some((width, height)), timestamp_ms, planes.freeze())?;
        Ok(frame.with_place(frame_number, timestamp_ms).with_metadata(metadata))
    }
}
