//! What ffprobe says about a file.

use std::{
    ffi::OsString,
    path::Path,
    time::{Duration, Instant},
};

use serde::Deserialize;

use crate::{
    ffmpeg::{Child, FfmpegError, Input, Read, Tools},
    source::{SourceError, Stop, TICK},
};

/// How long ffprobe may be silent.
const SILENCE: Duration = Duration::from_secs(20);

/// Most bytes of an answer (256 MiB: some ten million packets).
const MAX_ANSWER_BYTES: usize = 256 << 20;

/// Containers that are read: those whose pictures are in the file itself. Others name further files, or take a file's name
/// for a pattern of names (`image2`), and so lead out of the directories that a file has to be in.
const CONTAINERS: &str = "mov,matroska,avi,mpegts,mpeg,mpegvideo,ogg,flv,asf,ivf,mxf,nut,gif,apng,h264,hevc,vvc,obu,av1,m4v,\
                          mjpeg,mpjpeg,yuv4mpegpipe,dv,rm,vc1,h261,h263,dirac,swf,wtv,gxf,nuv,dhav";

/// How ffmpeg says that it is none of them.
const OTHER_CONTAINER: &str = "not on whitelist";

/// A file's first video stream.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct VideoInfo {
    #[serde(default)]
    pub(super) codec_name: String,
    #[serde(default)]
    pub(super) pix_fmt: String,
    #[serde(default)]
    pub(super) width: u32,
    #[serde(default)]
    pub(super) height: u32,
    pub(super) color_space: Option<String>,
    pub(super) color_range: Option<String>,
    #[serde(default)]
    avg_frame_rate: String,
    #[serde(default)]
    pub(super) time_base: String,
    pub(super) sample_aspect_ratio: Option<String>,
    #[serde(default)]
    side_data_list: Vec<SideData>,
}

#[derive(Debug, Clone, Deserialize)]
struct SideData {
    rotation: Option<f64>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    streams: Vec<VideoInfo>,
    format: Option<Container>,
}

#[derive(Deserialize)]
struct Container {
    #[serde(default)]
    format_name: String,
}

impl VideoInfo {
    /// Pictures a second on average; 0 where it is not known.
    pub(super) fn fps(&self) -> f64 {
        fraction(&self.avg_frame_rate).unwrap_or(0.0)
    }

    /// The size that is shown: turned as the file says.
    pub(super) fn shown_size(&self) -> (u32, u32) {
        let rotation = self.side_data_list.iter().find_map(|data| data.rotation).unwrap_or(0.0);
        let is_upright = (rotation / 90.0).round().rem_euclid(2.0) < 0.5;
        if is_upright { (self.width, self.height) } else { (self.height, self.width) }
    }
}

/// `30000/1001`.
pub(super) fn fraction(text: &str) -> Option<f64> {
    let (numerator, denominator) = text.split_once('/')?;
    let (numerator, denominator): (f64, f64) = (numerator.parse().ok()?, denominator.parse().ok()?);
    (denominator != 0.0).then(|| numerator / denominator)
}

/// The arguments that name a file, and keep ffmpeg to it.
pub(super) fn input(path: &Path) -> [OsString; 6] {
    // With its protocol, so that no name is taken for an option or for another protocol.
    let mut file = OsString::from("file:");
    file.push(path);
    let [protocols, containers] = ["-protocol_whitelist", "-format_whitelist"].map(OsString::from);
    [protocols, "file,pipe".into(), containers, CONTAINERS.into(), "-i".into(), file]
}

/// The file's first video stream.
pub(super) fn probe(tools: &Tools, path: &Path, stop: &Stop) -> Result<VideoInfo, SourceError> {
    let entries = "stream=codec_name,pix_fmt,width,height,color_space,color_range,avg_frame_rate,time_base,\
                   sample_aspect_ratio:stream_side_data=rotation:format=format_name";
    let not_a_video = |problem: String| SourceError::NotAVideo { problem, path: path.to_owned() };
    let json = ask(tools, path, &["-select_streams", "v:0", "-show_entries", entries, "-of", "json"], stop);
    let json = json.map_err(|error| match error {
        SourceError::NotAVideo { problem, .. } if problem.contains(OTHER_CONTAINER) => {
            not_a_video("no container that is read, or a list of other files".to_owned())
        }
        other => other,
    })?;
    let answer: Answer = serde_json::from_slice(&json).map_err(|error| not_a_video(error.to_string()))?;
    let container = answer.format.map(|format| format.format_name).unwrap_or_default();
    let info = answer.streams.into_iter().next();
    let info = info.ok_or_else(|| not_a_video(format!("{container} without video")))?;
    if info.width == 0 || info.height == 0 || info.pix_fmt.is_empty() {
        return Err(not_a_video(format!("{} of unknown size or pixels", info.codec_name)));
    }
    Ok(info)
}

/// Asks ffprobe.
pub(super) fn ask(tools: &Tools, path: &Path, what: &[&str], stop: &Stop) -> Result<Vec<u8>, SourceError> {
    let mut arguments: Vec<OsString> = ["-hide_banner", "-v", "error"].map(OsString::from).to_vec();
    arguments.extend(what.iter().map(OsString::from));
    arguments.extend(input(path));
    let arguments: Vec<_> = arguments.iter().map(OsString::as_os_str).collect();
    let mut child = Child::start(&tools.ffprobe, &arguments, Input::Nothing, |_| {})?;
    let mut answer = Vec::new();
    let mut part = vec![0; 64 << 10];
    let mut heard = Instant::now();
    loop {
        match child.read(&mut part, TICK)? {
            Read::Bytes(_) if stop.is_set() => return Err(child.hangs(heard.elapsed()).into()),
            Read::Bytes(count) => {
                heard = Instant::now();
                answer.extend_from_slice(part.get(..count).unwrap_or_default());
                if answer.len() > MAX_ANSWER_BYTES {
                    let problem = "its index is too long".to_owned();
                    return Err(SourceError::NotAVideo { problem, path: path.to_owned() });
                }
            }
            Read::End => break,
            Read::Nothing if stop.is_set() || heard.elapsed() > SILENCE => {
                return Err(child.hangs(heard.elapsed()).into());
            }
            Read::Nothing => {}
        }
    }
    match child.finish() {
        Ok(_) => Ok(answer),
        // What it says of a file is the file's fault.
        Err(FfmpegError::Failed { problem, .. }) => Err(SourceError::NotAVideo { problem, path: path.to_owned() }),
        Err(other) => Err(other.into()),
    }
}
