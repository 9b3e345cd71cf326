//! What an H.264 packet has that the decoder in this process has not.

use crate::frame::{bits::Bits, key_frame::nal_units};

/// Profiles of 8 bits and 4:2:0: baseline, main, extended, high. Source: ITU-T H.264, annex A.
const PROFILES: [u8; 4] = [66, 77, 88, 100];

/// Can the decoder in this process take the packet: a plain profile, and no pictures that build on later ones?
pub(super) fn is_simple(packet: &[u8]) -> bool {
    nal_units(packet).all(|unit| match unit.split_first() {
        Some((header, payload)) => match header & 0x1F {
            // A slice.
            1 | 5 => !is_b_slice(payload),
            // A sequence parameter set, which begins with its profile.
            7 => payload.first().is_some_and(|profile| PROFILES.contains(profile)),
            _ => true,
        },
        None => true,
    })
}

/// `slice_type`, the second number of a slice header. Source: ITU-T H.264, 7.3.3 and table 7-6.
fn is_b_slice(payload: &[u8]) -> bool {
    let mut bits = Bits::new(payload);
    let slice_type = bits.exp_golomb().and_then(|_first_macroblock| bits.exp_golomb());
    slice_type.is_some_and(|slice_type| slice_type % 5 == 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn b_slices_and_deep_profiles_are_told() {
        // first_mb 0 is "1"; slice_type P (0) "1", B (1) "010", I (2) "011", B (6) "00111".
        let slice = |bits: u8| [&[0, 0, 1, 0x41][..], &[bits, 0x80]].concat();
        assert!(is_simple(&slice(0b1100_0000)), "P");
        assert!(!is_simple(&slice(0b1010_0000)), "B");
        assert!(is_simple(&slice(0b1011_0000)), "I");
        assert!(!is_simple(&slice(0b1001_1100)), "all B");
        for (profile, expected) in [(66, true), (77, true), (100, true), (110, false), (244, false)] {
            assert_eq!(is_simple(&[0, 0, 1, 0x67, profile, 0, 30]), expected, "{profile}");
        }
    }

    proptest! {
        #[test]
        fn junk_never_panics(data in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = is_simple(&[&[0, 0, 1, 0x41][..], &data].concat());
        }
    }
}
