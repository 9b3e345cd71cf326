//! What the file's header says of the pictures.

use super::ebml::{element, master, number, text};
use crate::frame::{Matrix, Range};

/// The one track of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Track {
    pub(super) codec_id: &'static str,
    /// What a decoder has to know before the first picture.
    pub(super) private: Option<Vec<u8>>,
    /// Of uncompressed pictures: how they lie in memory.
    pub(super) fourcc: Option<[u8; 4]>,
    /// Pixels.
    pub(super) width: u32,
    /// Pixels.
    pub(super) height: u32,
    /// How long the last picture is shown, in nanoseconds, where that is not known from the next: for containers that
    /// leave out what is shown for no time.
    pub(super) duration_ns: Option<u64>,
    /// What luma and chroma mean, as far as the coded pictures do not say it themselves.
    pub(super) matrix: Option<Matrix>,
    pub(super) range: Option<Range>,
}

impl Track {
    /// Pictures that say the rest themselves.
    pub(super) const fn plain(codec_id: &'static str, width: u32, height: u32) -> Self {
        Self { codec_id, private: None, fourcc: None, width, height, duration_ns: None, matrix: None, range: None }
    }

    /// Source: RFC 9559, 5.1.4.
    pub(super) fn entry(&self) -> Vec<u8> {
        // Number 1, video, no lacing.
        let mut entry = vec![number(0xD7, 1), number(0x73C5, 1), number(0x83, 1), number(0x9C, 0)];
        entry.push(text(0x86, self.codec_id));
        if let Some(private) = &self.private {
            entry.push(element(0x63A2, private));
        }
        entry.extend(self.duration_ns.map(|duration_ns| number(0x23_E383, duration_ns)));
        let mut video = vec![number(0xB0, self.width.into()), number(0xBA, self.height.into()), number(0x9A, 2)];
        if let Some(fourcc) = &self.fourcc {
            video.push(element(0x2E_B524, fourcc));
        }
        let matrix = self.matrix.map(|matrix| number(0x55B1, matrix_coefficients(matrix)));
        let range = self.range.map(|range| number(0x55B9, if range == Range::Full { 2 } else { 1 }));
        let colour: Vec<_> = matrix.into_iter().chain(range).collect();
        if !colour.is_empty() {
            video.push(master(0x55B0, &colour));
        }
        entry.push(master(0xE0, &video));
        master(0xAE, &entry)
    }
}

/// Source: ITU-T H.273, table 4.
const fn matrix_coefficients(matrix: Matrix) -> u64 {
    match matrix {
        Matrix::Bt709 => 1,
        Matrix::Bt601 => 6,
        Matrix::Bt2020 => 9,
    }
}
