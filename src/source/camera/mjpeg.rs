//! What cameras call JPEG, made a JPEG file: cut where it ends, ended where it lacks its end, with Huffman tables where
//! they were left out.

/// The Huffman tables that a picture of a motion JPEG without any is coded with, as one segment.
///
/// Source: ITU-T T.81, tables K.3 to K.6.
const TABLES: [u8; 420] = [
    0xff, 0xc4, 0x01, 0xa2, //
    0x00, 0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, //
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, //
    0x10, 0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7d, //
    0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71, 0x14,
    0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0, 0x24, 0x33, 0x62, 0x72, 0x82, 0x09,
    0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a,
    0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64, 0x65,
    0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88,
    0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9,
    0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca,
    0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea,
    0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, //
    0x01, 0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, //
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, //
    0x11, 0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77, //
    0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22, 0x32,
    0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0, 0x15, 0x62, 0x72, 0xd1, 0x0a, 0x16,
    0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26, 0x27, 0x28, 0x29, 0x2a, 0x35, 0x36, 0x37, 0x38, 0x39,
    0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64,
    0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x82, 0x83, 0x84, 0x85, 0x86,
    0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7,
    0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8,
    0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9,
    0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa,
];

const START: [u8; 2] = [0xff, 0xd8];
const END: u8 = 0xd9;
const SCAN: u8 = 0xda;
const HUFFMAN: u8 = 0xc4;

/// The picture at the beginning of `data`, as a whole file; `None` if none begins there.
///
/// What cannot be mended, coded samples that are missing or wrong, is left to whoever decodes it.
pub(super) fn tidy(data: &[u8]) -> Option<Vec<u8>> {
    let outline = Outline::of(data)?;
    let (before, rest) = data.get(..outline.end)?.split_at_checked(outline.first_scan)?;
    let tables: &[u8] = if outline.has_tables { &[] } else { &TABLES };
    let end: &[u8] = if outline.has_end { &[] } else { &[0xff, END] };
    Some([before, tables, rest, end].concat())
}

/// Where the parts of a picture lie.
struct Outline {
    first_scan: usize,
    has_tables: bool,
    /// Behind the picture's last byte.
    end: usize,
    has_end: bool,
}

impl Outline {
    fn of(data: &[u8]) -> Option<Self> {
        if !data.starts_with(&START) {
            return None;
        }
        let (mut at, mut first_scan, mut has_tables) = (START.len(), None, false);
        // Each turn passes a marker.
        while let Some(marker) = marker_at(data, at) {
            match marker.kind {
                END => {
                    let first_scan = first_scan?;
                    return Some(Self { first_scan, has_tables, end: marker.body, has_end: true });
                }
                HUFFMAN => has_tables |= first_scan.is_none(),
                SCAN => first_scan = first_scan.or(Some(marker.begin)),
                _ => {}
            }
            let len = data.get(marker.body..)?.first_chunk().map(|len| u16::from_be_bytes(*len));
            let Some(len) = len.filter(|len| *len >= 2) else { break };
            at = marker.body + usize::from(len);
            if marker.kind == SCAN {
                at = behind_samples(data, at);
            }
        }
        Some(Self { first_scan: first_scan?, has_tables, end: without_padding(data), has_end: false })
    }
}

struct Marker {
    kind: u8,
    begin: usize,
    /// Behind its two bytes.
    body: usize,
}

/// The marker that stands here, behind any number of fill bytes.
fn marker_at(data: &[u8], at: usize) -> Option<Marker> {
    let rest = data.get(at..)?;
    let fill = rest.iter().take_while(|byte| **byte == 0xff).count();
    let kind = *rest.get(fill)?;
    let begin = at + fill.checked_sub(1)?;
    (kind != 0).then_some(Marker { kind, begin, body: begin + 2 })
}

/// The next marker behind a scan's samples; restarts and stuffed bytes belong to them.
fn behind_samples(data: &[u8], from: usize) -> usize {
    let mut at = from.min(data.len());
    while let Some(next) = data.get(at..).and_then(|rest| memchr::memchr(0xff, rest)) {
        at += next;
        match data.get(at + 1) {
            Some(0 | 0xd0..=0xd7) => at += 2,
            // One fill byte: the next turn looks at the other.
            Some(0xff) => at += 1,
            Some(_) | None => return at,
        }
    }
    data.len()
}

