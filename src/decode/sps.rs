//! What an H.264 stream says of its colours and of the order of its pictures: in its sequence parameter set, and the
//! usability information there.
//!
//! Source: ITU-T H.264, 7.3.2.1.1 (the set), E.1 (usability information), table E-5 (matrices), A.2 (profiles).

use crate::frame::{
    Matrix, Range,
    bits::{Bits, without_emulation},
    key_frame::nal_units,
};

/// `nal_unit_type` of a sequence parameter set. Source: table 7-1.
pub(super) const SPS: u8 = 7;

/// The profile without B-slices.
const BASELINE: u8 = 66;

/// `pic_order_cnt_type` of pictures that are shown in the order in which they are coded. Source: 8.2.1.3.
const ORDER_OF_DECODING: u32 = 2;

/// Profiles whose sets say how chroma is sampled, and how deep.
const PROFILES_WITH_CHROMA: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// `aspect_ratio_idc` of a ratio that is written out.
const EXTENDED_RATIO: u32 = 255;

/// Most `num_ref_frames_in_pic_order_cnt_cycle`.
const MAX_CYCLE: u32 = 255;

/// Most `cpb_cnt_minus1`.
const MAX_BUFFERS: u32 = 31;

/// As much as a stream says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Said {
    pub(super) matrix: Option<Matrix>,
    pub(super) range: Option<Range>,
    /// May pictures be shown in another order than they are coded in?
    pub(super) reorders: Option<bool>,
}

/// What a packet says of the pictures from it on; `None` if it has no parameter set. One that cannot be read says nothing.
pub(super) fn in_packet(packet: &[u8]) -> Option<Said> {
    let sets = nal_units(packet).filter_map(|unit| match unit.split_first() {
        Some((header, set)) if header & 0x1F == SPS => Some(set),
        Some(_) | None => None,
    });
    sets.last().map(|set| read(&without_emulation(set)))
}

fn read(set: &[u8]) -> Said {
    let mut said = Said::default();
    // What has been read counts, wherever the set is cut short.
    let _ = read_into(&mut said, &mut Bits::new(set));
    said
}

fn read_into(said: &mut Said, bits: &mut Bits<'_>) -> Option<()> {
    let profile = u8::try_from(bits.read(8)?).ok()?;
    said.reorders = (profile == BASELINE).then_some(false);
    if to_usability(bits, profile)? == ORDER_OF_DECODING {
        said.reorders = Some(false);
    }
    let has_usability = bits.flag()?;
    if !has_usability {
        return Some(());
    }
    colours(said, bits)?;
    skip_timing(bits)?;
    let is_restricted = bits.flag()?;
    if is_restricted && said.reorders.is_none() {
        let _moves_over_edges = bits.flag()?;
        // Bytes and bits of a picture and a macroblock, lengths of motion vectors.
        skip_numbers(bits, 4)?;
        said.reorders = Some(bits.exp_golomb()? > 0);
    }
    Some(())
}

/// All that comes before `vui_parameters_present_flag`; gives `pic_order_cnt_type`.
fn to_usability(bits: &mut Bits<'_>, profile: u8) -> Option<u32> {
    // Constraints and level.
    bits.skip(16)?;
    let _id = bits.exp_golomb()?;
    if PROFILES_WITH_CHROMA.contains(&profile) {
        skip_chroma(bits)?;
    }
    let _frame_number_bits = bits.exp_golomb()?;
    let order = order(bits)?;
    let _reference_frames = bits.exp_golomb()?;
    let _has_gaps = bits.flag()?;
    let (_width, _height) = (bits.exp_golomb()?, bits.exp_golomb()?);
    let is_of_frames = bits.flag()?;
    if !is_of_frames {
        let _is_adaptive = bits.flag()?;
    }
    let _infers_direct = bits.flag()?;
    let is_cropped = bits.flag()?;
    if is_cropped {
        skip_numbers(bits, 4)?;
    }
    Some(order)
}

