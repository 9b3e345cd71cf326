//! One subscriber's wish about a stream's pictures, made true: thinned out, decoded, scaled, converted, encoded.
//!
//! Belongs here: which of the accepted formats is made, and by which steps. Nothing is done that the wish does not need; a
//! picture that has to fit so many bytes may be made several times.
//! Does not belong here: the steps themselves (`decode`, `frame::{convert, scale, still}`), who gets the pictures
//! (`streams`).
//!
//! Data path: packet or picture -> [`Transcoder::push`] -> `decode` -> rate -> `still` or `convert` to what can be scaled
//! -> `scale` -> `convert` or `still`.

use std::sync::Arc;

use crate::{
    decode::{DecodeError, DecodeOptions, Decoded, Decoder},
    error::ErrorKind,
    frame::{
        Codec, Colour, Format, FrameError, PixelFormat, Pool, VideoFrame,
        convert::{self, RawView},
        key_frame::is_inter_coded,
        scale::{ScaleError, Scaler},
        still::{self, StillError},
    },
    streams::Wish,
};

/// Quality of the JPEG pictures that are made, of 100: what cameras use, too.
const JPEG_QUALITY: u8 = 85;

/// How often a picture is made smaller to fit a wish's bytes, before it is given up.
const MAX_SHRINKS: u32 = 8;

/// What each shrink leaves of a side, in percent.
const SHRINK_PERCENT: u32 = 75;

/// What conversions may use.
pub type TranscodeOptions = DecodeOptions;

/// Why a picture cannot be given as it is wished.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each field is named in its variant's message")]
pub enum TranscodeError {
    /// None of the accepted formats can be made of what the stream carries.
    #[error("none of the accepted formats ({accepted}) can be made of {from}{why}")]
    NoWay { accepted: String, from: Format, why: &'static str },

    /// However small it is made, it has too many bytes.
    #[error("a picture of {width} x {height} does not fit {max_bytes} bytes")]
    TooLong { width: u32, height: u32, max_bytes: usize },

    /// Its coded packets.
    #[error(transparent)]
    Decode(#[from] DecodeError),

    /// Its coded picture.
    #[error(transparent)]
    Still(#[from] StillError),

    /// Its size.
    #[error(transparent)]
    Scale(#[from] ScaleError),

    /// Its pixels.
    #[error(transparent)]
    Frame(#[from] FrameError),
}

impl TranscodeError {
    /// Class reported to peers.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::NoWay { .. } => ErrorKind::FailedPrecondition,
            Self::TooLong { .. } => ErrorKind::ResourceExhausted,
            Self::Decode(error) => error.kind(),
            Self::Still(error) => error.kind(),
            Self::Scale(error) => error.kind(),
            Self::Frame(error) => error.kind(),
        }
    }

    /// The word for programs.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NoWay { .. } => "format_not_possible",
            Self::TooLong { .. } => "too_long",
            Self::Decode(DecodeError::Ffmpeg(error)) => error.reason(),
            Self::Decode(_) => "decode",
            Self::Still(_) | Self::Scale(_) | Self::Frame(_) => "picture",
        }
    }

    /// Will the next picture fail, too?
    pub const fn is_lasting(&self) -> bool {
        match self {
            Self::NoWay { .. } => true,
            Self::Decode(DecodeError::Unsupported { .. } | DecodeError::Ffmpeg(_)) => true,
            Self::TooLong { .. } | Self::Decode(_) | Self::Still(_) | Self::Scale(_) | Self::Frame(_) => false,
        }
    }
}

/// What one picture of the stream brought.
#[derive(Debug, Default)]
pub struct Transcoded {
    /// As wished.
    pub frames: Vec<Arc<VideoFrame>>,
    /// Pictures that went in and will not come out: their packets could not be decoded, or they cannot be given as wished.
    pub lost: u64,
    /// Nothing more can be shown before the sender makes a key frame.
    pub needs_key_frame: bool,
    /// Why pictures are lost; later ones may do, unless it [`TranscodeError::is_lasting`].
    pub error: Option<TranscodeError>,
}

impl Transcoded {
    fn take(&mut self, shaped: Result<Option<Arc<VideoFrame>>, TranscodeError>) {
        match shaped {
            Ok(frame) => self.frames.extend(frame),
            Err(error) => {
                self.lost += 1;
                // One that lasts is told, whatever comes behind it.
                if !self.error.as_ref().is_some_and(TranscodeError::is_lasting) {
                    self.error = Some(error);
                }
            }
        }
    }
}

/// Makes one wish true. Dropping it ends its decoder.
#[derive(Debug)]
pub struct Transcoder {
    wish: Wish,
    options: TranscodeOptions,
    decoder: Option<(Codec, Decoder)>,
    scaler: Scaler,
    pool: Pool,
    due_ms: Option<f64>,
    /// What wishes for few bytes have come to, in percent of a side.
    shrunk_percent: u32,
}

impl Transcoder {
    /// A transcoder for the pictures of one stream.
    pub fn new(wish: Wish, options: TranscodeOptions) -> Self {
        Self {
            wish,
            options,
            decoder: None,
            scaler: Scaler::default(),
            pool: Pool::default(),
            due_ms: None,
            shrunk_percent: 100,
        }
    }

