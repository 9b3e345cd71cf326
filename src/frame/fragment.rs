//! Packets in parts: a WebRTC data channel carries at most 256 KiB in a message.
//!
//! A fragment is a header of 16 bytes, little-endian, and a part of the packet:
//!
//! ```text
//! [0..4) packet_id u32 · [4..6) index u16 · [6] version u8 = 1 · [7] marker u8 = 255 · [8..10) count u16 ·
//! [10..12) reserved u16 = 0 · [12..16) packet_bytes u32 · [16..] part
//! ```
//!
//! Every part but the last has `packet_bytes / count` bytes, rounded up. Byte 7 tells a fragment from a packet: there it
//! is the highest of `timestamp_ms`, which is below 2^53.

use std::collections::VecDeque;

use byteorder::{ByteOrder, LittleEndian};
use bytes::{Bytes, BytesMut};

use super::{MAX_FRAME_BYTES, packet};
use crate::error::ErrorKind;

/// Bytes before a part.
pub const HEADER_BYTES: usize = 16;

/// Longest message of a data channel, in bytes, header included. Source: Chromium closes the channel on a longer one.
pub const MAX_FRAGMENT_BYTES: usize = 256 << 10;

/// Packets that may be incomplete at the same time; the oldest is given up for a fifth.
const MAX_IN_PROGRESS: usize = 4;

/// Packets of which it is remembered that they were complete or given up, so that a late part is no new packet.
const MAX_REMEMBERED: usize = 16;

/// Most parts of a packet: 12 KiB each for the longest one, less than any channel carries.
const MAX_PARTS: u16 = 4096;

const VERSION: u8 = 1;
const MARKER: u8 = 0xFF;

/// Longest packet, in bytes.
const MAX_PACKET_BYTES: usize = packet::HEADER_BYTES + MAX_FRAME_BYTES;

/// Why a message is no part of a packet. The packet that it names is given up.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each field is named in its variant's message")]
pub enum FragmentError {
    /// It ends inside its header, or right behind it.
    #[error("fragment of {len} bytes has no part behind its header of {HEADER_BYTES} bytes")]
    TooShort { len: usize },

    /// It was made by rules that this version does not know.
    #[error("fragments of version {version} are not known, only of {VERSION}")]
    Version { version: u8 },

    /// Bytes that have no meaning yet.
    #[error("the fragment's reserved bytes are {reserved}, not 0")]
    Reserved { reserved: u16 },

    /// No such part, or more of them than a packet may have.
    #[error("fragment {index} of {count}; at most {MAX_PARTS} are possible")]
    Index { index: u16, count: u16 },

    /// The whole would be longer than a packet may be.
    #[error("a packet of {packet_bytes} bytes exceeds the limit of {MAX_PACKET_BYTES} bytes")]
    TooLong { packet_bytes: usize },

    /// The part is not as long as its place says.
    #[error("fragment {index} has {got} bytes, and its place in the packet {expected}")]
    PartLength { index: u16, expected: usize, got: usize },

    /// Two parts of one packet disagree about it.
    #[error("packet {packet_id} has {count} parts and {packet_bytes} bytes; another part of it said otherwise")]
    Contradiction { packet_id: u32, count: u16, packet_bytes: usize },
}

impl FragmentError {
    /// Class reported to peers.
    pub const fn kind(&self) -> ErrorKind {
        ErrorKind::InvalidArgument
    }
}

/// What became of packets that came in parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FragmentCounts {
    /// Packets put together.
    pub completed: u64,
    /// Packets given up: parts of them were lost.
    pub lost: u64,
    /// Parts that had come before.
    pub repeated: u64,
}

/// The messages that carry a packet: itself, if it fits, or its parts in order.
///
/// `packet_id`: another one for each packet of a channel.
pub fn split(packet_id: u32, packet: &Bytes) -> Vec<Bytes> {
    if packet.len() <= MAX_FRAGMENT_BYTES {
        return vec![packet.clone()];
    }
    let count = packet.len().div_ceil(MAX_FRAGMENT_BYTES - HEADER_BYTES);
    let part_bytes = packet.len().div_ceil(count);
    // At most 48 MiB, so both fit.
    let (count, packet_bytes) = (u16::try_from(count).unwrap_or(u16::MAX), u32::try_from(packet.len()).unwrap_or(0));
    let message = |(index, part): (u16, &[u8])| {
        let mut message = BytesMut::with_capacity(HEADER_BYTES + part.len());
        message.extend_from_slice(&packet_id.to_le_bytes());
        message.extend_from_slice(&index.to_le_bytes());
        message.extend_from_slice(&[VERSION, MARKER]);
        message.extend_from_slice(&count.to_le_bytes());
        message.extend_from_slice(&[0, 0]);
        message.extend_from_slice(&packet_bytes.to_le_bytes());
        message.extend_from_slice(part);
        message.freeze()
    };
    (0..count).zip(packet.chunks(part_bytes)).map(message).collect()
}

