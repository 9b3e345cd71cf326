//! Writes Matroska: one video track, times in whole milliseconds, the unit that streams have, too.
//!
//! ```text
//! EBML head
//! Segment                      its length is written in the end
//!   SeekHead                   room; written in the end
//!   Info                       the duration is written in the end
//!   Tracks, Tags
//!   Cluster, Cluster, …        a second or more each, from key frame to key frame where there are such
//!   Cues                       where the clusters are
//! ```
//!
//! Every picture is written at once and nothing before it has to be known: what is there can be read at any moment. What
//! "is written in the end" only makes reading faster; a pipe goes without.
//!
//! Source: RFC 9559.

use super::{
    RecordError,
    ebml::{UNKNOWN_LENGTH, element, head, long_length, master, number, text, void},
    track::Track,
};

/// Span of a cluster before another one begins with the next key frame, in milliseconds.
const CLUSTER_MS: u64 = 1000;

/// Span of a cluster that no key frame ends, in milliseconds: times in it are signed numbers of 16 bits.
const MAX_CLUSTER_MS: u64 = 30_000;

/// Most entries of the index (16 bytes each): a day of clusters. Readers search what lies behind.
const MAX_CUES: usize = 100_000;

const EBML_HEAD: u32 = 0x1A45_DFA3;
const SEGMENT: u32 = 0x1853_8067;
const SEEK_HEAD: u32 = 0x114D_9B74;
const INFO: u32 = 0x1549_A966;
const TRACKS: u32 = 0x1654_AE6B;
const TAGS: u32 = 0x1254_C367;
const CLUSTER: u32 = 0x1F43_B675;
const SIMPLE_BLOCK: u32 = 0xA3;
const CUES: u32 = 0x1C53_BB6B;

/// Bytes of a `SeekHead` with [`SEEK_ENTRIES`].
const SEEK_HEAD_BYTES: usize = 5 + SEEK_ENTRIES * 21;
const SEEK_ENTRIES: usize = 4;

/// Bytes of the duration's element.
const DURATION_BYTES: usize = 11;

/// Bytes of an id of four bytes.
const ID_BYTES: u64 = 4;

/// Where the file goes.
pub(super) trait Sink {
    /// Writes all of it behind what is there.
    fn append(&mut self, bytes: &[u8]) -> Result<(), RecordError>;

    /// Writes over what is there. A pipe cannot, and does nothing.
    fn patch(&mut self, at: u64, bytes: &[u8]) -> Result<(), RecordError>;

    /// Can it be written over?
    fn is_file(&self) -> bool;
}

/// A file that is being written.
pub(super) struct Muxer<S> {
    sink: S,
    /// Bytes written.
    len: u64,
    /// Where the segment's body begins: positions count from there.
    segment: u64,
    /// Where the duration's room is.
    duration: u64,
    /// Positions of what the seek head names.
    parts: Vec<(u32, u64)>,
    cluster: Option<Cluster>,
    cues: Vec<Cue>,
    last_ms: u64,
    gap_ms: u64,
}

#[derive(Debug, Clone, Copy)]
struct Cluster {
    /// Of its first byte, from the file's.
    at: u64,
    begin_ms: u64,
}

#[derive(Debug, Clone, Copy)]
struct Cue {
    time_ms: u64,
    /// From the segment's body.
    at: u64,
}

