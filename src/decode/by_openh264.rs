//! H.264 in this process: each packet gives its picture at once.

use std::fmt;

use openh264::{decoder, formats::YUVSource};

use super::{DecodeError, Decoded, Label, has_picture, sps};
use crate::frame::{
    Codec, Colour, PixelFormat, Pool, VideoFrame,
    convert::{self, RawLayout, RawView},
};

/// The decoder.
pub(super) struct ByOpenH264 {
    decoder: decoder::Decoder,
    /// By the last parameter set.
    said: sps::Said,
    pool: Pool,
}

impl ByOpenH264 {
    pub(super) fn new() -> Result<Self, DecodeError> {
        let decoder = decoder::Decoder::new().map_err(broken)?;
        Ok(Self { decoder, said: sps::Said::default(), pool: Pool::default() })
    }

    pub(super) fn push(&mut self, packet: &VideoFrame, decoded: &mut Decoded) -> Result<(), DecodeError> {
        self.said = sps::in_packet(packet.frame_data()).unwrap_or(self.said);
        let Some(picture) = self.decoder.decode(packet.frame_data()).map_err(broken)? else {
            // What does not come at once does not come.
            decoded.lost += u64::from(has_picture(Codec::H264, packet.frame_data()));
            return Ok(());
        };
        let side = |pixels: usize| u32::try_from(pixels).unwrap_or(u32::MAX);
        let (width, height) = picture.dimensions();
        let (width, height) = (side(width), side(height));
        let (y_stride, u_stride, v_stride) = picture.strides();
        let planes = [(picture.y(), y_stride), (picture.u(), u_stride), (picture.v(), v_stride)];
        let view = RawView::from_planes(RawLayout::Pixels(PixelFormat::I420), width, height, planes)?;
        let mut packed = self.pool.take(PixelFormat::I420.packed_len(width, height)?);
        let colour = Colour::of_video(height).or_as_said(self.said.matrix, self.said.range);
        convert::convert_into(&view, colour, PixelFormat::I420, &mut packed, &self.pool)?;
        decoded.frames.push(Label::of(packet).on(Codec::H264, (width, height), colour, packed)?);
        Ok(())
    }
}

fn broken(error: openh264::Error) -> DecodeError {
    DecodeError::Broken { codec: "h264", problem: error.to_string() }
}

impl fmt::Debug for ByOpenH264 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByOpenH264")
    }
}
