//! Where the programs are.

use std::{
    env,
    path::{Path, PathBuf},
};

use super::FfmpegError;

/// The programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tools {
    /// Decodes.
    pub ffmpeg: PathBuf,
    /// Tells what a file holds.
    pub ffprobe: PathBuf,
}

impl Tools {
    /// Finds the programs. `configured`: the ffmpeg program; `PATH` is searched unless it is set. `ffprobe` is taken
    /// from beside it, or from `PATH`.
    ///
    /// # Errors
    ///
    /// [`FfmpegError::NotFound`].
    pub fn find(configured: Option<&Path>) -> Result<Self, FfmpegError> {
        let path = env::var_os("PATH").unwrap_or_default();
        let file_name = |name: &str| format!("{name}{}", env::consts::EXE_SUFFIX);
        let in_path =
            |name: &str| env::split_paths(&path).map(|dir| dir.join(file_name(name))).find(|program| program.is_file());
        let not_found = |program: &Path| FfmpegError::NotFound { program: program.display().to_string() };
        let ffmpeg = match configured {
            Some(program) if program.is_file() => program.to_owned(),
            Some(program) => return Err(not_found(program)),
            None => in_path("ffmpeg").ok_or_else(|| not_found(Path::new("ffmpeg")))?,
        };
        let beside = ffmpeg.with_file_name(file_name("ffprobe"));
        let ffprobe = if beside.is_file() { Some(beside) } else { in_path("ffprobe") };
        let ffprobe = ffprobe.ok_or_else(|| not_found(Path::new("ffprobe")))?;
        Ok(Self { ffmpeg, ffprobe })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_configured_program_is_taken_with_its_neighbour_or_named_when_it_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let ffprobe = dir.path().join(format!("ffprobe{}", env::consts::EXE_SUFFIX));
        let ffmpeg = dir.path().join("ffmpeg");
        let error = Tools::find(Some(&ffmpeg)).unwrap_err();
        assert!(error.to_string().contains("install it") && error.reason() == "ffmpeg_missing", "{error}");
        fs::write(&ffmpeg, "").unwrap();
        fs::write(&ffprobe, "").unwrap();
        assert_eq!(Tools::find(Some(&ffmpeg)).unwrap().ffprobe, ffprobe);
    }
}
