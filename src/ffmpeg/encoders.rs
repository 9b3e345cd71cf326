//! What this ffmpeg can encode with.

use std::{
    ffi::OsStr,
    path::Path,
    time::{Duration, Instant},
};

use super::{Child, FfmpegError, Input, Read};

/// How long the answer may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Most bytes of the answer (256 KiB: it has some 15).
const MAX_BYTES: usize = 256 << 10;

/// The names of its encoders.
///
/// # Errors
///
/// [`FfmpegError`].
pub fn encoders(ffmpeg: &Path) -> Result<Vec<String>, FfmpegError> {
    let arguments = ["-nostdin", "-hide_banner", "-loglevel", "error", "-encoders"].map(OsStr::new);
    let mut child = Child::start(ffmpeg, &arguments, Input::Nothing, |_| {})?;
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    let due = Instant::now() + TIMEOUT;
    loop {
        match child.read(&mut part, due.saturating_duration_since(Instant::now()))? {
            Read::Bytes(count) if answer.len() < MAX_BYTES => {
                answer.extend_from_slice(part.get(..count).unwrap_or_default());
            }
            Read::Bytes(_) => return Err(child.failed("its list of encoders has no end")),
            Read::Nothing => return Err(child.hangs(TIMEOUT)),
            Read::End => break,
        }
    }
    child.finish()?;
    Ok(parse(&String::from_utf8_lossy(&answer)))
}

/// Lines of ` V....D libx264   H.264 …`, behind a line of dashes.
fn parse(answer: &str) -> Vec<String> {
    let list = answer.split_once("------").map_or("", |(_, list)| list);
    list.lines().filter_map(|line| line.split_whitespace().nth(1)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_behind_the_flags() {
        let answer =
            "Encoders:\n V..... = Video\n ------\n V....D libx264    H.264 (codec h264)\n VF.... ffvhuff  Huffyuv\n";
        assert_eq!(parse(answer), ["libx264", "ffvhuff"]);
        assert_eq!(parse("nothing"), [""; 0]);
    }
}
