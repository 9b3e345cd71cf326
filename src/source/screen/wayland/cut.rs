//! Where the pixels of an area lie in what the compositor copies: arithmetic, and the copying that follows it.
//!
//! A compositor hands out a screen as its hardware scans it out: lying on its side or mirrored if the monitor is, and
//! with some renderers the last row first. Areas are those that a person sees, in physical pixels.

use super::super::Rect;

/// How a screen is turned, as `wl_output.transform` has it: by how many quarters, and mirrored from left to right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Transform {
    /// Quarters of a turn, 0 to 3.
    pub(super) quarters: u32,
    pub(super) is_mirrored: bool,
}

impl Transform {
    /// `wl_output.transform`'s number; `None` for one that does not exist.
    pub(super) const fn of_wire(number: u32) -> Option<Self> {
        match number {
            0..=7 => Some(Self { quarters: number % 4, is_mirrored: number >= 4 }),
            _ => None,
        }
    }

    /// The size that a person sees of what has this size in hardware, and the other way round.
    pub(super) const fn turned(self, (width, height): (u32, u32)) -> (u32, u32) {
        if self.quarters % 2 == 1 { (height, width) } else { (width, height) }
    }
}

/// A picture in memory: pixels of 4 bytes, rows `stride` pixels apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) width: u32,
    pub(super) height: u32,
    /// Pixels, at least `width`.
    pub(super) stride: u32,
    pub(super) transform: Transform,
    /// The last row comes first.
    pub(super) is_upside_down: bool,
}

/// The steps through memory that make an area as a person sees it. In pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Walk {
    first: usize,
    right: isize,
    down: isize,
    width: usize,
    height: usize,
}

impl Held {
    /// The size that a person sees.
    pub(super) const fn seen(&self) -> (u32, u32) {
        self.transform.turned((self.width, self.height))
    }

    /// Where the seen pixel (x, y) lies: column and row in memory.
    fn place(&self, x: i64, y: i64) -> (i64, i64) {
        let (w, h) = (i64::from(self.width), i64::from(self.height));
        let (column, row) = match (self.transform.quarters, self.transform.is_mirrored) {
            (1, false) => (y, h - 1 - x),
            (2, false) => (w - 1 - x, h - 1 - y),
            (3, false) => (w - 1 - y, x),
            (1, true) => (y, x),
            (2, true) => (x, h - 1 - y),
            (3, true) => (w - 1 - y, h - 1 - x),
            (_, true) => (w - 1 - x, y),
            (_, false) => (x, y),
        };
        (column, if self.is_upside_down { h - 1 - row } else { row })
    }

    /// The way through `area`; `None` if it does not lie on the picture.
    pub(super) fn walk(&self, area: Rect) -> Option<Walk> {
        let (seen_width, seen_height) = self.seen();
        let fits = |begin: i32, len: u32, whole: u32| {
            let begin = u32::try_from(begin).ok()?;
            begin.checked_add(len).filter(|end| len > 0 && *end <= whole)
        };
        fits(area.x, area.width, seen_width)?;
        fits(area.y, area.height, seen_height)?;
        let stride = i64::from(self.stride);
        let at = |x: i32, y: i32| {
            let (column, row) = self.place(i64::from(x), i64::from(y));
            row * stride + column
        };
        // Every step to the right is as long as every other, and so is every step down.
        let first = at(area.x, area.y);
        Some(Walk {
            first: usize::try_from(first).ok()?,
            right: isize::try_from(at(area.x + 1, area.y) - first).ok()?,
            down: isize::try_from(at(area.x, area.y + 1) - first).ok()?,
            width: usize::try_from(area.width).ok()?,
            height: usize::try_from(area.height).ok()?,
        })
    }
}

/// Pixels of each side of the squares in which a turned picture is copied, so that caches hold what comes next.
const TILE: usize = 16;

impl Walk {
    /// The first byte and the bytes from row to row, if the area lies in memory as it is seen.
    pub(super) fn straight(&self) -> Option<(usize, usize)> {
        let stride = usize::try_from(self.down).ok().filter(|_| self.right == 1)?;
        Some((self.first.checked_mul(4)?, stride.checked_mul(4)?))
    }

    /// Copies the area, as it is seen, into `made`: exactly its pixels. `false` if `held` has not all of them.
    pub(super) fn copy(&self, held: &[u8], made: &mut [u8]) -> bool {
        let (held, made) = (held.as_chunks::<4>().0, made.as_chunks_mut::<4>().0);
        let mut is_whole = made.len() == self.width * self.height;
        for (band, rows) in made.chunks_mut(self.width * TILE).enumerate() {
            for left in (0..self.width).step_by(TILE) {
                for (y, row) in (band * TILE..).zip(rows.chunks_mut(self.width)) {
                    let mut at = self.at(left, y);
                    for pixel in row.iter_mut().skip(left).take(TILE) {
                        match held.get(at) {
                            Some(found) => *pixel = *found,
                            None => is_whole = false,
                        }
                        at = at.wrapping_add_signed(self.right);
                    }
                }
            }
        }
        is_whole
    }

