//! A picture as it lies in a compositor's memory, and the part of it that is wanted.

/// Bytes of a pixel in every layout that is asked for.
const PIXEL: usize = 4;

/// A picture in somebody else's memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw<'a> {
    pub(crate) data: &'a [u8],
    /// Bytes from one row to the next.
    pub(crate) stride: usize,
    /// Pixels of the memory.
    pub(crate) width: usize,
    /// Pixels of the memory.
    pub(crate) height: usize,
    /// The part that holds the picture: a window in memory as large as its screen.
    pub(crate) crop: Option<Part>,
    /// How the picture lies in it.
    pub(crate) turn: Turn,
}

/// A part of a picture, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) x: usize,
    pub(crate) y: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

/// How a picture is turned in memory: first mirrored left to right, then turned counter-clockwise by quarters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) is_mirrored: bool,
    pub(crate) quarters: u32,
}

impl Turn {
    /// By PipeWire's number, which is Wayland's: 0 to 3 quarters, from 4 on mirrored before.
    pub(crate) const fn from_number(number: u32) -> Self {
        Self { is_mirrored: number & 4 != 0, quarters: number & 3 }
    }
}

/// Why there is no picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoPicture {
    /// The region does not lie on it.
    Outside { width: usize, height: usize },
    /// The memory holds less than it should.
    Short,
}

impl Raw<'_> {
    /// Pixels of the whole picture, upright.
    fn size(&self, part: Part) -> (usize, usize) {
        if self.turn.quarters % 2 == 1 { (part.height, part.width) } else { (part.width, part.height) }
    }

    /// Copies the region, or the whole, upright and tightly packed. Answers with its width and height.
    pub(crate) fn copy(
        &self,
        region: Option<(i32, i32, u32, u32)>,
        into: &mut Vec<u8>,
    ) -> Result<(usize, usize), NoPicture> {
        let all = Part { x: 0, y: 0, width: self.width, height: self.height };
        let held = self.crop.filter(|crop| !crop.is_empty() && crop.lies_in(self.width, self.height)).unwrap_or(all);
        let (width, height) = self.size(held);
        let part = match region {
            None => Part { x: 0, y: 0, width, height },
            Some(region) => Part::of(region)
                .filter(|part| part.lies_in(width, height))
                .ok_or(NoPicture::Outside { width, height })?,
        };
        into.clear();
        into.reserve(part.width * part.height * PIXEL);
        if self.turn == Turn::default() {
            let at = (held.x + part.x) * PIXEL;
            for y in held.y + part.y..held.y + part.y + part.height {
                let begin = y * self.stride + at;
                let row = self.data.get(begin..begin + part.width * PIXEL).ok_or(NoPicture::Short)?;
                into.extend_from_slice(row);
            }
        } else {
            for y in part.y..part.y + part.height {
                for x in part.x..part.x + part.width {
                    let (x, y) = self.place(held, x, y);
                    let begin = y * self.stride + x * PIXEL;
                    let pixel = self.data.get(begin..begin + PIXEL).ok_or(NoPicture::Short)?;
                    into.extend_from_slice(pixel);
                }
            }
        }
        Ok((part.width, part.height))
    }

    /// Where a pixel of the upright picture lies.
    const fn place(&self, held: Part, x: usize, y: usize) -> (usize, usize) {
        let (right, bottom) = (held.width - 1, held.height - 1);
        // The last column before turning: the picture's own width, which a quarter turn makes the memory's height.
        let last = if self.turn.quarters % 2 == 1 { bottom } else { right };
        let x = if self.turn.is_mirrored { last - x } else { x };
        let (x, y) = match self.turn.quarters {
            0 => (x, y),
            1 => (y, bottom - x),
            2 => (right - x, bottom - y),
            _ => (right - y, x),
        };
        (held.x + x, held.y + y)
    }
}

impl Part {
    pub(crate) fn of((x, y, width, height): (i32, i32, u32, u32)) -> Option<Self> {
        let side = |side: u32| usize::try_from(side).ok();
        let place = |place: i32| usize::try_from(place).ok();
        Some(Self { x: place(x)?, y: place(y)?, width: side(width)?, height: side(height)? })
    }

    const fn is_empty(&self) -> bool {
        self.width == 0 || self.height == 0
    }

