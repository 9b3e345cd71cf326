//! ffmpeg's pixel formats: which of them is asked for, and how it lies in memory.

use crate::{
    ffmpeg::shown,
    frame::{Colour, PixelFormat, convert::RawLayout},
};

/// What ffmpeg is asked to write for a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    /// ffmpeg's name.
    pub(super) pix_fmt: &'static str,
    pub(super) raw: RawLayout,
}

/// The file's own planes where they have 8 bits, else the same with 8 bits; what else there is becomes RGB.
pub(super) fn of(pix_fmt: &str) -> Layout {
    use RawLayout::{Pixels, Yuv422, Yuv444};
    let exact = |name: &str| {
        Some(match name {
            "yuv420p" => Layout { pix_fmt: "yuv420p", raw: Pixels(PixelFormat::I420) },
            "yuvj420p" => Layout { pix_fmt: "yuvj420p", raw: Pixels(PixelFormat::I420) },
            "yuv422p" => Layout { pix_fmt: "yuv422p", raw: Yuv422 },
            "yuvj422p" => Layout { pix_fmt: "yuvj422p", raw: Yuv422 },
            "yuv444p" => Layout { pix_fmt: "yuv444p", raw: Yuv444 },
            "yuvj444p" => Layout { pix_fmt: "yuvj444p", raw: Yuv444 },
            "nv12" => Layout { pix_fmt: "nv12", raw: Pixels(PixelFormat::Nv12) },
            "yuyv422" => Layout { pix_fmt: "yuyv422", raw: Pixels(PixelFormat::Yuy2) },
            "gray" => Layout { pix_fmt: "gray", raw: Pixels(PixelFormat::Gray) },
            "bgr24" => Layout { pix_fmt: "bgr24", raw: Pixels(PixelFormat::Bgr) },
            "rgba" => Layout { pix_fmt: "rgba", raw: Pixels(PixelFormat::Rgba) },
            "bgra" => Layout { pix_fmt: "bgra", raw: Pixels(PixelFormat::Bgra) },
            _ => return None,
        })
    };
    let deep = ["yuv420p", "yuv422p", "yuv444p"].into_iter().find(|eight_bits| pix_fmt.starts_with(eight_bits));
    exact(pix_fmt)
        .or_else(|| exact(deep?))
        .or_else(|| pix_fmt.starts_with("gray").then(|| exact("gray"))?)
        .unwrap_or(Layout { pix_fmt: "rgb24", raw: Pixels(PixelFormat::Rgb) })
}

impl Layout {
    /// Bytes of one picture.
    pub(super) fn len(self, width: u32, height: u32) -> usize {
        self.raw.planes(width, height).into_iter().map(|(row, rows)| row.saturating_mul(rows)).sum()
    }
}

/// What luma and chroma mean, by ffmpeg's words for it; as is usual where the file does not say.
pub(super) fn colour(pix_fmt: &str, space: Option<&str>, range: Option<&str>, height: u32) -> Colour {
    // JPEG's pictures say nothing, and mean this.
    let usual = if pix_fmt.starts_with("yuvj") { Colour::JPEG } else { Colour::of_video(height) };
    usual.or_as_said(space.and_then(shown::matrix), range.and_then(shown::range))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Matrix, Range};

    #[test]
    fn a_files_own_planes_are_kept_as_far_as_eight_bits_hold_them() {
        let check = |name, pix_fmt| assert_eq!(of(name).pix_fmt, pix_fmt, "{name}");
        check("yuv420p", "yuv420p");
        check("yuvj422p", "yuvj422p");
        check("yuv420p10le", "yuv420p");
        check("yuv444p12le", "yuv444p");
        check("gray16le", "gray");
        check("gbrp", "rgb24");
        check("pal8", "rgb24");
        assert_eq!(of("yuv420p").len(5, 3), 15 + 2 * 6);
        assert_eq!(of("yuv422p").len(5, 3), 15 + 2 * 9);
    }

    #[test]
    fn colours_are_the_files_word_or_the_usual_ones() {
        assert_eq!(colour("yuv420p", None, None, 480), Colour { matrix: Matrix::Bt601, range: Range::Limited });
        assert_eq!(colour("yuv420p", Some("unknown"), None, 720).matrix, Matrix::Bt709);
        assert_eq!(colour("yuv420p", Some("smpte170m"), Some("pc"), 1080), Colour::JPEG);
        assert_eq!(colour("yuvj420p", None, None, 1080), Colour::JPEG);
    }
}