impl<S: Sink> Muxer<S> {
    /// Writes what comes before the first picture. `tags`: names in capitals, and what they say.
    pub(super) fn begin(sink: S, track: &Track, tags: &[(&str, String)]) -> Result<Self, RecordError> {
        let mut this = Self {
            sink,
            len: 0,
            segment: 0,
            duration: 0,
            parts: Vec::new(),
            cluster: None,
            cues: Vec::new(),
            last_ms: 0,
            gap_ms: 1,
        };
        this.append(&ebml_head())?;
        this.append(&SEGMENT.to_be_bytes())?;
        this.append(&UNKNOWN_LENGTH)?;
        this.segment = this.len;
        this.append(&void(SEEK_HEAD_BYTES))?;
        let app = concat!("framehost ", env!("CARGO_PKG_VERSION"));
        let info = [void(DURATION_BYTES), number(0x2A_D7B1, 1_000_000), text(0x4D80, app), text(0x5741, app)].concat();
        let info_head = head(INFO, info.len());
        this.duration = this.len + bytes(info_head.len());
        this.part(INFO, &[info_head, info].concat())?;
        this.part(TRACKS, &master(TRACKS, &[track.entry()]))?;
        this.part(TAGS, &tags_element(tags))?;
        Ok(this)
    }

    /// Writes a picture. `time_ms`: later than the last one's.
    pub(super) fn write(&mut self, time_ms: u64, is_key_frame: bool, sample: &[u8]) -> Result<(), RecordError> {
        let begin_ms = match self.cluster {
            Some(Cluster { begin_ms, .. }) if !ends(time_ms.saturating_sub(begin_ms), is_key_frame) => begin_ms,
            _ => {
                self.end_cluster()?;
                self.begin_cluster(time_ms, is_key_frame)?;
                time_ms
            }
        };
        // Below `MAX_CLUSTER_MS`, which fits.
        let relative = i16::try_from(time_ms.saturating_sub(begin_ms)).unwrap_or(i16::MAX).to_be_bytes();
        let flags = if is_key_frame { 0x80 } else { 0 };
        let mut block = head(SIMPLE_BLOCK, 4 + sample.len());
        block.extend_from_slice(&[0x81, relative[0], relative[1], flags]);
        self.append(&block)?;
        self.append(sample)?;
        self.gap_ms = time_ms.saturating_sub(self.last_ms).max(1);
        self.last_ms = time_ms;
        Ok(())
    }

    /// Writes what is known only now.
    pub(super) fn finish(mut self) -> Result<S, RecordError> {
        self.end_cluster()?;
        if !self.sink.is_file() {
            return Ok(self.sink);
        }
        let cues: Vec<_> = self.cues.iter().map(|cue| cue.element()).collect();
        if !cues.is_empty() {
            self.part(CUES, &master(CUES, &cues))?;
        }
        let entries: Vec<_> = self.parts.iter().map(|(id, at)| seek_entry(*id, *at)).collect();
        // Room for as many has been left; without an index it is one fewer.
        let mut seek_head = master(SEEK_HEAD, &entries);
        if seek_head.len() < SEEK_HEAD_BYTES {
            seek_head.extend_from_slice(&void(SEEK_HEAD_BYTES - seek_head.len()));
        }
        self.sink.patch(self.segment, &seek_head)?;
        #[expect(clippy::cast_precision_loss, reason = "times are below 2^53")]
        let duration = (self.last_ms + self.gap_ms) as f64;
        self.sink.patch(self.duration, &element(0x4489, &duration.to_be_bytes()))?;
        let segment_len = long_length(self.len - self.segment);
        self.sink.patch(self.segment - bytes(segment_len.len()), &segment_len)?;
        Ok(self.sink)
    }

    fn begin_cluster(&mut self, time_ms: u64, is_key_frame: bool) -> Result<(), RecordError> {
        let at = self.len;
        if is_key_frame && self.sink.is_file() && self.cues.len() < MAX_CUES {
            self.cues.push(Cue { time_ms, at: at - self.segment });
        }
        self.append(&[&CLUSTER.to_be_bytes()[..], &UNKNOWN_LENGTH, &number(0xE7, time_ms)].concat())?;
        self.cluster = Some(Cluster { at, begin_ms: time_ms });
        Ok(())
    }

    fn end_cluster(&mut self) -> Result<(), RecordError> {
        let Some(Cluster { at, .. }) = self.cluster.take() else {
            return Ok(());
        };
        let length_at = at + ID_BYTES;
        let body = length_at + bytes(UNKNOWN_LENGTH.len());
        self.sink.patch(length_at, &long_length(self.len - body))
    }

