//! Which packets of coded video can be decoded without those before them.

use super::Codec;

/// Do pictures of this codec build on each other?
pub const fn is_inter_coded(codec: Codec) -> bool {
    match codec {
        Codec::H264 | Codec::Vp8 | Codec::Vp9 | Codec::Av1 => true,
        Codec::Jpeg | Codec::Png | Codec::Webp => false,
    }
}

/// Can decoding begin with this packet? Bytes that are no packet of the codec are no key frame.
pub fn is_key_frame(codec: Codec, data: &[u8]) -> bool {
    match codec {
        Codec::Jpeg | Codec::Png | Codec::Webp => true,
        Codec::H264 => nal_units(data).any(|unit| unit.first().is_some_and(|header| header & 0x1F == IDR_SLICE)),
        // The lowest bit of the frame tag. Source: RFC 6386, 9.1.
        Codec::Vp8 => data.first().is_some_and(|tag| tag & 1 == 0),
        Codec::Vp9 => data.first().is_some_and(|header| is_vp9_key_frame(*header)),
        Codec::Av1 => has_av1_sequence_header(data),
    }
}

/// `nal_unit_type` of an instantaneous decoding refresh. Source: ITU-T H.264, table 7-1.
const IDR_SLICE: u8 = 5;

/// The NAL units of an Annex B access unit, without start codes.
pub fn nal_units(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    const START_CODE: [u8; 3] = [0, 0, 1];
    let mut starts = memchr::memmem::find_iter(data, &START_CODE).peekable();
    std::iter::from_fn(move || {
        let begin = starts.next()? + START_CODE.len();
        let end = starts.peek().copied().unwrap_or(data.len());
        // Zeros at the end belong to the next start code, or to nothing: no unit ends with one. Source: 7.4.1, B.1.
        let unit = data.get(begin..end).unwrap_or_default();
        let len = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        Some(unit.get(..len).unwrap_or_default())
    })
}

/// By the uncompressed header's first byte. Source: VP9 Bitstream Specification, 6.2.
fn is_vp9_key_frame(header: u8) -> bool {
    let bit = |index: u8| header >> (7 - index) & 1;
    let is_frame = (bit(0), bit(1)) == (1, 0);
    let profile = bit(3) << 1 | bit(2);
    // Profile 3 has a reserved bit more.
    let next = if profile == 3 { 5 } else { 4 };
    let (shows_existing, frame_type) = (bit(next), bit(next + 1));
    is_frame && shows_existing == 0 && frame_type == 0
}

/// Encoders put a sequence header before each key frame of a stream, and only there. Source: AV1 Bitstream
/// Specification, 7.5 (a coded video sequence begins with one).
fn has_av1_sequence_header(mut data: &[u8]) -> bool {
    const SEQUENCE_HEADER: u8 = 1;
    while let Some((header, rest)) = data.split_first() {
        let (kind, has_extension, has_size) = (header >> 3 & 0xF, header & 4 != 0, header & 2 != 0);
        if header & 0x80 != 0 {
            return false;
        }
        if kind == SEQUENCE_HEADER {
            return true;
        }
        let rest = if has_extension { rest.get(1..).unwrap_or_default() } else { rest };
        let Some((size, rest)) = has_size.then(|| leb128(rest)).flatten() else {
            return false;
        };
        data = rest.get(size..).unwrap_or_default();
    }
    false
}

/// A size of at most 8 bytes, and what follows it.
fn leb128(data: &[u8]) -> Option<(usize, &[u8])> {
    let mut size = 0_u64;
    for (index, byte) in data.iter().take(8).enumerate() {
        size |= u64::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(size).ok()?, data.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn h264_key_frames_have_an_idr_slice_somewhere() {
        let key = |data: &[u8]| is_key_frame(Codec::H264, data);
        let sps_pps_idr = [0, 0, 0, 1, 0x67, 1, 2, 0, 0, 0, 1, 0x68, 3, 0, 0, 1, 0x65, 9, 9];
        assert!(key(&sps_pps_idr));
        assert!(!key(&sps_pps_idr[..14]), "parameter sets alone");
        assert!(!key(&[0, 0, 1, 0x41, 0x65]), "the type stands behind a start code only");
        let units: Vec<_> = nal_units(&sps_pps_idr).collect();
        assert_eq!(units, [&[0x67, 1, 2][..], &[0x68, 3], &[0x65, 9, 9]]);
    }

    #[test]
    fn zeros_behind_a_unit_are_no_part_of_it() {
        let units = |data| nal_units(data).map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(units(&[0, 0, 1, 0x67, 1, 0, 0, 0, 0, 1, 0x68, 3, 0, 0, 0]), [vec![0x67, 1], vec![0x68, 3]]);
        // Else a set that is kept and a packet behind it could make a start code that neither has.
        assert_eq!(units(&[0, 0, 1, 0x67, 0, 0, 0]), [[0x67]]);
        assert_eq!(units(&[0, 0, 1, 0, 0, 0]), [[0; 0]]);
    }

    #[test]
    fn vp8_and_vp9_key_frames_are_told_by_their_first_byte() {
        assert!(is_key_frame(Codec::Vp8, &[0x10, 2, 0, 0x9d, 1, 0x2a]));
        assert!(!is_key_frame(Codec::Vp8, &[0x11]));
        assert!(is_key_frame(Codec::Vp9, &[0x82, 0x49, 0x83, 0x42]));
        assert!(!is_key_frame(Codec::Vp9, &[0x86]), "an inter frame");
        assert!(!is_key_frame(Codec::Vp9, &[0x88]), "shows an existing frame");
        assert!(is_key_frame(Codec::Vp9, &[0xB0]), "profile 3");
        assert!(!is_key_frame(Codec::Vp9, &[0x02]), "no frame marker");
    }

    #[test]
    fn av1_key_frames_bring_a_sequence_header() {
        let delimiter = [0x12, 0];
        let sequence = [0x0A, 1, 0];
        let frame = [0x32, 2, 0, 0];
        assert!(is_key_frame(Codec::Av1, &[&delimiter[..], &sequence, &frame].concat()));
        assert!(!is_key_frame(Codec::Av1, &[&delimiter[..], &frame].concat()));
    }

    proptest! {
        #[test]
        fn junk_never_panics(data in prop::collection::vec(any::<u8>(), 0..200)) {
            for codec in [Codec::H264, Codec::Vp8, Codec::Vp9, Codec::Av1] {
                let _ = is_key_frame(codec, &data);
            }
        }
    }
}
