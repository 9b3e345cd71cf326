//! AV1 as Matroska has it: the sequence header in the track's header, no temporal delimiters.
//!
//! Source: "Carriage of AV1 in Matroska"; AV1 Bitstream Specification, 5.3 to 5.5.

use crate::frame::bits::Bits;

const SEQUENCE_HEADER: u8 = 1;
const TEMPORAL_DELIMITER: u8 = 2;

/// `matrix_coefficients` and its neighbours of RGB that is coded as it is.
const SRGB: (u32, u32, u32) = (1, 13, 0);

/// An open bitstream unit.
struct Unit<'a> {
    kind: u8,
    /// With its header.
    whole: &'a [u8],
    payload: &'a [u8],
}

/// The units of a packet; one of a length that cannot be ends them.
fn units(mut data: &[u8]) -> impl Iterator<Item = Unit<'_>> {
    std::iter::from_fn(move || {
        let header = *data.first()?;
        let (has_extension, has_size) = (header & 4 != 0, header & 2 != 0);
        let begin = if has_extension { 2 } else { 1 };
        let rest = data.get(begin..)?;
        let (begin, len) = if has_size {
            let (len, bytes) = leb128(rest)?;
            (begin + bytes, len)
        } else {
            (begin, rest.len())
        };
        let end = begin.checked_add(len)?;
        let (whole, next) = data.split_at_checked(end)?;
        data = next;
        Some(Unit { kind: header >> 3 & 0xF, whole, payload: whole.get(begin..)? })
    })
}

/// A number, and the bytes that it takes.
fn leb128(data: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0_u64;
    for (index, byte) in data.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7F) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, index + 1));
        }
    }
    None
}

/// The track's private bytes, from a key frame that brings its sequence header.
pub(super) fn configuration(packet: &[u8]) -> Option<Vec<u8>> {
    let header = units(packet).find(|unit| unit.kind == SEQUENCE_HEADER)?;
    let [first, second] = Sequence::parse(header.payload)?.describe();
    let mut record = vec![0x81, first, second, 0];
    record.extend_from_slice(header.whole);
    Some(record)
}

/// The packet without delimiters: the container tells its packets apart.
pub(super) fn sample(packet: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(packet.len());
    let mut seen = 0;
    for unit in units(packet) {
        seen += unit.whole.len();
        if unit.kind != TEMPORAL_DELIMITER {
            bytes.extend_from_slice(unit.whole);
        }
    }
    // What is no unit is not ours to leave out.
    bytes.extend_from_slice(packet.get(seen..).unwrap_or_default());
    bytes
}

/// What the track's header repeats of a sequence header.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sequence {
    profile: u32,
    level: u32,
    tier: bool,
    is_deep: bool,
    is_twelve_bit: bool,
    is_monochrome: bool,
    subsampling: (bool, bool),
    sample_position: u32,
}

impl Sequence {
    fn describe(&self) -> [u8; 2] {
        let Self { profile, level, tier, is_deep, is_twelve_bit, is_monochrome, subsampling, sample_position } = *self;
        let flags = [tier, is_deep, is_twelve_bit, is_monochrome, subsampling.0, subsampling.1];
        let flags = flags.into_iter().fold(0, |bits, flag| bits << 1 | u32::from(flag));
        [profile << 5 | level, flags << 2 | sample_position].map(|byte| u8::try_from(byte).unwrap_or(0))
    }

    /// Source: AV1 Bitstream Specification, 5.5.1.
    fn parse(payload: &[u8]) -> Option<Self> {
        let mut bits = Bits::new(payload);
        let mut this = Self { profile: bits.read(3)?, ..Self::default() };
        bits.flag()?;
        let is_reduced = bits.flag()?;
        if is_reduced {
            this.level = bits.read(5)?;
        } else {
            this.operating_points(&mut bits)?;
        }
        let (width_bits, height_bits) = (bits.read(4)? + 1, bits.read(4)? + 1);
        bits.skip(width_bits + height_bits)?;
        if !is_reduced && bits.flag()? {
            bits.skip(4 + 3)?;
        }
        bits.skip(3)?;
        if !is_reduced {
            tools(&mut bits)?;
        }
        bits.skip(3)?;
        this.colours(&mut bits)?;
        Some(this)
    }

