//! H.264 for decoders that begin in the middle of it, or take over from another: what they have to be given first.

use super::sps::{self, SPS};
use crate::frame::{
    Codec, FrameError, VideoFrame,
    bits::Bits,
    key_frame::{is_key_frame, nal_units},
};

/// Profiles of 8 bits and 4:2:0: baseline, main, extended, high. Source: ITU-T H.264, annex A.
const PROFILES: [u8; 4] = [66, 77, 88, 100];

/// `nal_unit_type` of a picture parameter set. Source: ITU-T H.264, table 7-1.
const PPS: u8 = 8;

/// Most packets since a key frame that are kept for a decoder that takes over: eight seconds' worth. Encoders that make
/// B-frames make them sooner.
const MAX_PACKETS: usize = 240;

/// Most bytes of them.
const MAX_BYTES: usize = 16 << 20;

/// Most bytes of parameter sets; real ones have a few dozen.
const MAX_SETS: usize = 64 << 10;

/// The parameter sets that count, and the packets since the last key frame, as long as B-frames may still come.
#[derive(Debug, Default)]
pub(super) struct Recent {
    sets: Vec<u8>,
    packets: Vec<VideoFrame>,
    bytes: usize,
    /// They were too many to be kept.
    is_cut: bool,
    /// What the stream says of it.
    reorders: Option<bool>,
}

impl Recent {
    /// Takes the sets of a packet that comes next; `true` if there are any.
    pub(super) fn take_sets(&mut self, packet: &[u8]) -> bool {
        if let Some(said) = sps::in_packet(packet) {
            self.sets.clear();
            self.reorders = said.reorders;
        }
        let mut has_sets = false;
        for unit in nal_units(packet).filter(|unit| is_a(unit, SPS) || is_a(unit, PPS)) {
            has_sets = true;
            // Some encoders repeat them with every picture.
            let is_new = memchr::memmem::find(&self.sets, unit).is_none();
            if is_new && self.sets.len() + unit.len() < MAX_SETS {
                self.sets.extend_from_slice(&[0, 0, 0, 1]);
                self.sets.extend_from_slice(unit);
            }
        }
        has_sets
    }

    /// Must the packet be left to ffmpeg: as the stream says that it reorders, or as this packet shows it?
    pub(super) fn needs_ffmpeg(&self, packet: &[u8]) -> bool {
        self.reorders == Some(true) || !is_simple(packet)
    }

    /// Keeps a packet that the decoder in this process has been given.
    #[cfg_attr(
        not(any(feature = "h264", feature = "fuzzing")),
        expect(dead_code, reason = "ffmpeg is there from the beginning")
    )]
    pub(super) fn keep(&mut self, packet: &VideoFrame) {
        if is_key_frame(Codec::H264, packet.frame_data()) {
            self.forget_packets();
        }
        if self.reorders == Some(false) {
            return;
        }
        self.bytes += packet.held_bytes();
        self.is_cut |= self.packets.len() == MAX_PACKETS || self.bytes > MAX_BYTES;
        if self.is_cut {
            self.packets.clear();
        } else {
            self.packets.push(packet.clone());
        }
    }

    /// Those since the last key frame, the key frame first; `None` if they were too many.
    pub(super) fn take_packets(&mut self) -> Option<Vec<VideoFrame>> {
        let packets = (!self.is_cut).then(|| std::mem::take(&mut self.packets));
        self.forget_packets();
        packets.filter(|packets| !packets.is_empty())
    }

    /// The packet with the parameter sets before it; `None` if it brings its own, or the stream has had none.
    pub(super) fn with_sets(&self, packet: &VideoFrame) -> Result<Option<VideoFrame>, FrameError> {
        if self.sets.is_empty() || nal_units(packet.frame_data()).any(|unit| is_a(unit, SPS)) {
            return Ok(None);
        }
        let data = [&self.sets[..], packet.frame_data()].concat();
        let size = Some((packet.width(), packet.height()));
        let whole = VideoFrame::try_new(packet.format(), size, packet.timestamp_ms(), data.into())?;
        let whole = whole.with_place(packet.frame_number(), packet.timestamp_ms());
        Ok(Some(whole.with_metadata(packet.metadata().clone())))
    }

    fn forget_packets(&mut self) {
        self.packets = Vec::new();
        self.bytes = 0;
        self.is_cut = false;
    }
}

fn is_a(unit: &[u8], kind: u8) -> bool {
    unit.first().is_some_and(|header| header & 0x1F == kind)
}

/// Can the decoder in this process take the packet: a plain profile, and no pictures that build on later ones?
fn is_simple(packet: &[u8]) -> bool {
    nal_units(packet).all(|unit| match unit.split_first() {
        Some((header, payload)) => match header & 0x1F {
            // A slice.
            1 | 5 => !is_b_slice(payload),
            // It begins with its profile.
            SPS => payload.first().is_some_and(|profile| PROFILES.contains(profile)),
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
