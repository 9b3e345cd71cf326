//! A video file of 1080p, read by framehost and by ffmpeg alone.

use std::{
    io::Read,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use framehost::{source::file::FileOptions, stream_handler::StreamHandler};

/// Bytes of a picture's planes.
const PLANES: usize = 1920 * 1080 * 3 / 2;

/// A moving pattern with the noise of a camera, in H.264 with B-frames. `preset`: of libx264.
pub fn make(path: &Path, frames: u32, preset: &str) {
    let status = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=1920x1080:rate=30"])
        .args(["-frames:v", &frames.to_string(), "-vf", "noise=alls=12:allf=t,format=yuv420p"])
        .args(["-c:v", "libx264", "-preset", preset, "-crf", "26"])
        .arg(path)
        .status()
        .expect("ffmpeg is installed (Debian: ffmpeg)");
    assert!(status.success(), "ffmpeg cannot make the file: {status}");
}

/// From opening the file to its last picture in RGB.
pub fn read_by_framehost(path: &Path, frames: u32) -> Duration {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let began = Instant::now();
    let count = runtime.block_on(async {
        let pictures = StreamHandler::default().read_video_file(FileOptions::new(path)).await.unwrap();
        let mut count = 0;
        while let Some(frame) = pictures.next().await {
            assert_eq!(frame.unwrap().frame_data().len(), PLANES * 2);
            count += 1;
        }
        count
    });
    let elapsed = began.elapsed();
    assert_eq!(count, frames);
    elapsed
}

/// From starting ffmpeg to its end, its planes thrown away.
pub fn read_by_ffmpeg(path: &Path, frames: u32) -> Duration {
    let began = Instant::now();
    let mut process = Command::new("ffmpeg")
        .args(["-nostdin", "-loglevel", "error", "-i"])
        .arg(path)
        .args(["-f", "rawvideo", "-pix_fmt", "yuv420p", "pipe:1"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = process.stdout.take().unwrap();
    let mut buffer = vec![0; PLANES];
    let mut total = 0;
    loop {
        match output.read(&mut buffer).unwrap() {
            0 => break,
            read => total += read,
        }
    }
    assert!(process.wait().unwrap().success());
    let elapsed = began.elapsed();
    assert_eq!(total, PLANES * frames as usize);
    elapsed
}
