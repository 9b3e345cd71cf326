//! A 1080p H.264 file to pictures in RGB, beside OpenCV in Python, and beside ffmpeg alone, whose planes go to a pipe and
//! are thrown away.
//!
//! ```text
//! framehost   StreamHandler::read_video_file: ffprobe, ffmpeg -> pipe -> I420 -> RGB -> VideoFrame -> queue -> reader
//! OpenCV      file_opencv.py: VideoCapture -> BGR -> cvtColor -> tobytes
//! ffmpeg      ffmpeg -f rawvideo -pix_fmt yuv420p -> pipe -> a reader that only counts
//! ```
//!
//! All take turns, file by file, each from opening it to the last picture.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::support::{Bound, Peer, Samples, is_quick, judge, thorough_or_quick, video};

pub fn run() {
    let (frames, rounds) = thorough_or_quick((600, 7), (30, 1));
    let path = kept_video(frames);
    let rate = |elapsed: Duration| f64::from(frames) / elapsed.as_secs_f64();
    let mut opencv = Peer::python("file_opencv.py");
    let [mut ours, mut by_opencv, mut by_ffmpeg] = [const { Samples(Vec::new()) }; 3];
    let [mut to_opencv, mut to_ffmpeg] = [const { Samples(Vec::new()) }; 2];
    for _ in 0..rounds {
        let our_rate = rate(video::read_by_framehost(&path, frames));
        ours.push(our_rate);
        if let Some(peer) = &mut opencv {
            let [count, seconds] = peer.ask(path.to_str().unwrap());
            assert_eq!(count, f64::from(frames));
            by_opencv.push(count / seconds);
            to_opencv.push(our_rate * seconds / count);
        }
        let ffmpeg_rate = rate(video::read_by_ffmpeg(&path, frames));
        by_ffmpeg.push(ffmpeg_rate);
        to_ffmpeg.push(our_rate / ffmpeg_rate);
    }
    let megabits = fs::metadata(&path).unwrap().len() * 8 * 30 / u64::from(frames) / 100_000;
    println!("pictures a second of 1080p H.264, {frames} pictures, {rounds} rounds");
    println!("the file has {}.{} Mbit/s at 30 pictures a second\n", megabits / 10, megabits % 10);
    println!("{:<20} {:>8} {:>8} {:>8}", "", "median", "best", "ratio");
    let one = Samples(vec![1.0]);
    for (name, rates, ratios) in [
        ("framehost, RGB", &ours, &one),
        ("OpenCV, RGB", &by_opencv, &to_opencv),
        ("ffmpeg, planes", &by_ffmpeg, &to_ffmpeg),
    ] {
        if !rates.0.is_empty() {
            println!("{name:<20} {:>8.1} {:>8.1} {:>8.2}", rates.median(), rates.max(), ratios.median());
        }
    }
    println!();
    if !to_opencv.0.is_empty() {
        judge("framehost to OpenCV", to_opencv.median(), "times", Bound::AtLeast(1.2));
    }
    judge("framehost to ffmpeg alone", to_ffmpeg.median(), "times", Bound::AtLeast(0.9));
    if is_quick() {
        println!("\nquick: the figures above are not measurements");
    }
}

/// Made once, and kept for the next run: encoding takes longer than all that is measured.
fn kept_video(frames: u32) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    let path = folder.join(format!("1080p-h264-{frames}.mp4"));
    if !path.exists() {
        fs::create_dir_all(&folder).unwrap();
        let unfinished = folder.join(format!("unfinished-{}.mp4", std::process::id()));
        video::make(&unfinished, frames, "veryfast");
        fs::rename(unfinished, &path).unwrap();
    }
    path
}