/// Puts packets together again. Parts may come in any order; memory is held for those that came.
#[derive(Debug, Default)]
pub struct Reassembler {
    in_progress: VecDeque<Partial>,
    over: VecDeque<u32>,
    counts: FragmentCounts,
}

#[derive(Debug)]
struct Partial {
    packet_id: u32,
    count: u16,
    packet_bytes: usize,
    parts: Vec<Option<Bytes>>,
    missing: usize,
}

struct Header {
    packet_id: u32,
    index: u16,
    count: u16,
    packet_bytes: usize,
}

impl Reassembler {
    /// Takes a channel's next message: a packet, which is handed back at once, or a part of one, which hands back the
    /// packet that it completes.
    ///
    /// # Errors
    ///
    /// [`FragmentError`]; other packets are not affected.
    pub fn push(&mut self, message: Bytes) -> Result<Option<Bytes>, FragmentError> {
        if message.get(7) != Some(&MARKER) {
            return Ok(Some(message));
        }
        let header = match Header::read(&message) {
            Ok(header) => header,
            Err(error) => {
                if let Some(id) = message.get(..4) {
                    self.give_up(LittleEndian::read_u32(id));
                }
                return Err(error);
            }
        };
        if self.over.contains(&header.packet_id) {
            self.counts.repeated += 1;
            return Ok(None);
        }
        let at = self.find_or_begin(&header);
        let Some(partial) = self.in_progress.get_mut(at) else {
            return Ok(None);
        };
        if (partial.count, partial.packet_bytes) != (header.count, header.packet_bytes) {
            let Header { packet_id, count, packet_bytes, .. } = header;
            self.give_up(packet_id);
            return Err(FragmentError::Contradiction { packet_id, count, packet_bytes });
        }
        match partial.parts.get_mut(usize::from(header.index)) {
            Some(place @ None) => {
                *place = Some(message.slice(HEADER_BYTES..));
                partial.missing -= 1;
            }
            Some(Some(_)) | None => self.counts.repeated += 1,
        }
        if partial.missing > 0 {
            return Ok(None);
        }
        let mut packet = BytesMut::with_capacity(partial.packet_bytes);
        for part in partial.parts.iter().flatten() {
            packet.extend_from_slice(part);
        }
        self.in_progress.remove(at);
        self.counts.completed += 1;
        self.remember(header.packet_id);
        Ok(Some(packet.freeze()))
    }

    /// What became of the packets so far.
    pub const fn counts(&self) -> FragmentCounts {
        self.counts
    }

    fn find_or_begin(&mut self, header: &Header) -> usize {
        if let Some(at) = self.in_progress.iter().position(|partial| partial.packet_id == header.packet_id) {
            return at;
        }
        if self.in_progress.len() == MAX_IN_PROGRESS
            && let Some(oldest) = self.in_progress.front()
        {
            self.give_up(oldest.packet_id);
        }
        let count = usize::from(header.count);
        self.in_progress.push_back(Partial {
            packet_id: header.packet_id,
            count: header.count,
            packet_bytes: header.packet_bytes,
            parts: vec![None; count],
            missing: count,
        });
        self.in_progress.len() - 1
    }

    fn give_up(&mut self, packet_id: u32) {
        let before = self.in_progress.len();
        self.in_progress.retain(|partial| partial.packet_id != packet_id);
        if self.in_progress.len() < before {
            self.counts.lost += 1;
            self.remember(packet_id);
        }
    }

    fn remember(&mut self, packet_id: u32) {
        if self.over.len() == MAX_REMEMBERED {
            self.over.pop_front();
        }
        self.over.push_back(packet_id);
    }
}

