//! The pointer, drawn over a picture: X11 keeps it apart.

use x11rb::protocol::xfixes::ConnectionExt as _;

use super::{Link, Rect, lost};
use crate::{frame::PixelFormat, source::SourceError};

/// Blends the pointer into the pixels of `area`, as far as it lies there.
pub(super) fn draw(conn: &Link, pixels: &mut [u8], area: Rect, format: PixelFormat) -> Result<(), SourceError> {
    // The version has to be asked for once a connection; the answer is the same each time.
    conn.xfixes_query_version(4, 0).map_err(lost)?.reply().map_err(lost)?;
    let cursor = conn.xfixes_get_cursor_image().map_err(lost)?.reply().map_err(lost)?;
    let (left, top) = (i32::from(cursor.x) - i32::from(cursor.xhot), i32::from(cursor.y) - i32::from(cursor.yhot));
    let rows = cursor.cursor_image.chunks_exact(usize::from(cursor.width).max(1));
    for (y, row) in (top - area.y..).zip(rows) {
        for (x, argb) in (left - area.x..).zip(row) {
            if let Some(place) = pixel(pixels, area, x, y) {
                blend(place, *argb, format);
            }
        }
    }
    Ok(())
}

fn pixel(pixels: &mut [u8], area: Rect, x: i32, y: i32) -> Option<&mut [u8; 4]> {
    let (x, y) = (u32::try_from(x).ok()?, u32::try_from(y).ok()?);
    if x >= area.width || y >= area.height {
        return None;
    }
    pixels.as_chunks_mut().0.get_mut(usize::try_from(y * area.width + x).ok()?)
}

/// `argb`: premultiplied with its alpha. Source: XFixes 2.0, GetCursorImage.
fn blend(place: &mut [u8; 4], argb: u32, format: PixelFormat) {
    let [blue, green, red, alpha] = argb.to_le_bytes();
    let colours = if format == PixelFormat::Rgba { [red, green, blue] } else { [blue, green, red] };
    for (under, over) in place.iter_mut().zip(colours) {
        let seen = (u16::from(*under) * u16::from(u8::MAX - alpha) + 127) / 255;
        *under = u8::try_from(seen + u16::from(over)).unwrap_or(u8::MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pointer_covers_as_much_as_its_alpha_says() {
        let check = |argb, format, expected| {
            let mut place = [10, 20, 30, 0];
            blend(&mut place, argb, format);
            assert_eq!(place[..3], expected);
        };
        check(0x0000_0000, PixelFormat::Bgra, [10, 20, 30]);
        check(0xFF01_0203, PixelFormat::Bgra, [3, 2, 1]);
        check(0xFF01_0203, PixelFormat::Rgba, [1, 2, 3]);
        check(0x8040_4040, PixelFormat::Bgra, [69, 74, 79]);
    }

    #[test]
    fn what_lies_outside_is_left_out() {
        let area = Rect { x: 0, y: 0, width: 2, height: 1 };
        let mut pixels = [0; 8];
        for (x, y) in [(-1, 0), (2, 0), (0, 1), (0, -1)] {
            assert!(pixel(&mut pixels, area, x, y).is_none());
        }
        assert!(pixel(&mut pixels, area, 1, 0).is_some());
    }
}
