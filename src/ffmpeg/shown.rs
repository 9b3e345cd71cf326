//! What ffmpeg's `showinfo` filter says of each picture.

use crate::frame::{Matrix, Range};

/// A picture's time, size and colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// In units of the stream's time base; `None` where the file has no times.
    pub time: Option<i64>,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Where the stream says it.
    pub matrix: Option<Matrix>,
    /// Where the stream says it.
    pub range: Option<Range>,
}

/// Reads the filter's lines: two for each picture.
#[derive(Debug, Default)]
pub(super) struct ShownParser {
    begun: Option<Shown>,
}

impl ShownParser {
    /// Takes a line; a picture's second one gives the picture.
    pub(super) fn push(&mut self, line: &str) -> Option<Shown> {
        // At a line's beginning: what ffmpeg repeats of a file's own words is indented.
        let fields = line.strip_prefix("[Parsed_showinfo")?;
        if let Some(range) = field(fields, "color_range:") {
            let matrix = field(fields, "color_space:").and_then(matrix);
            return self.begun.take().map(|shown| Shown { matrix, range: self::range(range), ..shown });
        }
        match begin(fields) {
            // Without a second line the first has to do.
            Some(shown) => self.begun.replace(shown),
            None => None,
        }
    }
}

/// `_0 @ 0x5] n:   0 pts:   512 pts_time:0.04 ... s:1280x720 i:P ...`.
fn begin(fields: &str) -> Option<Shown> {
    let (_, fields) = fields.split_once(" n:")?;
    let time = field(fields, " pts:")?;
    let (width, height) = field(fields, " s:")?.split_once('x')?;
    let (width, height) = (width.parse().ok()?, height.parse().ok()?);
    Some(Shown { time: time.parse().ok(), width, height, matrix: None, range: None })
}

/// By ffmpeg's name for it.
pub(crate) fn matrix(name: &str) -> Option<Matrix> {
    match name {
        "bt709" => Some(Matrix::Bt709),
        "smpte170m" | "bt470bg" | "fcc" => Some(Matrix::Bt601),
        "bt2020nc" | "bt2020c" => Some(Matrix::Bt2020),
        _ => None,
    }
}

/// By ffmpeg's name for it.
pub(crate) fn range(name: &str) -> Option<Range> {
    match name {
        "pc" => Some(Range::Full),
        "tv" => Some(Range::Limited),
        _ => None,
    }
}

/// The word behind a name; blanks between are for people.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (_, value) = line.split_once(name)?;
    value.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLOURS: &str = "[Parsed_showinfo_0 @ 0x1] color_range:tv color_space:bt709 color_primaries:unknown";

    #[test]
    fn a_files_own_words_are_no_pictures() {
        let mut parser = ShownParser::default();
        for line in [
            "    title : [Parsed_showinfo_0 @ 0x1] n: 0 pts: 0 s:5x3 ",
            " [Parsed_showinfo_0 @ 0x1] n: 0 pts: 0 s:5x3 ",
        ] {
            assert_eq!(parser.push(line), None);
            assert_eq!(parser.push(COLOURS), None, "{line}");
        }
    }

    #[test]
    fn two_lines_make_a_picture() {
        let check = |line: &str, time, width, height| {
            let mut parser = ShownParser::default();
            assert_eq!(parser.push(line), None);
            let (matrix, range) = (Some(Matrix::Bt709), Some(Range::Limited));
            assert_eq!(parser.push(COLOURS), Some(Shown { time, width, height, matrix, range }));
            assert_eq!(parser.push(COLOURS), None);
        };
        let line = "[Parsed_showinfo_1 @ 0x55d] n:  12 pts:   6144 pts_time:0.48    duration:    512 \
                    duration_time:0.04    fmt:yuv420p cl:left sar:1/1 s:1280x720 i:P iskey:0 type:B checksum:0";
        check(line, Some(6144), 1280, 720);
        // ffmpeg 4 has the place in the file instead of a duration.
        let old = "[Parsed_showinfo_0 @ 0x1] n:   0 pts:     -7 pts_time:-0.1 pos:  48 fmt:gray sar:0/1 s:5x3 i:P";
        check(old, Some(-7), 5, 3);
        let no_time = "[Parsed_showinfo_0 @ 0x1] n:   0 pts:NOPTS pts_time:NOPTS fmt:gray sar:0/1 s:5x3 i:P";
        check(no_time, None, 5, 3);
        let mut parser = ShownParser::default();
        assert_eq!(parser.push(old), None);
        assert_eq!(parser.push(no_time).map(|shown| shown.time), Some(Some(-7)), "where colours are not told");
    }

    #[test]
    fn other_lines_are_none_of_its() {
        for other in [
            "[Parsed_showinfo_0 @ 0x1] config in time_base: 1/12800, frame_rate: 25/1",
            "[Parsed_showinfo_0 @ 0x1]   side data - User Data Unregistered",
            "frame n: 3 pts: 4 s:5x3",
            "color_range:tv",
            "",
        ] {
            assert_eq!(ShownParser::default().push(other), None);
        }
    }
}
