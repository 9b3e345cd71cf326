//! H.264 as Matroska has it: parameter sets in the track's header, units with their lengths instead of start codes.
//!
//! Source: ISO/IEC 14496-15, 5.3.3 (`AVCDecoderConfigurationRecord`).

use crate::frame::{
    bits::{Bits, without_emulation},
    key_frame::nal_units,
};

/// `nal_unit_type` of a sequence parameter set. Source: ITU-T H.264, table 7-1.
const SPS: u8 = 7;

/// `nal_unit_type` of a picture parameter set.
const PPS: u8 = 8;

/// Profiles whose parameter sets say how chroma is sampled, and how deep.
const PROFILES_WITH_CHROMA: [u8; 4] = [100, 110, 122, 144];

/// The track's private bytes, from a key frame that brings its parameter sets.
pub(super) fn configuration(packet: &[u8]) -> Option<Vec<u8>> {
    let of_type =
        |wanted: u8| nal_units(packet).filter(move |unit| unit.first().is_some_and(|header| header & 0x1F == wanted));
    let sets: Vec<_> = of_type(SPS).take(31).collect();
    let [_, profile, compatible, level, ..] = **sets.first()? else {
        return None;
    };
    let count = |sets: &[&[u8]]| u8::try_from(sets.len()).ok();
    let mut record = vec![1, profile, compatible, level, 0xFF, 0xE0 | count(&sets)?];
    append(&mut record, &sets)?;
    let pictures: Vec<_> = of_type(PPS).take(255).collect();
    pictures.first()?;
    record.push(count(&pictures)?);
    append(&mut record, &pictures)?;
    if PROFILES_WITH_CHROMA.contains(&profile) {
        let (chroma, luma_depth, chroma_depth) = chroma(sets.first()?)?;
        record.extend_from_slice(&[0xFC | chroma, 0xF8 | luma_depth, 0xF8 | chroma_depth, 0]);
    }
    Some(record)
}

fn append(record: &mut Vec<u8>, sets: &[&[u8]]) -> Option<()> {
    for set in sets {
        record.extend_from_slice(&u16::try_from(set.len()).ok()?.to_be_bytes());
        record.extend_from_slice(set);
    }
    Some(())
}

/// `chroma_format_idc`, and the depths of luma and chroma less 8. Source: ITU-T H.264, 7.3.2.1.1.
fn chroma(set: &[u8]) -> Option<(u8, u8, u8)> {
    let payload = without_emulation(set.get(4..)?);
    let mut bits = Bits::new(&payload);
    bits.exp_golomb()?;
    let chroma = bits.exp_golomb()?;
    if chroma == 3 {
        bits.flag()?;
    }
    let small = |value: u32, most: u8| u8::try_from(value).ok().filter(|value| *value <= most);
    Some((small(chroma, 3)?, small(bits.exp_golomb()?, 7)?, small(bits.exp_golomb()?, 7)?))
}

/// The packet's units, each after its length in 4 bytes.
pub(super) fn sample(packet: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(packet.len() + 16);
    for unit in nal_units(packet) {
        // A packet is far shorter than 4 GiB.
        bytes.extend_from_slice(&u32::try_from(unit.len()).unwrap_or(u32::MAX).to_be_bytes());
        bytes.extend_from_slice(unit);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BASELINE: [u8; 4] = [0x67, 66, 0xC0, 30];

    #[test]
    fn parameter_sets_become_the_tracks_header() {
        let key_frame = [&[0, 0, 0, 1][..], &BASELINE, &[0, 0, 0, 1, 0x68, 9, 0, 0, 1, 0x65, 1, 2, 3]].concat();
        let record = configuration(&key_frame).unwrap();
        assert_eq!(record, [1, 66, 0xC0, 30, 0xFF, 0xE1, 0, 4, 0x67, 66, 0xC0, 30, 1, 0, 2, 0x68, 9]);
        let lengths = [0, 0, 0, 4, 0x67, 66, 0xC0, 30, 0, 0, 0, 2, 0x68, 9, 0, 0, 0, 4, 0x65, 1, 2, 3];
        assert_eq!(sample(&key_frame), lengths);
        assert_eq!(configuration(&[0, 0, 1, 0x65, 1]), None, "without parameter sets");
        assert_eq!(configuration(&[&[0, 0, 1][..], &BASELINE].concat()), None, "without a picture's set");
    }

    #[test]
    fn high_profiles_say_how_chroma_is_sampled() {
        // sps id 0 "1", chroma 1 "010", depths 8 and 8 "1" "1", rest.
        let high = [0, 0, 1, 0x67, 100, 0, 40, 0b1010_1111, 0, 0, 1, 0x68, 9];
        let record = configuration(&high).unwrap();
        assert_eq!(record[record.len() - 4..], [0xFD, 0xF8, 0xF8, 0]);
    }

    proptest! {
        #[test]
        fn junk_never_panics_and_every_unit_is_kept(data in prop::collection::vec(0_u8..9, 0..300)) {
            let _ = configuration(&data);
            let units: usize = nal_units(&data).map(|unit| unit.len() + 4).sum();
            prop_assert_eq!(sample(&data).len(), units);
        }
    }
}