    /// Writes an element that the seek head will name.
    fn part(&mut self, id: u32, whole: &[u8]) -> Result<(), RecordError> {
        self.parts.push((id, self.len - self.segment));
        self.append(whole)
    }

    fn append(&mut self, added: &[u8]) -> Result<(), RecordError> {
        self.sink.append(added)?;
        self.len += bytes(added.len());
        Ok(())
    }
}

impl Cue {
    fn element(self) -> Vec<u8> {
        let place = master(0xB7, &[number(0xF7, 1), number(0xF1, self.at)]);
        master(0xBB, &[number(0xB3, self.time_ms), place])
    }
}

/// Does a picture so long after its cluster's first one begin another?
const fn ends(span_ms: u64, is_key_frame: bool) -> bool {
    span_ms >= if is_key_frame { CLUSTER_MS } else { MAX_CLUSTER_MS }
}

fn ebml_head() -> Vec<u8> {
    let versions = [number(0x4286, 1), number(0x42F7, 1), number(0x42F2, 4), number(0x42F3, 8)].concat();
    let kind = [text(0x4282, "matroska"), number(0x4287, 4), number(0x4285, 2)].concat();
    element(EBML_HEAD, &[versions, kind].concat())
}

fn tags_element(tags: &[(&str, String)]) -> Vec<u8> {
    let simple = |(name, value): &(&str, String)| master(0x67C8, &[text(0x45A3, name), text(0x4487, value)]);
    // Of the whole file: no targets.
    let tag: Vec<_> = std::iter::once(element(0x63C0, &[])).chain(tags.iter().map(simple)).collect();
    master(TAGS, &[master(0x7373, &tag)])
}

/// Always 21 bytes.
fn seek_entry(id: u32, at: u64) -> Vec<u8> {
    master(0x4DBB, &[element(0x53AB, &id.to_be_bytes()), element(0x53AC, &at.to_be_bytes())])
}