    /// Takes the stream's next picture. Blocks for as long as the conversion takes. What an error is about is counted in
    /// [`Transcoded::lost`]; pictures beside it are handed on.
    pub fn push(&mut self, frame: &Arc<VideoFrame>) -> Transcoded {
        let codec = match frame.format() {
            Format::Encoded(codec) if is_inter_coded(codec) && !self.wish.passes(frame) => codec,
            Format::Encoded(codec) if is_inter_coded(codec) => {
                // The decoder misses this one.
                let mut made = self.finish();
                made.frames.push(Arc::clone(frame));
                return made;
            }
            Format::Encoded(_) | Format::Pixels(_) => {
                let mut made = self.finish();
                let shaped = self.shape(frame);
                made.take(shaped);
                return made;
            }
        };
        let mut made = match &self.decoder {
            Some((of, _)) if *of != codec => self.finish(),
            Some(_) | None => Transcoded::default(),
        };
        match self.decode(codec, frame) {
            Ok(decoded) => self.shape_all(decoded, &mut made),
            Err(error) => made.take(Err(error)),
        }
        made
    }

    /// The pictures that a decoder holds back for the sake of later ones, which may not come: then it goes on from a key
    /// frame.
    pub fn publisher_left(&mut self) -> Transcoded {
        let mut made = Transcoded::default();
        if let Some((_, decoder)) = &mut self.decoder
            && decoder.holds_back()
        {
            let decoded = decoder.flush();
            self.shape_all(decoded, &mut made);
        }
        made
    }

    /// The pictures that a decoder still holds back.
    pub fn finish(&mut self) -> Transcoded {
        let mut made = Transcoded::default();
        if let Some((_, mut decoder)) = self.decoder.take() {
            self.shape_all(decoder.flush(), &mut made);
        }
        made
    }

    fn decode(&mut self, codec: Codec, packet: &VideoFrame) -> Result<Decoded, TranscodeError> {
        if self.target(Format::Pixels(PixelFormat::I420)).is_none() {
            let why = ", unless it is handed on in its own size and at its own rate";
            return Err(self.no_way(packet.format(), why));
        }
        let decoder = match &mut self.decoder {
            Some((_, decoder)) => decoder,
            none => &mut none.insert((codec, Decoder::new(codec, &self.options)?)).1,
        };
        Ok(decoder.push(packet))
    }

    /// Each by itself: one that cannot be given as wished keeps none of the others back.
    fn shape_all(&mut self, decoded: Decoded, made: &mut Transcoded) {
        for frame in decoded.frames {
            let shaped = self.shape(&Arc::new(frame));
            made.take(shaped);
        }
        made.lost += decoded.lost;
        made.needs_key_frame |= decoded.needs_key_frame;
        // Last, as it may be a lasting one.
        made.error = decoded.error.map(TranscodeError::from).or(made.error.take());
    }

    /// A picture that shows itself, as wished; `None` where the wish is for fewer.
    fn shape(&mut self, frame: &Arc<VideoFrame>) -> Result<Option<Arc<VideoFrame>>, TranscodeError> {
        if !self.is_due(frame) {
            return Ok(None);
        }
        if self.wish.fits(frame) {
            return Ok(Some(Arc::clone(frame)));
        }
        let target = self.target(frame.format()).ok_or_else(|| self.no_way(frame.format(), ""))?;
        for _ in 0..MAX_SHRINKS {
            let made = self.make(frame, target)?;
            let len = made.frame_data().len();
            if self.wish.max_bytes().is_none_or(|max| len <= max) {
                // One step larger is less than twice as many bytes: the next picture may be so.
                if self.wish.max_bytes().is_some_and(|max| len < max / 2) {
                    self.shrunk_percent = (self.shrunk_percent * 100).div_ceil(SHRINK_PERCENT).min(100);
                }
                return Ok(Some(Arc::new(made)));
            }
            self.shrunk_percent = (self.shrunk_percent * SHRINK_PERCENT / 100).max(1);
        }
        let max_bytes = self.wish.max_bytes().unwrap_or_default();
        Err(TranscodeError::TooLong { width: frame.width(), height: frame.height(), max_bytes })
    }

    /// Is the picture the first of its interval?
    fn is_due(&mut self, frame: &VideoFrame) -> bool {
        let Some(interval) = self.wish.min_interval_ms() else {
            return true;
        };
        #[expect(clippy::cast_precision_loss, reason = "timestamps are below 2^53")]
        let now = frame.timestamp_ms() as f64;
        // A millisecond early is in time: timestamps are whole ones.
        let due = self.due_ms.unwrap_or(now);
        if now + 1.0 < due {
            return false;
        }
        // In step with the intervals; after a pause they begin anew.
        self.due_ms = Some(if now > due + interval { now } else { due } + interval);
        true
    }

