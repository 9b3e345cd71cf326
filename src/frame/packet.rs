//! The packet: a picture with a 17-byte little-endian header, as data channels, pipes and WebSockets carry it.
//!
//! ```text
//! [0..8) timestamp_ms u64 · [8..12) width u32 · [12..16) height u32 · [16] format u8 · [17..] frame_data
//! ```
//!
//! A still (JPEG, PNG, WebP) may leave both sides 0: its size is read from its bytes.

use byteorder::{ByteOrder, LittleEndian};
use bytes::Bytes;

use super::{Format, FrameError, VideoFrame};

/// Bytes before `frame_data`.
pub const HEADER_BYTES: usize = 17;

/// Reads a packet; `frame_data` shares its memory.
///
/// # Errors
///
/// [`FrameError::PacketTooShort`], [`FrameError::UnknownFormatByte`], or what [`VideoFrame::try_new`] says.
pub fn decode(packet: &Bytes) -> Result<VideoFrame, FrameError> {
    let header = packet.first_chunk::<HEADER_BYTES>().ok_or(FrameError::PacketTooShort { len: packet.len() })?;
    let [.., format] = *header;
    let timestamp_ms = LittleEndian::read_u64(header);
    let (_, sides) = header.split_at(8);
    let (width, height) = sides.split_at(4);
    let format = Format::from_packet_byte(format)?;
    let size = match (LittleEndian::read_u32(width), LittleEndian::read_u32(height)) {
        (0, 0) if format.is_still() => None,
        size => Some(size),
    };
    VideoFrame::try_new(format, size, timestamp_ms, packet.slice(HEADER_BYTES..))
}

/// Writes a picture as a packet.
///
/// # Errors
///
/// [`FrameError::NoPacketByte`] for a format that packets cannot carry.
pub fn encode(frame: &VideoFrame) -> Result<Vec<u8>, FrameError> {
    let byte = frame.format().packet_byte().ok_or(FrameError::NoPacketByte { format: frame.format() })?;
    let mut packet = Vec::with_capacity(HEADER_BYTES + frame.frame_data().len());
    packet.extend_from_slice(&frame.timestamp_ms().to_le_bytes());
    packet.extend_from_slice(&frame.width().to_le_bytes());
    packet.extend_from_slice(&frame.height().to_le_bytes());
    packet.push(byte);
    packet.extend_from_slice(frame.frame_data());
    Ok(packet)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::PixelFormat;

    #[test]
    fn decode_reads_the_fixed_layout() {
        let mut packet = vec![0x39, 0x30, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0];
        packet.extend_from_slice(&[1, 2, 3, 4, 5, 6]);
        let frame = decode(&Bytes::from(packet.clone())).unwrap();
        assert_eq!((frame.timestamp_ms(), frame.width(), frame.height()), (12_345, 2, 1));
        assert_eq!(frame.format(), Format::Pixels(PixelFormat::Rgb));
        assert_eq!(&frame.frame_data()[..], [1, 2, 3, 4, 5, 6]);
        assert_eq!(encode(&frame).unwrap(), packet);
    }

    #[test]
    fn decode_refuses_every_short_length() {
        for len in 0..HEADER_BYTES {
            assert_eq!(decode(&Bytes::from(vec![0; len])), Err(FrameError::PacketTooShort { len }));
        }
        // A whole header with nothing behind it has a size of 0 x 0.
        assert!(matches!(decode(&Bytes::from(vec![0; HEADER_BYTES])), Err(FrameError::Size { .. })));
    }

    #[test]
    fn a_still_may_leave_its_size_to_its_bytes() {
        let still = include_bytes!("../../tests/golden/gradient-64x48.png");
        let packet = |width: u8, byte: u8| {
            let mut packet = vec![1, 0, 0, 0, 0, 0, 0, 0, width, 0, 0, 0, 0, 0, 0, 0, byte];
            packet.extend_from_slice(still);
            decode(&Bytes::from(packet))
        };
        let frame = packet(0, 7).unwrap();
        assert_eq!((frame.width(), frame.height()), (64, 48));
        assert!(matches!(packet(64, 7), Err(FrameError::Size { .. })), "both or none");
        assert!(matches!(packet(0, 2), Err(FrameError::Size { .. })), "H.264 has to tell its size");
    }

    #[test]
    fn decode_names_an_unknown_format_byte() {
        for byte in 15..=u8::MAX {
            let mut packet = vec![0; HEADER_BYTES];
            packet[8] = 1;
            packet[12] = 1;
            packet[16] = byte;
            assert_eq!(decode(&Bytes::from(packet)), Err(FrameError::UnknownFormatByte { byte }));
        }
    }

    proptest! {
        #[test]
        fn junk_never_panics(junk in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode(&Bytes::from(junk));
        }

        #[test]
        fn raw_pictures_round_trip(width in 1u32..20, height in 1u32..20, timestamp_ms in 0..=crate::frame::MAX_TIMESTAMP_MS) {
            let data = vec![7; PixelFormat::I420.packed_len(width, height).unwrap()];
            let frame = VideoFrame::try_new(
                Format::Pixels(PixelFormat::I420), Some((width, height)), timestamp_ms, data.into()).unwrap();
            let packet = Bytes::from(encode(&frame).unwrap());
            prop_assert_eq!(decode(&packet).unwrap(), frame);
        }
    }
}