fn bytes(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Memory as a file, or as a pipe.
    struct Memory {
        bytes: Vec<u8>,
        is_file: bool,
    }

    impl Sink for Memory {
        fn append(&mut self, bytes: &[u8]) -> Result<(), RecordError> {
            self.bytes.extend_from_slice(bytes);
            Ok(())
        }

        fn patch(&mut self, at: u64, bytes: &[u8]) -> Result<(), RecordError> {
            if self.is_file {
                let at = usize::try_from(at).unwrap();
                self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
            }
            Ok(())
        }

        fn is_file(&self) -> bool {
            self.is_file
        }
    }

    type Written = Vec<(u64, bool, Vec<u8>)>;

    fn write(pictures: &Written, is_file: bool) -> Vec<u8> {
        let track = Track::plain("V_VP8", 64, 48);
        let tags = [("FIRST", "7".to_owned())];
        let mut muxer = Muxer::begin(Memory { bytes: Vec::new(), is_file }, &track, &tags).unwrap();
        for (time_ms, is_key_frame, sample) in pictures {
            muxer.write(*time_ms, *is_key_frame, sample).unwrap();
        }
        muxer.finish().unwrap().bytes
    }

    const MASTERS: [u32; 3] = [SEGMENT, CLUSTER, CUES];

    /// A number with its marker bit, and how many bytes it takes; `None` if it is cut off.
    fn vint(bytes: &[u8]) -> Option<(u64, usize)> {
        let len = bytes.first()?.leading_zeros() as usize + 1;
        Some((bytes.get(..len)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)), len))
    }

    /// Every whole element with its place, masters entered; an unknown length reaches to the end.
    fn elements(bytes: &[u8]) -> Vec<(usize, u32, &[u8])> {
        let mut found = Vec::new();
        let mut at = 0;
        while let Some((id, id_len)) = vint(&bytes[at..])
            && let Some((marked, len_len)) = vint(&bytes[at + id_len..])
        {
            let body = at + id_len + len_len;
            let is_unknown = marked == (1 << (7 * len_len + 1)) - 1;
            let len = usize::try_from(marked & ((1 << (7 * len_len)) - 1)).unwrap();
            let end = if is_unknown { bytes.len() } else { body + len };
            let id = u32::try_from(id).unwrap();
            if end > bytes.len() {
                break;
            }
            found.push((at, id, &bytes[body..end]));
            at = if MASTERS.contains(&id) { body } else { end };
        }
        found
    }

    fn read(bytes: &[u8]) -> Written {
        let mut cluster_ms = 0;
        let mut pictures = Written::new();
        for (_, id, body) in elements(bytes) {
            match id {
                0xE7 => cluster_ms = body.iter().fold(0, |value, byte| value << 8 | u64::from(*byte)),
                SIMPLE_BLOCK => {
                    assert_eq!(body[0], 0x81);
                    let relative = i16::from_be_bytes([body[1], body[2]]);
                    let time_ms = cluster_ms + u64::try_from(relative).unwrap();
                    pictures.push((time_ms, body[3] == 0x80, body[4..].to_vec()));
                }
                _ => {}
            }
        }
        pictures
    }

    #[test]
    fn what_is_known_in_the_end_is_written_where_room_was_left() {
        let pictures =
            vec![(0, true, vec![1; 300]), (40, false, vec![2]), (1500, true, vec![3]), (90_000, false, vec![4])];
        let file = write(&pictures, true);
        assert_eq!(read(&file), pictures);
        let all = elements(&file);
        let place = |id: u32| all.iter().find(|element| element.1 == id).unwrap().0;
        let (segment_at, _, segment) = all.iter().find(|element| element.1 == SEGMENT).unwrap();
        let begin = segment_at + 12;
        assert_eq!(begin + segment.len(), file.len(), "the segment's length is known");
        for (_, _, body) in all.iter().filter(|element| element.1 == CLUSTER) {
            assert!(body.len() < segment.len(), "each cluster's length is known");
        }
        let entries = all.iter().find(|element| element.1 == SEEK_HEAD).unwrap().2;
        for entry in entries.chunks(21) {
            let id = u32::from_be_bytes(entry[6..10].try_into().unwrap());
            let at = u64::from_be_bytes(entry[13..21].try_into().unwrap());
            assert_eq!(begin + usize::try_from(at).unwrap(), place(id), "{id:X}");
        }
        // Two key frames begin clusters: two entries, each with the place of one.
        let cues = all.iter().filter(|element| element.1 == 0xBB).count();
        assert_eq!(cues, 2);
        let info = all.iter().find(|element| element.1 == INFO).unwrap().2;
        assert_eq!(info[..3], [0x44, 0x89, 0x88]);
        assert_eq!(f64::from_be_bytes(info[3..11].try_into().unwrap()), 178_500.0);
    }

    proptest! {
        #[test]
        fn every_picture_is_read_as_it_was_written_also_from_a_pipe_or_when_cut(
            gaps in prop::collection::vec((1_u64..70_000, any::<bool>(), prop::collection::vec(any::<u8>(), 1..50)), 1..40),
            is_file: bool,
            cut: prop::sample::Index,
        ) {
            let mut time_ms = 0;
            let pictures: Written = gaps
                .into_iter()
                .map(|(gap, is_key_frame, sample)| {
                    time_ms += gap;
                    (time_ms, is_key_frame, sample)
                })
                .collect();
            let whole = write(&pictures, is_file);
            prop_assert_eq!(&read(&whole), &pictures);
            // A pipe is at every moment as a killed writer leaves its file.
            let pipe = write(&pictures, false);
            let cut = cut.index(pipe.len());
            let left = read(&pipe[..cut]);
            prop_assert_eq!(&left[..], &pictures[..left.len()]);
            prop_assert_eq!(read(&pipe[..pipe.len() - 1]).len(), pictures.len() - 1);
        }
    }
}