/// Where a picture that lacks its end breaks off. Zeros are padding, but for one that belongs to a 255 before it.
fn without_padding(data: &[u8]) -> usize {
    let len = data.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let ends_in_stuffing = data.get(..len).is_some_and(|kept| kept.ends_with(&[0xff]));
    if ends_in_stuffing { (len + 1).min(data.len()) } else { len }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::{Codec, Format, PixelFormat, Pool, VideoFrame, still};

    fn file() -> Vec<u8> {
        let mut pixels: Vec<u8> = (0..64 * 48 * 3).map(|at| u8::try_from(at % 251).unwrap()).collect();
        pixels[..3000].fill(200);
        let raw = VideoFrame::try_new(Format::Pixels(PixelFormat::Rgb), Some((64, 48)), 0, pixels.into()).unwrap();
        still::encode(&raw, Codec::Jpeg, 90).unwrap().frame_data().to_vec()
    }

    fn decoded(data: Vec<u8>) -> Vec<u8> {
        let frame = VideoFrame::try_new(Format::Encoded(Codec::Jpeg), Some((64, 48)), 0, data.into()).unwrap();
        still::decode(&frame, PixelFormat::Rgb, &Pool::default()).unwrap().frame_data().to_vec()
    }

    /// The file without its Huffman tables, as many cameras send it.
    fn without_tables(file: &[u8]) -> Vec<u8> {
        let (mut at, mut kept) = (2, file[..2].to_vec());
        loop {
            let len = 2 + usize::from(u16::from_be_bytes([file[at + 2], file[at + 3]]));
            match file[at + 1] {
                HUFFMAN => {}
                SCAN => return [kept, file[at..].to_vec()].concat(),
                _ => kept.extend_from_slice(&file[at..at + len]),
            }
            at += len;
        }
    }

    #[test]
    fn a_whole_file_stays_as_it_is_and_what_follows_it_is_cut() {
        let file = file();
        assert_eq!(tidy(&file).unwrap(), file);
        for junk in [vec![0; 5000], vec![0xff; 3], file.clone(), b"\xff\xd9\xff\xd9".to_vec()] {
            assert_eq!(tidy(&[file.clone(), junk].concat()).unwrap(), file);
        }
    }

    #[test]
    fn a_lacking_end_is_added_and_padding_taken_off() {
        let file = file();
        let open = &file[..file.len() - 2];
        assert_eq!(tidy(open).unwrap(), file);
        assert_eq!(tidy(&[open, &[0; 999]].concat()).unwrap(), file);
        assert_eq!(tidy(&[open, &[0xff]].concat()).unwrap(), [open, b"\xff\xff\xd9"].concat());
        assert_eq!(without_padding(b"ab\xff\0\0\0"), 4);
        assert_eq!(without_padding(b"\0\0"), 0);
    }

    #[test]
    fn lacking_tables_are_added() {
        let file = file();
        let bare = without_tables(&file);
        assert!(bare.len() < file.len() && !bare.windows(2).any(|pair| pair == [0xff, HUFFMAN]));
        assert_eq!(decoded(tidy(&bare).unwrap()), decoded(file));
    }

    #[test]
    fn an_end_inside_a_segment_is_none() {
        let file = file();
        let thumbnail = [b"\xff\xe1\x00\x08\xff\xd8\xff\xd9\0\0".as_slice(), &file[2..]].concat();
        let file = [&START, thumbnail.as_slice()].concat();
        assert_eq!(tidy(&[file.clone(), vec![7; 9]].concat()).unwrap(), file);
    }

    #[test]
    fn what_is_no_picture_is_none() {
        for data in [b"".as_slice(), b"\xff", b"\xff\xd8", b"\xff\xd8\xff\xd9", b"\xff\xd8\xff", b"junk", &[0; 64]] {
            assert_eq!(tidy(data), None, "{data:?}");
        }
    }

    proptest! {
        #[test]
        fn anything_is_taken_without_a_panic(cut in 0usize..2000, at in 0usize..2000, byte: u8, tail: Vec<u8>) {
            let mut data = file();
            data.truncate(cut);
            if let Some(place) = data.get_mut(at) {
                *place = byte;
            }
            data.extend(tail);
            if let Some(tidied) = tidy(&data) {
                prop_assert!(tidied.len() <= data.len() + TABLES.len() + 2);
                prop_assert!(tidied.ends_with(&[0xff, END]));
            }
        }
    }
}