    /// The pixel at (x, y) of the area. Steps that lead out of memory wrap, to where there is no pixel.
    fn at(&self, x: usize, y: usize) -> usize {
        let steps = |step: isize, count: usize| step.wrapping_mul(isize::try_from(count).unwrap_or(isize::MAX));
        self.first.wrapping_add_signed(steps(self.right, x)).wrapping_add_signed(steps(self.down, y))
    }
}

/// What is asked of the compositor for an area.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// The whole screen, of which the area is cut.
    Whole,
    /// A part of it.
    Part {
        /// In logical pixels, as the protocol wants it.
        logical: Rect,
        /// The same in physical pixels.
        physical: Rect,
    },
}

/// The least that can be asked for to have all of `area`.
///
/// Regions are asked for in logical pixels. Where each is a whole number of physical ones, that is exact; under
/// fractional scales it depends on how the compositor rounds, and with screens that are turned compositors differ
/// (wlroots before 0.17 turns the region the wrong way round): there the whole screen is taken.
///
/// `seen`, `logical`: the screen's size in both kinds of pixels.
pub(super) fn ask(seen: (u32, u32), logical: Option<(u32, u32)>, transform: Transform, area: Rect) -> Ask {
    let scale = logical.and_then(|logical| whole_scale(seen, logical)).filter(|_| transform == Transform::default());
    let part = scale.and_then(|scale| {
        let (x, width) = covering(area.x, area.width, scale)?;
        let (y, height) = covering(area.y, area.height, scale)?;
        let logical = Rect { x, y, width, height };
        let step = i32::try_from(scale).ok()?;
        let physical = Rect { x: x * step, y: y * step, width: width * scale, height: height * scale };
        Some((logical, physical))
    });
    match part {
        Some((logical, physical)) if (physical.width, physical.height) != seen => Ask::Part { logical, physical },
        Some(_) | None => Ask::Whole,
    }
}

/// Physical pixels for each logical one, if that is a whole number everywhere.
fn whole_scale(seen: (u32, u32), logical: (u32, u32)) -> Option<u32> {
    let scale = seen.0.checked_div(logical.0)?;
    let is_exact = scale > 0 && logical.0.checked_mul(scale) == Some(seen.0);
    Some(scale).filter(|_| is_exact && logical.1.checked_mul(scale) == Some(seen.1))
}