    fn operating_points(&mut self, bits: &mut Bits<'_>) -> Option<()> {
        let mut delay_bits = None;
        if bits.flag()? {
            bits.skip(32 + 32)?;
            if bits.flag()? {
                bits.exp_golomb()?;
            }
            if bits.flag()? {
                delay_bits = Some(bits.read(5)? + 1);
                bits.skip(32 + 5 + 5)?;
            }
        }
        let has_display_delay = bits.flag()?;
        let count = bits.read(5)? + 1;
        for index in 0..count {
            bits.skip(12)?;
            let level = bits.read(5)?;
            let tier = level > 7 && bits.flag()?;
            if index == 0 {
                (self.level, self.tier) = (level, tier);
            }
            if let Some(delay_bits) = delay_bits
                && bits.flag()?
            {
                bits.skip(2 * delay_bits + 1)?;
            }
            if has_display_delay && bits.flag()? {
                bits.skip(4)?;
            }
        }
        Some(())
    }

    /// Source: AV1 Bitstream Specification, 5.5.2.
    fn colours(&mut self, bits: &mut Bits<'_>) -> Option<()> {
        self.is_deep = bits.flag()?;
        self.is_twelve_bit = self.profile == 2 && self.is_deep && bits.flag()?;
        self.is_monochrome = self.profile != 1 && bits.flag()?;
        let described = if bits.flag()? { Some((bits.read(8)?, bits.read(8)?, bits.read(8)?)) } else { None };
        if self.is_monochrome {
            self.subsampling = (true, true);
            return Some(());
        }
        if described == Some(SRGB) {
            return Some(());
        }
        bits.flag()?;
        self.subsampling = match self.profile {
            0 => (true, true),
            1 => (false, false),
            _ if self.is_twelve_bit => {
                let across = bits.flag()?;
                (across, across && bits.flag()?)
            }
            _ => (true, false),
        };
        if self.subsampling == (true, true) {
            self.sample_position = bits.read(2)?;
        }
        Some(())
    }
}

/// Coding tools that the header switches on or off.
fn tools(bits: &mut Bits<'_>) -> Option<()> {
    bits.skip(4)?;
    let has_order_hint = bits.flag()?;
    if has_order_hint {
        bits.skip(2)?;
    }
    let chooses_screen_content = bits.flag()?;
    let may_be_screen_content = chooses_screen_content || bits.flag()?;
    if may_be_screen_content && !bits.flag()? {
        bits.skip(1)?;
    }
    if has_order_hint { bits.skip(3) } else { Some(()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The first packet of `ffmpeg -f lavfi -i testsrc2=s=64x48 -c:v libaom-av1 -cpu-used 8`, its frame cut off.
    const KEY_FRAME: [u8; 15] = [0x12, 0, 0x0A, 0x0A, 0, 0, 0, 0x02, 0xAF, 0xF7, 0x9B, 0x5F, 0x20, 0x08, 0x32];

    #[test]
    fn the_sequence_header_becomes_the_tracks_header_and_delimiters_go() {
        let record = configuration(&KEY_FRAME).unwrap();
        assert_eq!(record[..4], [0x81, 0, 0x0C, 0], "main profile, level 2.0, 4:2:0");
        assert_eq!(record[4..], KEY_FRAME[2..14]);
        assert_eq!(sample(&KEY_FRAME), KEY_FRAME[2..]);
        assert_eq!(configuration(&[0x12, 0, 0x32, 1, 0]), None);
    }

    proptest! {
        #[test]
        fn junk_never_panics_and_loses_only_delimiters(data in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = configuration(&data);
            let delimiters: usize =
                units(&data).filter(|unit| unit.kind == TEMPORAL_DELIMITER).map(|unit| unit.whole.len()).sum();
            prop_assert_eq!(sample(&data).len(), data.len() - delimiters);
        }
    }
}
