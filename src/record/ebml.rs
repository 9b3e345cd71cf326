//! EBML, Matroska's notation: elements of an id, a length and a body.
//!
//! Source: RFC 8794.

/// A length of 8 bytes that says "not known yet": what a file has that is still written to, and a pipe for ever.
pub(super) const UNKNOWN_LENGTH: [u8; 8] = [0x01, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF];

/// Id of bytes that say nothing: room for what is known later.
const VOID: u32 = 0xEC;

/// An element. `id`: with its marker bits, as it is written.
pub(super) fn element(id: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = head(id, body.len());
    bytes.extend_from_slice(body);
    bytes
}

/// An element made of others.
pub(super) fn master(id: u32, children: &[Vec<u8>]) -> Vec<u8> {
    element(id, &children.concat())
}

/// An unsigned number, in as many bytes as it takes.
pub(super) fn number(id: u32, value: u64) -> Vec<u8> {
    let skip = usize::try_from(value.leading_zeros() / 8).unwrap_or(0).min(7);
    element(id, value.to_be_bytes().get(skip..).unwrap_or_default())
}

/// A text.
pub(super) fn text(id: u32, text: &str) -> Vec<u8> {
    element(id, text.as_bytes())
}

/// Id and length of an element whose body comes separately.
pub(super) fn head(id: u32, len: usize) -> Vec<u8> {
    let skip = usize::try_from(id.leading_zeros() / 8).unwrap_or(0).min(3);
    let mut bytes = id.to_be_bytes().get(skip..).unwrap_or_default().to_vec();
    bytes.extend_from_slice(&length(u64::try_from(len).unwrap_or(u64::MAX)));
    bytes
}

/// A length of 8 bytes, to be written over [`UNKNOWN_LENGTH`].
pub(super) fn long_length(len: u64) -> [u8; 8] {
    (len & 0x00FF_FFFF_FFFF_FFFF | 1 << 56).to_be_bytes()
}

/// An element of `total` bytes, 2 to 127 with its head, that says nothing.
pub(super) fn void(total: usize) -> Vec<u8> {
    element(VOID, &vec![0; total.saturating_sub(2)])
}

/// The shortest form. One with all bits set means "unknown", and is left out.
fn length(len: u64) -> Vec<u8> {
    let bytes = (1..8).find(|bytes| len < (1 << (7 * bytes)) - 1).unwrap_or(8_usize);
    let marked = len | 1 << (7 * bytes);
    marked.to_be_bytes().get(8 - bytes..).unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Id, body and rest of the first element.
    fn read(bytes: &[u8]) -> (u32, &[u8], &[u8]) {
        let id_len = bytes[0].leading_zeros() as usize + 1;
        let id = bytes[..id_len].iter().fold(0, |id, byte| id << 8 | u32::from(*byte));
        let bytes = &bytes[id_len..];
        let len_len = bytes[0].leading_zeros() as usize + 1;
        let marked = bytes[..len_len].iter().fold(0_u64, |len, byte| len << 8 | u64::from(*byte));
        let len = usize::try_from(marked & ((1 << (7 * len_len)) - 1)).unwrap();
        let (body, rest) = bytes[len_len..].split_at(len);
        (id, body, rest)
    }

    #[test]
    fn lengths_are_as_short_as_can_be_and_never_mean_unknown() {
        for (len, bytes) in [(0, 1), (126, 1), (127, 2), (16_382, 2), (16_383, 3), (2_097_150, 3), (2_097_151, 4)] {
            assert_eq!(length(len).len(), bytes, "{len}");
        }
        assert_eq!(length(126), [0xFE]);
        assert_eq!(length(127), [0x40, 0x7F]);
        assert_eq!(long_length(127), [1, 0, 0, 0, 0, 0, 0, 127]);
    }

    #[test]
    fn numbers_take_the_bytes_that_they_need() {
        assert_eq!(number(0xD7, 0), [0xD7, 0x81, 0]);
        assert_eq!(number(0xD7, 255), [0xD7, 0x81, 255]);
        assert_eq!(number(0x2A_D7B1, 1_000_000), [0x2A, 0xD7, 0xB1, 0x83, 0x0F, 0x42, 0x40]);
        for total in [2, 11, 89, 127] {
            assert_eq!(void(total).len(), total);
        }
    }

    proptest! {
        #[test]
        fn elements_are_read_as_they_were_written(
            id in prop::sample::select(vec![0xA3_u32, 0x4DBB, 0x2A_D7B1, 0x1F43_B675]),
            body in prop::collection::vec(any::<u8>(), 0..40_000),
            value: u64,
        ) {
            let bytes = [element(id, &body), number(0xE7, value)].concat();
            let (read_id, read_body, rest) = read(&bytes);
            prop_assert_eq!((read_id, read_body), (id, &body[..]));
            let (_, number, rest) = read(rest);
            prop_assert_eq!(number.iter().fold(0_u64, |value, byte| value << 8 | u64::from(*byte)), value);
            prop_assert!(rest.is_empty());
        }
    }
}