    /// The format to make of `from`: the best accepted one that can be.
    fn target(&self, from: Format) -> Option<Format> {
        if self.wish.accept().is_empty() {
            return Some(from);
        }
        let can_be_made = |format: &&Format| match format {
            Format::Pixels(_) => true,
            Format::Encoded(codec) => !is_inter_coded(*codec),
        };
        let accepted = self.wish.accept();
        // What it is already costs the least.
        accepted.iter().find(|format| **format == from).or_else(|| accepted.iter().find(can_be_made)).copied()
    }

    fn no_way(&self, from: Format, why: &'static str) -> TranscodeError {
        let accepted: Vec<_> = self.wish.accept().iter().map(|format| format.as_str()).collect();
        let accepted = if accepted.is_empty() { "its own".to_owned() } else { accepted.join(", ") };
        TranscodeError::NoWay { accepted, from, why }
    }

    fn make(&mut self, frame: &VideoFrame, target: Format) -> Result<VideoFrame, TranscodeError> {
        let max_width = self.max_width(frame, target);
        let is_scaled = max_width < frame.width();
        // Scaling is done in a layout with one plane; luma and chroma go through RGB for it.
        let wanted = match target {
            Format::Pixels(PixelFormat::I420 | PixelFormat::Nv12 | PixelFormat::Yuy2) if is_scaled => PixelFormat::Rgb,
            Format::Pixels(pixels) => pixels,
            Format::Encoded(_) => match frame.format() {
                Format::Pixels(pixels) if !is_scaled || !pixels.is_yuv() => pixels,
                Format::Pixels(_) | Format::Encoded(_) => PixelFormat::Rgb,
            },
        };
        let raw = self.raw(frame, wanted)?;
        let scaled = if is_scaled { self.scaler.scale(&raw, max_width, &self.pool)? } else { raw };
        match target {
            Format::Pixels(pixels) => self.raw(&scaled, pixels),
            Format::Encoded(codec) => Ok(still::encode(&scaled, codec, JPEG_QUALITY)?),
        }
    }

    /// How wide the picture may be.
    fn max_width(&self, frame: &VideoFrame, target: Format) -> u32 {
        let wished = self.wish.max_width().unwrap_or(u32::MAX).min(frame.width());
        let shrunk = (wished * self.shrunk_percent / 100).max(1);
        match (target, self.wish.max_bytes()) {
            // Raw pictures need not be tried.
            (Format::Pixels(pixels), Some(max_bytes)) => {
                let fits = |width: u32| {
                    let height = u64::from(frame.height()) * u64::from(width) / u64::from(frame.width());
                    let height = u32::try_from(height.max(1)).unwrap_or(u32::MAX);
                    pixels.packed_len(width, height).is_ok_and(|len| len <= max_bytes)
                };
                (1..=shrunk).rev().find(|width| fits(*width)).unwrap_or(1)
            }
            (Format::Pixels(_) | Format::Encoded(_), _) => shrunk,
        }
    }

    /// The picture's pixels in a layout.
    fn raw(&self, frame: &VideoFrame, to: PixelFormat) -> Result<VideoFrame, TranscodeError> {
        match frame.format() {
            Format::Pixels(from) if from == to => Ok(frame.clone()),
            Format::Pixels(from) => {
                let colour = Colour::of(frame);
                let view = RawView::new(from, frame.width(), frame.height(), 0, frame.frame_data())?;
                let data = convert::convert(&view, colour, to, &self.pool)?;
                let mut metadata = frame.metadata().clone();
                if from.is_yuv() || to.is_yuv() {
                    colour.write(&mut metadata);
                }
                let size = Some((frame.width(), frame.height()));
                let made = VideoFrame::try_new(Format::Pixels(to), size, frame.timestamp_ms(), data)?;
                Ok(made.with_place(frame.frame_number(), frame.timestamp_ms()).with_metadata(metadata))
            }
            Format::Encoded(_) => Ok(still::decode(frame, to, &self.pool)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_picture_that_cannot_be_given_keeps_no_other_back() {
        let rgb = Format::Pixels(PixelFormat::Rgb);
        let whole = VideoFrame::try_new(rgb, Some((1, 1)), 1, Bytes::from_static(&[0; 3])).unwrap();
        let png = Format::Encoded(Codec::Png);
        let coded = still::encode(&whole, Codec::Png, 100).unwrap().frame_data().clone();
        let cut = VideoFrame::try_new(png, Some((1, 1)), 2, coded.slice(..coded.len() / 2)).unwrap();
        let frames = vec![whole.clone(), cut, whole];
        let mut transcoder = Transcoder::new(Wish::new(vec![rgb], None, None).unwrap(), TranscodeOptions::default());
        let mut made = Transcoded::default();
        transcoder.shape_all(Decoded { frames, lost: 2, ..Decoded::default() }, &mut made);
        assert_eq!((made.frames.len(), made.lost), (2, 3));
        assert!(matches!(made.error, Some(TranscodeError::Still(_))), "{:?}", made.error);
    }
}
