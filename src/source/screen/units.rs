//! Where things are on a desktop whose library counts in units of its own: points on macOS, of which each has several
//! pixels on a fine screen; pixels on Windows.

use super::Rect;

/// A screen: in the library's units, and in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    /// On the desktop, in units.
    pub(super) units: Rect,
    /// Pixels for each unit, 1 or more.
    pub(super) scale: f64,
}

/// What to ask the library for to have a part of a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Question {
    /// In units, from the screen's corner: as little as covers the part.
    pub(super) units: Rect,
    /// What then comes, in pixels.
    pub(super) width: u32,
    /// What then comes, in pixels.
    pub(super) height: u32,
    /// Where the part lies in what comes, in pixels.
    pub(super) left: u32,
    /// Where the part lies in what comes, in pixels.
    pub(super) top: u32,
}

impl Place {
    /// On the desktop, in pixels: the screen's own, so that those of screens of other scales may overlap with it.
    pub(super) fn pixels(&self) -> Rect {
        let Rect { x, y, width, height } = self.units;
        Rect { x: scaled(x, self.scale), y: scaled(y, self.scale), ..self.sized(width, height) }
    }

    /// The part of the screen that something on the desktop covers, in pixels from the screen's corner.
    ///
    /// `units`: on the desktop.
    pub(super) fn covered_by(&self, units: Rect) -> Option<Rect> {
        let Rect { x, y, width, height } = units.clipped(self.units)?;
        let (x, y) = (scaled(x - self.units.x, self.scale), scaled(y - self.units.y, self.scale));
        Some(Rect { x, y, ..self.sized(width, height) })
    }

    /// How to have a part.
    ///
    /// `part`: in pixels, on this screen, from its corner.
    pub(super) fn question(&self, part: Rect) -> Question {
        let (x, columns, left) = self.covering(part.x, part.width, self.units.width);
        let (y, rows, top) = self.covering(part.y, part.height, self.units.height);
        let Rect { width, height, .. } = self.sized(columns, rows);
        Question { units: Rect { x, y, width: columns, height: rows }, width, height, left, top }
    }

    /// One side of it: where it begins and how long it is, in units, and the pixels before the part in it.
    fn covering(&self, begin: i32, len: u32, whole: u32) -> (i32, u32, u32) {
        let first = to_whole((f64::from(begin) / self.scale).floor());
        let end = to_whole(((f64::from(begin) + f64::from(len)) / self.scale).ceil());
        let units = u32::try_from(end - first).unwrap_or(0).clamp(1, whole.max(1));
        (first, units, u32::try_from(begin - scaled(first, self.scale)).unwrap_or(0))
    }

    fn sized(&self, width: u32, height: u32) -> Rect {
        let side =
            |units: u32| u32::try_from(scaled(i32::try_from(units).unwrap_or(i32::MAX), self.scale)).unwrap_or(0);
        Rect { x: 0, y: 0, width: side(width), height: side(height) }
    }
}

fn scaled(units: i32, scale: f64) -> i32 {
    to_whole((f64::from(units) * scale).round())
}

#[expect(clippy::cast_possible_truncation, reason = "`as` keeps to the type's range")]
fn to_whole(number: f64) -> i32 {
    number as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn rect(x: i32, y: i32, width: u32, height: u32) -> Rect {
        Rect { x, y, width, height }
    }

    /// The 1440 x 900 points of a laptop, left of its main screen.
    const FINE: Place = Place { units: rect(-1440, 20, 1440, 900), scale: 2.0 };
    const COARSE: Place = Place { units: rect(-1440, 20, 1440, 900), scale: 1.0 };

    #[test]
    fn a_screen_has_pixels_of_its_own() {
        assert_eq!(COARSE.pixels(), COARSE.units);
        assert_eq!(FINE.pixels(), rect(-2880, 40, 2880, 1800));
        let odd = Place { units: rect(0, 0, 1707, 960), scale: 1.5 };
        assert_eq!(odd.pixels(), rect(0, 0, 2561, 1440));
    }

    #[test]
    fn a_window_is_told_in_the_screens_pixels_as_far_as_it_lies_there() {
        assert_eq!(FINE.covered_by(rect(-1500, 30, 100, 50)), Some(rect(0, 20, 80, 100)));
        assert_eq!(COARSE.covered_by(rect(-10, 910, 100, 50)), Some(rect(1430, 890, 10, 10)));
        assert_eq!(FINE.covered_by(rect(0, 30, 100, 50)), None);
        assert_eq!(FINE.covered_by(rect(-32_000, -32_000, 160, 28)), None, "minimized, as Windows has it");
    }

    #[test]
    fn no_more_is_asked_for_than_covers_a_part() {
        let check = |place: Place, part, units, size, corner| {
            let question = place.question(part);
            assert_eq!(question.units, units, "{part:?}");
            assert_eq!((question.width, question.height), size, "{part:?}");
            assert_eq!((question.left, question.top), corner, "{part:?}");
        };
        check(COARSE, rect(7, 9, 31, 1), rect(7, 9, 31, 1), (31, 1), (0, 0));
        check(FINE, rect(8, 10, 4, 2), rect(4, 5, 2, 1), (4, 2), (0, 0));
        check(FINE, rect(7, 9, 2, 1), rect(3, 4, 2, 1), (4, 2), (1, 1));
        check(FINE, rect(0, 0, 2880, 1800), rect(0, 0, 1440, 900), (2880, 1800), (0, 0));
        check(FINE, rect(2879, 1799, 1, 1), rect(1439, 899, 1, 1), (2, 2), (1, 1));
    }

    #[test]
    fn every_part_lies_in_what_is_asked_for() {
        for scale in [1.0, 1.25, 1.5, 2.0, 3.0] {
            let place = Place { units: rect(-300, 0, 300, 200), scale };
            let whole = place.pixels();
            for (x, y, width, height) in [(0, 0, whole.width, whole.height), (13, 1, 100, 77), (5, 6, 1, 1)] {
                let Question { units, width: has, height: rows, left, top } = place.question(rect(x, y, width, height));
                assert!(left + width <= has && top + height <= rows, "{scale}: {x},{y} {width} x {height}");
                assert!(units.x >= 0 && units.y >= 0 && units.x.unsigned_abs() + units.width <= 300, "{units:?}");
            }
        }
    }
}
