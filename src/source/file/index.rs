//! The presentation times of a file's pictures, and where decoding has to begin for one of them.

use std::path::Path;

use super::probe;
use crate::{
    ffmpeg::Tools,
    source::{SourceError, Stop},
};

/// Key frames before the one that a picture's time follows, from which decoding begins: pictures after a key frame may
/// build on those before it (open groups of pictures), and never further back.
const KEY_FRAMES_BACK: usize = 1;

/// The pictures of a file by presentation time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    /// Sorted; in units of the stream's time base.
    times: Vec<i64>,
    /// Of the key frames, sorted.
    key_times: Vec<i64>,
}

impl Index {
    /// Reads the index; `None` where packets have no times, and only reading through tells.
    pub(super) fn read(tools: &Tools, path: &Path, stop: &Stop) -> Result<Option<Self>, SourceError> {
        let what = ["-select_streams", "v:0", "-show_entries", "packet=pts,flags", "-of", "csv=p=0"];
        Ok(Self::parse(&String::from_utf8_lossy(&probe::ask(tools, path, &what, stop)?)))
    }

    /// Lines of `PTS,FLAGS`.
    fn parse(lines: &str) -> Option<Self> {
        let (mut times, mut key_times) = (Vec::new(), Vec::new());
        for line in lines.lines().filter(|line| !line.is_empty()) {
            let (time, flags) = line.split_once(',')?;
            // Cut away by the file's edit list: decoded, and not shown.
            if flags.contains('D') {
                continue;
            }
            let time = time.parse().ok()?;
            times.push(time);
            if flags.contains('K') {
                key_times.push(time);
            }
        }
        times.sort_unstable();
        key_times.sort_unstable();
        let is_unique = times.windows(2).all(|pair| pair.first() != pair.last());
        is_unique.then_some(Self { times, key_times })
    }

    /// Pictures.
    pub(super) fn len(&self) -> usize {
        self.times.len()
    }

    /// The time of the first picture.
    pub(super) fn first(&self) -> Option<i64> {
        self.times.first().copied()
    }

    /// The time of picture `k`.
    pub(super) fn time(&self, k: usize) -> Option<i64> {
        self.times.get(k).copied()
    }

    /// The time of the key frame from which decoding has to begin for a picture; `None` for the beginning.
    pub(super) fn begin(&self, time: i64) -> Option<i64> {
        let behind = self.key_times.partition_point(|key| *key <= time);
        behind.checked_sub(1 + KEY_FRAMES_BACK).and_then(|at| self.key_times.get(at)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_in_the_order_of_their_times() {
        let index = Index::parse("0,K__\n300,___\n100,___\n200,___\n400,K__\n600,___\n500,___\n700,K_\n").unwrap();
        assert_eq!((index.len(), index.first(), index.time(5)), (8, Some(0), Some(500)));
        assert_eq!(index.begin(0), None);
        assert_eq!(index.begin(399), None);
        assert_eq!(index.begin(450), Some(0), "a key frame back from the one before it");
        assert_eq!(index.begin(700), Some(400));
    }

    #[test]
    fn what_is_cut_away_does_not_count_and_missing_times_leave_no_index() {
        let index = Index::parse("-100,KD_\n0,_D_\n50,___\n").unwrap();
        assert_eq!((index.len(), index.first()), (1, Some(50)));
        assert_eq!(Index::parse("N/A,K__\n"), None);
        assert_eq!(Index::parse("0,K__\n0,___\n"), None, "two pictures at one time");
        assert_eq!(Index::parse("").unwrap().len(), 0);
    }
}
