//! What must hold of coded packets before any decoder has seen them, whatever they are. See `fuzzing`.

use bytes::Bytes;

use super::{h264::Recent, has_picture, sps};
use crate::frame::{
    Codec, Format, VideoFrame,
    bits::without_emulation,
    key_frame::{is_key_frame, nal_units},
};

/// Packets of one stream. Input: each with its length (`u16`) before it.
pub fn h264(data: &[u8]) {
    let mut recent = Recent::default();
    let mut kept = 0;
    for piece in pieces(data) {
        for codec in [Codec::H264, Codec::Vp8, Codec::Vp9, Codec::Av1] {
            let _ = (is_key_frame(codec, piece), has_picture(codec, piece));
        }
        let units = nal_units(piece).map(<[u8]>::len).sum::<usize>();
        assert!(units <= piece.len());
        assert!(without_emulation(piece).len() <= piece.len());
        let has_sets = recent.take_sets(piece);
        assert!(has_sets || sps::in_packet(piece).is_none(), "a set is read and not kept");
        let needs_ffmpeg = recent.needs_ffmpeg(piece);
        let data = Bytes::copy_from_slice(piece);
        let Ok(packet) = VideoFrame::try_new(Format::Encoded(Codec::H264), Some((64, 48)), 1, data) else { continue };
        match recent.with_sets(&packet) {
            Ok(Some(whole)) => {
                assert!(whole.frame_data().ends_with(piece));
                assert_eq!(
                    is_key_frame(Codec::H264, whole.frame_data()),
                    is_key_frame(Codec::H264, piece),
                    "sets have changed what the packet is"
                );
            }
            Ok(None) => {}
            Err(error) => panic!("{error}"),
        }
        if !needs_ffmpeg {
            recent.keep(&packet);
            kept += 1;
        }
    }
    assert!(recent.take_packets().is_none_or(|packets| (1..=kept).contains(&packets.len())));
    assert!(recent.take_packets().is_none(), "they are given once");
}

/// Pieces of the input, each with its length before it; the last one may be shorter.
pub(crate) fn pieces(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = data.split_first_chunk()?;
        let (piece, rest) = rest.split_at(usize::from(u16::from_le_bytes(*length)).min(rest.len()));
        data = rest;
        Some(piece)
    })
}
