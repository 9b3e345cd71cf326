//! What a file's name says of it.

use std::{fmt, path::Path};

use super::RecordError;

/// The kind of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Container {
    /// Matroska, `.mkv`: holds everything that a stream carries, and can be read as far as it has been written.
    Matroska,
    /// MPEG-4, `.mp4`: opens in every player, and only when it is complete.
    Mp4,
}

impl Container {
    /// By the name's ending, in small or capital letters; `None` for others.
    pub fn of(path: &Path) -> Option<Self> {
        let ending = path.extension()?;
        let is = |name: &str| ending.eq_ignore_ascii_case(name);
        [(Self::Matroska, "mkv"), (Self::Mp4, "mp4")].into_iter().find(|(_, name)| is(name)).map(|(kind, _)| kind)
    }

    /// As [`Self::of`].
    ///
    /// # Errors
    ///
    /// [`RecordError::Name`].
    pub(super) fn named_by(path: &Path) -> Result<Self, RecordError> {
        Self::of(path).ok_or_else(|| RecordError::Name { path: path.to_owned() })
    }

    /// ffmpeg's name.
    pub(super) const fn muxer(self) -> &'static str {
        match self {
            Self::Matroska => "matroska",
            Self::Mp4 => "mp4",
        }
    }
}

impl fmt::Display for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Matroska => "mkv",
            Self::Mp4 => "mp4",
        })
    }
}
