//! What an H.264 stream says of its colours: in the usability information of its sequence parameter set.
//!
//! Source: ITU-T H.264, 7.3.2.1.1 (the set), E.1.1 (usability information), table E-5 (matrices).

use crate::frame::{
    Matrix, Range,
    bits::{Bits, without_emulation},
    key_frame::nal_units,
};

/// `nal_unit_type` of a sequence parameter set. Source: table 7-1.
const SPS: u8 = 7;

/// Profiles whose sets say how chroma is sampled, and how deep.
const PROFILES_WITH_CHROMA: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// `aspect_ratio_idc` of a ratio that is written out.
const EXTENDED_RATIO: u32 = 255;

/// Most `num_ref_frames_in_pic_order_cnt_cycle`.
const MAX_CYCLE: u32 = 255;

/// Colours, as far as a stream says them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Said {
    pub(super) matrix: Option<Matrix>,
    pub(super) range: Option<Range>,
}

/// What a packet says of the pictures from it on; `None` if it has no parameter set. One that cannot be read says nothing.
pub(super) fn colours(packet: &[u8]) -> Option<Said> {
    let sets = nal_units(packet).filter_map(|unit| match unit.split_first() {
        Some((header, set)) if header & 0x1F == SPS => Some(set),
        Some(_) | None => None,
    });
    sets.last().map(|set| read(&without_emulation(set)).unwrap_or_default())
}

fn read(set: &[u8]) -> Option<Said> {
    let mut bits = Bits::new(set);
    skip_to_usability(&mut bits)?;
    if bits.flag()? { usability(&mut bits) } else { Some(Said::default()) }
}

/// All that comes before `vui_parameters_present_flag`.
fn skip_to_usability(bits: &mut Bits<'_>) -> Option<()> {
    let profile = u8::try_from(bits.read(8)?).ok()?;
    // Constraints and level.
    bits.skip(16)?;
    let _id = bits.exp_golomb()?;
    if PROFILES_WITH_CHROMA.contains(&profile) {
        skip_chroma(bits)?;
    }
    let _frame_number_bits = bits.exp_golomb()?;
    skip_order(bits)?;
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
    Some(())
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
fn skip_order(bits: &mut Bits<'_>) -> Option<()> {
    match bits.exp_golomb()? {
        0 => skip_numbers(bits, 1),
        1 => {
            let _is_always_zero = bits.flag()?;
            skip_numbers(bits, 2)?;
            let count = bits.exp_golomb().filter(|count| *count <= MAX_CYCLE)?;
            skip_numbers(bits, count)
        }
        _ => Some(()),
    }
}

fn usability(bits: &mut Bits<'_>) -> Option<Said> {
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
        return Some(Said::default());
    }
    let _video_format = bits.read(3)?;
    let range = Some(if bits.flag()? { Range::Full } else { Range::Limited });
    let has_colours = bits.flag()?;
    if !has_colours {
        return Some(Said { matrix: None, range });
    }
    // Primaries and transfer.
    bits.skip(16)?;
    let matrix = match bits.read(8)? {
        1 => Some(Matrix::Bt709),
        // The FCC's weights differ from BT.601's in the third digit.
        4..=6 => Some(Matrix::Bt601),
        9 | 10 => Some(Matrix::Bt2020),
        _ => None,
    };
    Some(Said { matrix, range })
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
        let bytes = bits.chunks(8).map(|byte| byte.iter().enumerate().map(|(at, bit)| bit << (7 - at)).sum());
        [&[0, 0, 0, 1, 0x67, profile, 0, 30][..], &bytes.collect::<Vec<u8>>()].concat()
    }

    #[test]
    fn colours_are_read_behind_whatever_comes_before_them() {
        let full_709 = Some(Said { matrix: Some(Matrix::Bt709), range: Some(Range::Full) });
        // Id, frame numbers, order 2, references, gaps, size, frames, direct, no crop.
        let plain = "1 1 011 1 0 1 1 1 1 0";
        // Usability, no ratio, no overscan, signal: format 5, full, colours: 1, 1, 1.
        let said = "1 0 0 1 101 1 1 00000001 00000001 00000001 1";
        assert_eq!(colours(&packet(66, &format!("{plain} {said}"))), full_709);
        // Order 1 with a cycle of two, fields, a crop; a ratio written out, overscan.
        let long = "1 1 010 0 1 1 011 1 1 1 0 1 1 0 1 1 1 1 1 1 1";
        let ratio = format!("1 1 11111111 {:032b} 1 0 1 101 1 1 00000001 00000001 00000001 1", 0x0102_0304);
        assert_eq!(colours(&packet(77, &format!("{long} {ratio}"))), full_709);
        // High: chroma 1, depths, scaling with a list that ends at once (8 - 8, which is number 16), and seven that are not.
        let high = "1 010 1 1 0 1 1 000010001 0000000 1 011 1 0 1 1 1 1 0";
        assert_eq!(colours(&packet(100, &format!("{high} {said}"))), full_709);
        let range_only = "1 0 0 1 101 0 0 1";
        let limited = Some(Said { matrix: None, range: Some(Range::Limited) });
        assert_eq!(colours(&packet(66, &format!("{plain} {range_only}"))), limited);
        assert_eq!(colours(&packet(66, &format!("{plain} 0 1"))), Some(Said::default()), "it says nothing");
        assert_eq!(colours(&packet(66, "1 1")), Some(Said::default()), "cut short");
        assert_eq!(colours(&[0, 0, 1, 0x65, 1]), None, "no parameter set");
    }

    proptest! {
        #[test]
        fn junk_never_panics(data in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = colours(&[&[0, 0, 1, 0x67, 100, 0, 30][..], &data].concat());
        }
    }
}