/// The logical pixels that cover physical ones. All of them lie on a screen.
fn covering(begin: i32, len: u32, scale: u32) -> Option<(i32, u32)> {
    let begin = u32::try_from(begin).ok()?;
    let end = begin.checked_add(len)?.div_ceil(scale);
    let begin = begin / scale;
    Some((i32::try_from(begin).ok()?, end - begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [u32; 8] = [0, 1, 2, 3, 4, 5, 6, 7];

    /// A picture of 5 x 3 as a person sees it, pixel (x, y) being `[x, y, 7, 9]`, as hardware holds it.
    ///
    /// Worked out by turning the whole: what is scanned out is what is seen, mirrored, then turned counter-clockwise.
    fn held(number: u32, is_upside_down: bool, padding: usize) -> (Held, Vec<u8>) {
        let mut rows: Vec<Vec<[u8; 4]>> = (0..3).map(|y| (0..5).map(|x| [x, y, 7, 9]).collect()).collect();
        let transform = Transform::of_wire(number).unwrap();
        if transform.is_mirrored {
            rows.iter_mut().for_each(|row| row.reverse());
        }
        for _ in 0..transform.quarters {
            let (height, width) = (rows.len(), rows[0].len());
            rows = (0..width).map(|y| (0..height).map(|x| rows[x][width - 1 - y]).collect()).collect();
        }
        if is_upside_down {
            rows.reverse();
        }
        let [width, height, stride] =
            [rows[0].len(), rows.len(), rows[0].len() + padding].map(|side| u32::try_from(side).unwrap());
        let held = Held { width, height, stride, transform, is_upside_down };
        let bytes = rows.iter().flat_map(|row| [row.concat(), vec![0xEE; padding * 4]].concat()).collect();
        (held, bytes)
    }

    #[test]
    fn every_part_of_a_screen_is_seen_upright_however_it_is_turned() {
        for (number, is_upside_down, padding) in
            ALL.iter().flat_map(|number| [(*number, false, 0), (*number, true, 3), (*number, false, 1)])
        {
            let (held, bytes) = held(number, is_upside_down, padding);
            assert_eq!(held.seen(), (5, 3));
            for (x, y) in (0..5u8).flat_map(|x| (0..3u8).map(move |y| (x, y))) {
                for (width, height) in (1..=5 - x).flat_map(|w| (1..=3 - y).map(move |h| (w, h))) {
                    let area = Rect { x: x.into(), y: y.into(), width: width.into(), height: height.into() };
                    let walk = held.walk(area).unwrap();
                    let expected: Vec<u8> =
                        (y..y + height).flat_map(|y| (x..x + width).flat_map(move |x| [x, y, 7, 9])).collect();
                    let mut made = vec![0; expected.len()];
                    assert!(walk.copy(&bytes, &mut made));
                    assert_eq!(made, expected, "transform {number}, upside down {is_upside_down}, {area:?}");
                    assert_eq!(
                        walk.straight().is_some(),
                        number == 0 && !is_upside_down || number == 6 && is_upside_down
                    );
                    if let Some((first, stride)) = walk.straight() {
                        let row = usize::from(width) * 4;
                        let rows = (0..usize::from(height)).flat_map(|y| &bytes[first + y * stride..][..row]);
                        assert_eq!(rows.copied().collect::<Vec<_>>(), expected);
                    }
                }
            }
        }
    }

    #[test]
    fn large_pictures_are_copied_in_squares_and_none_is_left_out() {
        let tile = u32::try_from(TILE).unwrap();
        let (width, height) = (tile * 2 + 5, tile + 3);
        let pixels: Vec<u8> = (0..width * height).flat_map(u32::to_le_bytes).collect();
        let held =
            Held { width, height, stride: width, transform: Transform::of_wire(1).unwrap(), is_upside_down: false };
        let mut made = vec![0; pixels.len()];
        let area = Rect { x: 0, y: 0, width: height, height: width };
        assert!(held.walk(area).unwrap().copy(&pixels, &mut made));
        for (at, pixel) in (0..).zip(made.as_chunks::<4>().0) {
            let (x, y) = (at % height, at / height);
            assert_eq!(u32::from_le_bytes(*pixel), (height - 1 - x) * width + y);
        }
    }

    #[test]
    fn what_does_not_lie_on_the_picture_is_refused_and_short_memory_is_noticed() {
        let (held, bytes) = held(1, false, 0);
        for (x, y, width, height) in
            [(-1, 0, 1, 1), (0, -1, 1, 1), (0, 0, 6, 3), (5, 0, 1, 1), (0, 3, 1, 1), (0, 0, 0, 1), (i32::MAX, 0, 9, 1)]
        {
            assert_eq!(held.walk(Rect { x, y, width, height }), None);
        }
        let walk = held.walk(Rect { x: 0, y: 0, width: 5, height: 3 }).unwrap();
        let mut made = vec![0; 60];
        assert!(walk.copy(&bytes, &mut made));
        assert!(!walk.copy(&bytes[..56], &mut made), "a pixel is missing");
        assert!(!walk.copy(&bytes, &mut made[..56]), "no room for a pixel");
    }

    #[test]
    fn no_transform_is_made_up() {
        assert_eq!(Transform::of_wire(8), None);
        assert_eq!(Transform::of_wire(u32::MAX), None);
        assert_eq!(Transform::of_wire(5), Some(Transform { quarters: 1, is_mirrored: true }));
        assert_eq!(Transform::of_wire(7).unwrap().turned((4, 3)), (3, 4));
        assert_eq!(Transform::of_wire(6).unwrap().turned((4, 3)), (4, 3));
    }

    #[test]
    fn a_part_is_asked_for_only_where_logical_pixels_are_exact() {
        let rect = |x, y, width, height| Rect { x, y, width, height };
        let part = |logical, physical| Ask::Part { logical, physical };
        let upright = Transform::default();
        let check = |seen, logical, area, expected| assert_eq!(ask(seen, logical, upright, area), expected, "{area:?}");
        let (whole, half) = ((640, 400), Some((320, 200)));
        check(whole, Some(whole), rect(3, 5, 7, 9), part(rect(3, 5, 7, 9), rect(3, 5, 7, 9)));
        check(whole, half, rect(4, 6, 8, 2), part(rect(2, 3, 4, 1), rect(4, 6, 8, 2)));
        check(whole, half, rect(3, 5, 2, 2), part(rect(1, 2, 2, 2), rect(2, 4, 4, 4)));
        check(whole, half, rect(639, 399, 1, 1), part(rect(319, 199, 1, 1), rect(638, 398, 2, 2)));
        check(whole, half, rect(0, 0, 640, 400), Ask::Whole);
        check(whole, half, rect(1, 1, 638, 398), Ask::Whole);
        for logical in [None, Some((427, 267)), Some((320, 201)), Some((0, 0)), Some((1280, 800))] {
            check(whole, logical, rect(3, 5, 7, 9), Ask::Whole);
        }
        let turned = Transform::of_wire(1).unwrap();
        assert_eq!(ask((400, 640), Some((200, 320)), turned, rect(4, 6, 8, 2)), Ask::Whole);
    }
}
