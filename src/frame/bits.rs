//! Numbers of so many bits, as the headers of coded video have them.

/// What is left of some bytes, the highest bit first.
pub(crate) struct Bits<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    pub(crate) const fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    pub(crate) fn flag(&mut self) -> Option<bool> {
        Some(self.read(1)? == 1)
    }

    /// A number of `count` bits, at most 32; `None` behind the end.
    pub(crate) fn read(&mut self, count: u32) -> Option<u32> {
        let mut value = 0_u64;
        for _ in 0..count {
            let byte = self.data.get(self.at / 8)?;
            value = value << 1 | u64::from(byte >> (7 - self.at % 8) & 1);
            self.at += 1;
        }
        u32::try_from(value).ok()
    }

    /// Leaves out `count` bits.
    pub(crate) fn skip(&mut self, count: u32) -> Option<()> {
        for _ in 0..count {
            self.read(1)?;
        }
        Some(())
    }

    /// A number of a length of its own, below 2^32 - 1: `ue(v)` of H.264, `uvlc()` of AV1.
    pub(crate) fn exp_golomb(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let rest = self.read(zeros)?;
        ((1_u32 << zeros) - 1).checked_add(rest)
    }
}

/// H.264 without the threes that keep zeros apart. Source: ITU-T H.264, 7.4.1.
pub(crate) fn without_emulation(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut zeros = 0;
    for byte in bytes {
        if zeros >= 2 && *byte == 3 {
            zeros = 0;
            continue;
        }
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        plain.push(*byte);
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_from_the_top_and_end_with_the_bytes() {
        let mut bits = Bits::new(&[0b1010_0101, 0xFF]);
        assert_eq!(
            (bits.read(3), bits.flag(), bits.read(8), bits.read(4)),
            (Some(5), Some(false), Some(0x5F), Some(15))
        );
        assert_eq!(bits.read(1), None);
        // 1, 010, 011, 00100.
        let mut bits = Bits::new(&[0b1010_0110, 0b0100_0000]);
        assert_eq!([(); 4].map(|()| bits.exp_golomb()), [Some(0), Some(1), Some(2), Some(3)]);
        assert_eq!(Bits::new(&[0; 9]).exp_golomb(), None);
    }
    #[test]
    fn threes_between_zeros_are_taken_out() {
        assert_eq!(without_emulation(&[1, 0, 0, 3, 1, 0, 0, 3, 0, 0, 3]), [1, 0, 0, 1, 0, 0, 0, 0]);
    }
}