    fn lies_in(&self, width: usize, height: usize) -> bool {
        let ends_by = |begin: usize, len: usize, end: usize| begin.checked_add(len).is_some_and(|last| last <= end);
        ends_by(self.x, self.width, width) && ends_by(self.y, self.height, height)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test panics")]

    use super::*;

    /// A picture of 3 x 2 whose pixels are numbered from 0, each four times its number.
    fn raw(data: &[u8], stride: usize, width: usize, height: usize) -> Raw<'_> {
        Raw { data, stride, width, height, crop: None, turn: Turn::default() }
    }

    fn memory(numbers: &[u8], width: usize, gap: usize) -> Vec<u8> {
        numbers.chunks(width).flat_map(|row| row.iter().flat_map(|n| [*n; 4]).chain(vec![0xEE; gap])).collect()
    }

    fn numbers(pixels: &[u8]) -> Vec<u8> {
        pixels.chunks(4).map(|pixel| pixel[0]).collect()
    }

    #[test]
    fn gaps_between_rows_and_what_lies_outside_are_left_out() {
        let data = memory(&[0, 1, 2, 3, 4, 5], 3, 20);
        let mut into = vec![9];
        let raw = raw(&data, 32, 3, 2);
        assert_eq!(raw.copy(None, &mut into), Ok((3, 2)));
        assert_eq!(numbers(&into), [0, 1, 2, 3, 4, 5]);
        assert_eq!(raw.copy(Some((1, 1, 2, 1)), &mut into), Ok((2, 1)));
        assert_eq!(numbers(&into), [4, 5]);
        let cropped = Raw { crop: Some(Part { x: 1, y: 0, width: 2, height: 2 }), ..raw };
        assert_eq!(cropped.copy(None, &mut into), Ok((2, 2)));
        assert_eq!(numbers(&into), [1, 2, 4, 5]);
        assert_eq!(cropped.copy(Some((1, 1, 1, 1)), &mut into), Ok((1, 1)));
        assert_eq!(numbers(&into), [5]);
        for crop in [Part { x: 0, y: 0, width: 0, height: 2 }, Part { x: 1, y: 0, width: 3, height: 2 }] {
            assert_eq!(Raw { crop: Some(crop), ..raw }.copy(None, &mut into), Ok((3, 2)), "no crop is the whole");
        }
    }

    #[test]
    fn regions_outside_and_memory_that_is_too_short_are_refused() {
        let data = memory(&[0, 1, 2, 3, 4, 5], 3, 0);
        let mut into = Vec::new();
        let whole = raw(&data, 12, 3, 2);
        for region in [(0, 0, 4, 1), (-1, 0, 1, 1), (0, 2, 1, 1), (2, 0, u32::MAX, 1), (i32::MAX, 0, 1, 1)] {
            assert_eq!(whole.copy(Some(region), &mut into), Err(NoPicture::Outside { width: 3, height: 2 }));
        }
        assert_eq!(raw(&data[..23], 12, 3, 2).copy(None, &mut into), Err(NoPicture::Short));
        // The last row may end with its last pixel.
        assert_eq!(raw(&data, 12, 3, 2).copy(None, &mut into), Ok((3, 2)));
    }

    #[test]
    fn turned_pictures_come_upright() {
        // Upright: 0 1 2 / 3 4 5. Counter-clockwise by a quarter, the right column becomes the top row.
        let check = |number: u32, memory_of: &[u8], width: usize, height: usize| {
            let data = memory(memory_of, width, 4);
            let mut into = Vec::new();
            let turned = Raw { turn: Turn::from_number(number), ..raw(&data, width * 4 + 4, width, height) };
            assert_eq!(turned.copy(None, &mut into), Ok((3, 2)), "{number}");
            assert_eq!(numbers(&into), [0, 1, 2, 3, 4, 5], "{number}");
            assert_eq!(turned.copy(Some((2, 0, 1, 2)), &mut into), Ok((1, 2)));
            assert_eq!(numbers(&into), [2, 5], "{number}");
        };
        check(0, &[0, 1, 2, 3, 4, 5], 3, 2);
        check(1, &[2, 5, 1, 4, 0, 3], 2, 3);
        check(2, &[5, 4, 3, 2, 1, 0], 3, 2);
        check(3, &[3, 0, 4, 1, 5, 2], 2, 3);
        check(4, &[2, 1, 0, 5, 4, 3], 3, 2);
        check(5, &[0, 3, 1, 4, 2, 5], 2, 3);
        check(6, &[3, 4, 5, 0, 1, 2], 3, 2);
        check(7, &[5, 2, 4, 1, 3, 0], 2, 3);
    }
}
