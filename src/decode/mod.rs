//! Coded video packets to raw pictures.

use std::path::PathBuf;

use crate::{
    error::ErrorKind,
    ffmpeg::FfmpegError,
    frame::{Codec, FrameError, VideoFrame},
};

/// Why packets cannot be decoded.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each field is named in its variant's message")]
pub enum DecodeError {
    /// Not a video codec, or none that can be decoded here.
    #[error("{codec} cannot be decoded here: {problem}")]
    Unsupported { codec: String, problem: String },

    /// The packet is broken; the decoder waits for the next key frame.
    #[error("broken {codec} packet: {problem}")]
    Broken { codec: String, problem: String },

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
    /// Pictures in `I420` with `color_matrix` and `color_range`, with the timestamps, numbers and metadata of the
    /// packets that they were coded in.
    pub frames: Vec<VideoFrame>,
    /// Packets that had to be skipped, as no key frame has come yet or one was lost.
    pub skipped: u64,
    /// A key frame is needed to go on: ask the sender for one.
    pub needs_key_frame: bool,
}

/// Decodes the packets of one stream in order. Dropping it ends what it runs.
#[derive(Debug)]
pub struct Decoder {}

impl Decoder {
    /// A decoder that waits for a key frame.
    ///
    /// # Errors
    ///
    /// [`DecodeError::Unsupported`], [`DecodeError::Ffmpeg`].
    pub fn new(codec: Codec, options: &DecodeOptions) -> Result<Self, DecodeError> {
        let _ = options;
        let codec = crate::frame::Format::Encoded(codec).to_string();
        Err(DecodeError::Unsupported { codec, problem: "not built".to_owned() })
    }

    /// Takes one packet and gives the pictures that are ready: its own at once, unless the codec reorders. Blocks
    /// for as long as decoding takes. A gap in frame numbers of one codec's packets is a lost packet: everything is
    /// skipped up to the next key frame.
    ///
    /// # Errors
    ///
    /// [`DecodeError`]; the decoder can be used on, and waits for a key frame.
    pub fn push(&mut self, packet: &VideoFrame) -> Result<Decoded, DecodeError> {
        let _ = packet;
        Ok(Decoded::default())
    }

    /// The pictures that still wait for others.
    ///
    /// # Errors
    ///
    /// [`DecodeError`].
    pub fn flush(&mut self) -> Result<Vec<VideoFrame>, DecodeError> {
        Ok(Vec::new())
    }
}