impl Header {
    fn read(message: &[u8]) -> Result<Self, FragmentError> {
        let len = message.len();
        let Some((header, part)) = message.split_first_chunk::<HEADER_BYTES>().filter(|(_, part)| !part.is_empty())
        else {
            return Err(FragmentError::TooShort { len });
        };
        let [i0, i1, i2, i3, x0, x1, version, _, c0, c1, r0, r1, b0, b1, b2, b3] = *header;
        let (index, count) = (u16::from_le_bytes([x0, x1]), u16::from_le_bytes([c0, c1]));
        let packet_bytes = usize::try_from(u32::from_le_bytes([b0, b1, b2, b3])).unwrap_or(usize::MAX);
        let reserved = u16::from_le_bytes([r0, r1]);
        if version != VERSION {
            return Err(FragmentError::Version { version });
        }
        if reserved != 0 {
            return Err(FragmentError::Reserved { reserved });
        }
        if index >= count || count > MAX_PARTS {
            return Err(FragmentError::Index { index, count });
        }
        if packet_bytes > MAX_PACKET_BYTES {
            return Err(FragmentError::TooLong { packet_bytes });
        }
        let part_bytes = packet_bytes.div_ceil(usize::from(count));
        let begin = part_bytes * usize::from(index);
        let expected = packet_bytes.saturating_sub(begin).min(part_bytes);
        if part.len() != expected {
            return Err(FragmentError::PartLength { index, expected, got: part.len() });
        }
        Ok(Self { packet_id: u32::from_le_bytes([i0, i1, i2, i3]), index, count, packet_bytes })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(len: usize) -> Bytes {
        // Byte 7 belongs to the timestamp.
        let mut bytes: Vec<u8> = (0..len).map(|at| at.to_le_bytes()[0]).collect();
        bytes[7] = 0;
        bytes.into()
    }

    #[test]
    fn a_packet_that_fits_travels_as_it_is() {
        for len in [17, MAX_FRAGMENT_BYTES] {
            let messages = split(1, &packet(len));
            assert_eq!(messages, [packet(len)]);
            assert_eq!(Reassembler::default().push(packet(len)), Ok(Some(packet(len))));
        }
        let messages = split(1, &packet(MAX_FRAGMENT_BYTES + 1));
        assert_eq!(messages.len(), 2);
        assert!(messages.iter().all(|message| message.len() <= MAX_FRAGMENT_BYTES));
    }

    #[test]
    fn the_oldest_of_too_many_packets_is_lost() {
        let mut reassembler = Reassembler::default();
        let packets: Vec<_> = (0..5).map(|id| split(id, &packet(300_000))).collect();
        for messages in &packets {
            assert_eq!(reassembler.push(messages[0].clone()), Ok(None));
        }
        assert_eq!(reassembler.counts().lost, 1);
        assert_eq!(reassembler.push(packets[0][1].clone()), Ok(None), "of the one that was lost");
        for messages in &packets[1..] {
            assert_eq!(reassembler.push(messages[1].clone()), Ok(Some(packet(300_000))));
        }
        assert_eq!(reassembler.counts(), FragmentCounts { completed: 4, lost: 1, repeated: 1 });
    }

    #[test]
    fn repeated_parts_are_counted_and_ignored() {
        let mut reassembler = Reassembler::default();
        let messages = split(9, &packet(600_000));
        for message in [&messages[0], &messages[0], &messages[2]] {
            assert_eq!(reassembler.push(message.clone()), Ok(None));
        }
        assert_eq!(reassembler.push(messages[1].clone()), Ok(Some(packet(600_000))));
        assert_eq!(reassembler.push(messages[1].clone()), Ok(None));
        assert_eq!(reassembler.counts(), FragmentCounts { completed: 1, lost: 0, repeated: 2 });
    }

    #[test]
    fn what_contradicts_itself_is_named() {
        let good = split(7, &packet(300_000));
        let check = |change: fn(&mut Vec<u8>), expected: FragmentError| {
            let mut reassembler = Reassembler::default();
            reassembler.push(good[0].clone()).unwrap();
            let mut message = good[1].to_vec();
            change(&mut message);
            assert_eq!(reassembler.push(message.into()), Err(expected));
            assert_eq!(reassembler.counts().lost, 1, "the packet is given up");
        };
        check(|message| message.truncate(HEADER_BYTES), FragmentError::TooShort { len: HEADER_BYTES });
        check(|message| message.truncate(8), FragmentError::TooShort { len: 8 });
        check(|message| message[6] = 2, FragmentError::Version { version: 2 });
        check(|message| message[10] = 1, FragmentError::Reserved { reserved: 1 });
        check(|message| message[4] = 2, FragmentError::Index { index: 2, count: 2 });
        check(|message| message[8] = 0, FragmentError::Index { index: 1, count: 0 });
        check(|message| message[15] = 0xFF, FragmentError::TooLong { packet_bytes: 0xFF04_93E0 });
        check(|message| message.push(0), FragmentError::PartLength { index: 1, expected: 150_000, got: 150_001 });
        check(
            |message| {
                message[12] += 2;
                message.push(0);
            },
            FragmentError::Contradiction { packet_id: 7, count: 2, packet_bytes: 300_002 },
        );
    }

    proptest! {
        #[test]
        fn junk_never_panics(mut junk in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(marker) = junk.get_mut(7) {
                *marker = MARKER;
            }
            let _ = Reassembler::default().push(junk.into());
        }

        #[test]
        fn parts_in_any_order_make_the_packet(len in MAX_FRAGMENT_BYTES..2_000_000, seed: u64) {
            let mut messages = split(3, &packet(len));
            let mut state = seed;
            for last in (1..messages.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                messages.swap(last, usize::try_from(state >> 33).unwrap() % (last + 1));
            }
            let mut reassembler = Reassembler::default();
            let whole: Vec<_> = messages.into_iter().filter_map(|message| reassembler.push(message).unwrap()).collect();
            prop_assert_eq!(whole, [packet(len)]);
        }
    }
}