fn skip_chroma(bits: &mut Bits<'_>) -> Option<()> {
    let chroma = bits.exp_golomb()?;
    if chroma == 3 {
        let _planes_are_separate = bits.flag()?;
    }
    // The depths of luma and chroma.
    skip_numbers(bits, 2)?;
    let _bypasses = bits.flag()?;
    let has_scaling = bits.flag()?;
    if has_scaling {
        for list in 0..if chroma == 3 { 12 } else { 8 } {
            if bits.flag()? {
                skip_scaling(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Some(())
}

/// Source: 7.3.2.1.1.1. A list ends where its next number would be 0.
fn skip_scaling(bits: &mut Bits<'_>, len: u32) -> Option<()> {
    let mut next = 8;
    for _ in 0..len {
        next = (next + signed(bits)?).rem_euclid(256);
        if next == 0 {
            break;
        }
    }
    Some(())
}

/// How the order of pictures is told.
fn order(bits: &mut Bits<'_>) -> Option<u32> {
    let order = bits.exp_golomb()?;
    match order {
        0 => skip_numbers(bits, 1)?,
        1 => {
            let _is_always_zero = bits.flag()?;
            skip_numbers(bits, 2)?;
            let count = bits.exp_golomb().filter(|count| *count <= MAX_CYCLE)?;
            skip_numbers(bits, count)?;
        }
        _ => {}
    }
    Some(order)
}

fn colours(said: &mut Said, bits: &mut Bits<'_>) -> Option<()> {
    let has_ratio = bits.flag()?;
    if has_ratio && bits.read(8)? == EXTENDED_RATIO {
        bits.skip(32)?;
    }
    let has_overscan = bits.flag()?;
    if has_overscan {
        let _is_appropriate = bits.flag()?;
    }
    let has_signal = bits.flag()?;
    if !has_signal {
        return Some(());
    }
    let _video_format = bits.read(3)?;
    said.range = Some(if bits.flag()? { Range::Full } else { Range::Limited });
    let has_colours = bits.flag()?;
    if !has_colours {
        return Some(());
    }
    // Primaries and transfer.
    bits.skip(16)?;
    said.matrix = match bits.read(8)? {
        1 => Some(Matrix::Bt709),
        // The FCC's weights differ from BT.601's in the third digit.
        4..=6 => Some(Matrix::Bt601),
        9 | 10 => Some(Matrix::Bt2020),
        _ => None,
    };
    Some(())
}

/// Where chroma lies, how long a picture lasts, and how packets are to arrive.
fn skip_timing(bits: &mut Bits<'_>) -> Option<()> {
    let has_places = bits.flag()?;
    if has_places {
        skip_numbers(bits, 2)?;
    }
    let has_timing = bits.flag()?;
    if has_timing {
        bits.skip(32 + 32 + 1)?;
    }
    let mut has_arrivals = false;
    // Of units, then of pictures.
    for _ in 0..2 {
        if bits.flag()? {
            has_arrivals = true;
            let buffers = bits.exp_golomb().filter(|less_one| *less_one <= MAX_BUFFERS)? + 1;
            bits.skip(8)?;
            for _ in 0..buffers {
                skip_numbers(bits, 2)?;
                bits.skip(1)?;
            }
            bits.skip(20)?;
        }
    }
    if has_arrivals {
        let _is_low_delay = bits.flag()?;
    }
    let _tells_structure = bits.flag()?;
    Some(())
}

fn skip_numbers(bits: &mut Bits<'_>, count: u32) -> Option<()> {
    // Signed ones are as long.
    for _ in 0..count {
        bits.exp_golomb()?;
    }
    Some(())
}

/// Source: 9.1.1: 0, 1, -1, 2, -2, of numbers that are small.
fn signed(bits: &mut Bits<'_>) -> Option<i32> {
    let number = i32::try_from(bits.exp_golomb()?).ok()?;
    let half = number / 2;
    Some(if number % 2 == 1 { half + 1 } else { -half })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A parameter set of so many bits, written as words of ones and zeros.
    fn packet(profile: u8, rest: &str) -> Vec<u8> {
        let bits: Vec<u8> = rest.bytes().filter(|bit| *bit != b' ').map(|bit| bit - b'0').collect();
        let bytes = bits.chunks(8).map(|byte| byte.iter().enumerate().map(|(at, bit)| bit << (7 - at)).sum::<u8>());
        [&[0, 0, 0, 1, 0x67, profile, 0, 30][..], &bytes.collect::<Vec<u8>>()].concat()
    }

    #[test]
    fn colours_are_read_behind_whatever_comes_before_them() {
        let full_709 = Said { matrix: Some(Matrix::Bt709), range: Some(Range::Full), reorders: None };
        let in_order = Said { reorders: Some(false), ..full_709 };
        // Id, frame numbers, order 2, references, gaps, size, frames, direct, no crop.
        let plain = "1 1 011 1 0 1 1 1 1 0";
        // Usability, no ratio, no overscan, signal: format 5, full, colours: 1, 1, 1.
        let said = "1 0 0 1 101 1 1 00000001 00000001 00000001 1";
        assert_eq!(in_packet(&packet(66, &format!("{plain} {said}"))), Some(in_order));
        // Order 1 with a cycle of two, fields, a crop; a ratio written out, overscan.
        let long = "1 1 010 0 1 1 011 1 1 1 0 1 1 0 1 1 1 1 1 1 1";
        let ratio = format!("1 1 11111111 {:032b} 1 0 1 101 1 1 00000001 00000001 00000001 1", 0x0102_0304);
        assert_eq!(in_packet(&packet(77, &format!("{long} {ratio}"))), Some(full_709));
        // High: chroma 1, depths, scaling with a list that ends at once (8 - 8, which is number 16), and seven that are not.
        let high = "1 010 1 1 0 1 1 000010001 0000000 1 011 1 0 1 1 1 1 0";
        assert_eq!(in_packet(&packet(100, &format!("{high} {said}"))), Some(in_order));
        let range_only = "1 0 0 1 101 0 0 1";
        let limited = Some(Said { matrix: None, range: Some(Range::Limited), reorders: Some(false) });
        assert_eq!(in_packet(&packet(66, &format!("{plain} {range_only}"))), limited);
        let says_nothing = Some(Said { reorders: Some(false), ..Said::default() });
        assert_eq!(in_packet(&packet(66, &format!("{plain} 0 1"))), says_nothing, "no more");
        assert_eq!(in_packet(&packet(66, "1 1")), says_nothing, "cut short");
        assert_eq!(in_packet(&packet(77, "1 1")), Some(Said::default()), "main profile, cut short");
        assert_eq!(in_packet(&[0, 0, 1, 0x65, 1]), None, "no parameter set");
    }

    #[test]
    fn the_order_of_pictures_is_read_behind_timing() {
        // Order 0, which leaves it open; usability without ratio, overscan, signal.
        let open = "1 1 1 1 1 0 1 1 1 1 0  1 0 0 0";
        // Places 0 and 0; two numbers for ticks, fixed; arrivals of units: one buffer, scales, its three, four lengths; low delay.
        let timing = format!("1 1 1  1 {0:032b} {0:032b} 1  1 1 01010101 1 1 0 {1:020b}  0  1", 0x5555_5555, 0x5_5555);
        for (references, expected) in [("1", false), ("010", true), ("011", true)] {
            for timing in ["0 0 0 0", &timing] {
                // A structure is told; restricted: edges, four numbers, how many are held back.
                let set = format!("{open} {timing} 1  1 1 1 1 1 1 {references} 1 1");
                let said = in_packet(&packet(77, &set)).unwrap();
                assert_eq!(said.reorders, Some(expected), "{set}");
            }
        }
        let said = in_packet(&packet(77, &format!("{open} 0 0 0 0 1  0 1"))).unwrap();
        assert_eq!(said.reorders, None, "it does not say");
    }

    proptest! {
        #[test]
        fn junk_never_panics(data in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = in_packet(&[&[0, 0, 1, 0x67, 100, 0, 30][..], &data].concat());
        }
    }
}
