//! The library's sources on Windows and macOS: the screens there, a program's window, and a file by that system's ffmpeg.
//!
//! `FRAMEHOST_TEST_PAINTED`: the size of a screen that shows the pattern of `tests/windows/paint.py` wherever no window
//! is, `1024x600`. Without it the pixels are not judged; all else is.

#![cfg(all(feature = "screen", feature = "camera", any(windows, target_os = "macos")))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test panics")]

use std::{
    process::Command,
    time::{Duration, Instant},
};

use framehost::{
    frame::{PixelFormat, VideoFrame},
    source::{
        SourceOptions,
        camera::{CameraId, CameraOptions},
        devices::{self, Devices, ScreenInfo},
        file::FileOptions,
        screen::{Region, ScreenOptions, ScreenTarget},
    },
    stream_handler::{Captured, HandlerError, StreamHandler},
};
use sha2::{Digest, Sha256};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);

fn painted() -> Option<(u32, u32)> {
    let text = std::env::var("FRAMEHOST_TEST_PAINTED").ok()?;
    let (width, height) = text.split_once('x').expect("1024x600");
    Some((width.parse().unwrap(), height.parse().unwrap()))
}

/// The painted pixel, red, green and blue.
fn pattern(x: u32, y: u32) -> [u8; 3] {
    [x, y, 3 * x + 7 * y].map(|value| u8::try_from(value % 256).unwrap())
}

fn primary(devices: &Devices) -> ScreenInfo {
    assert!(devices.missing.iter().all(|part| part.what != "screen"), "{:?}", devices.missing);
    devices.screens.first().expect("a screen").clone()
}

async fn capture(options: ScreenOptions) -> Captured {
    StreamHandler::default().capture_screen(options).await.unwrap()
}

async fn next(captured: &Captured) -> Result<VideoFrame, HandlerError> {
    tokio::time::timeout(LIMIT, captured.next()).await.expect("a picture in time").expect("no end")
}

async fn refusal(options: ScreenOptions) -> &'static str {
    StreamHandler::default().capture_screen(options).await.unwrap_err().reason()
}

fn assert_painted(frame: &VideoFrame, left: u32, top: u32) {
    let width = frame.width();
    for (number, pixel) in (0..).zip(frame.frame_data().as_chunks::<3>().0) {
        let (x, y) = (left + number % width, top + number / width);
        assert_eq!(*pixel, pattern(x, y), "at {x},{y}");
    }
}

#[tokio::test]
async fn a_screen_is_listed_and_read_in_its_own_pixels() {
    let screen = primary(&devices::list(&SourceOptions::default()));
    assert!(screen.is_primary && screen.width > 0 && screen.scale >= 0.5, "{screen:?}");
    let captured = capture(ScreenOptions { fps: 20.0, ..Default::default() }).await;
    let granted = captured.granted();
    assert_eq!((granted.backend, &granted.device), ("xcap", &screen.id));
    assert_eq!((granted.width, granted.height), (screen.width, screen.height));

    let began = Instant::now();
    let mut last_ms = 0;
    for _ in 0..10 {
        let frame = next(&captured).await.unwrap();
        assert_eq!((frame.width(), frame.height()), (screen.width, screen.height));
        assert!(frame.timestamp_ms() > last_ms, "{} after {last_ms}", frame.timestamp_ms());
        last_ms = frame.timestamp_ms();
        let metadata = frame.metadata();
        assert_eq!(metadata["screen"], screen.id);
        assert_eq!((&metadata["screen_x"], &metadata["screen_y"]), (&screen.x.to_string(), &screen.y.to_string()));
        assert_eq!(metadata["clock"], "host");
        if let Some((width, height)) = painted() {
            assert_eq!((frame.width(), frame.height()), (width, height));
            assert_eq!(&frame.frame_data()[..3], pattern(0, 0));
        }
    }
    assert!(began.elapsed() >= Duration::from_millis(400), "10 pictures at 20 a second: {:?}", began.elapsed());
}

#[tokio::test]
async fn a_part_of_a_screen_comes_pixel_by_pixel_in_every_layout() {
    let ScreenInfo { id, width, height, .. } = primary(&devices::list(&SourceOptions::default()));
    let region = Some(Region { x: 301, y: 7, width: 259, height: 33 });
    let target = ScreenTarget::Screen(id);
    let options = ScreenOptions { target, region, ..Default::default() };
    let rgb = next(&capture(options.clone()).await).await.unwrap();
    assert_eq!((rgb.width(), rgb.height()), (259, 33));
    assert_eq!(rgb.metadata()["screen_x"], "301");
    if painted().is_some() {
        assert_painted(&rgb, 301, 7);
        for (format, order) in [(PixelFormat::Rgba, [0, 1, 2]), (PixelFormat::Bgra, [2, 1, 0])] {
            let frame = next(&capture(ScreenOptions { format, ..options.clone() }).await).await.unwrap();
            let same = frame.frame_data().as_chunks::<4>().0.iter().zip(rgb.frame_data().as_chunks::<3>().0);
            for (four, three) in same {
                assert_eq!((order.map(|at| four[at]), four[3]), (*three, 255), "{format:?}");
            }
        }
    }
    let yuv = next(&capture(ScreenOptions { format: PixelFormat::I420, ..options.clone() }).await).await.unwrap();
    assert_eq!(yuv.frame_data().len(), 259 * 33 + 2 * 130 * 17);
    assert!(yuv.metadata().contains_key("color_matrix"), "{:?}", yuv.metadata());

    let outside = Some(Region { x: 1, y: 0, width, height });
    assert_eq!(refusal(ScreenOptions { region: outside, ..options.clone() }).await, "region_outside");
    let target = ScreenTarget::Screen("no such screen".to_owned());
    assert_eq!(refusal(ScreenOptions { target, ..options.clone() }).await, "no_such_device");
    let target = ScreenTarget::Window("0xfffffff1".to_owned());
    assert_eq!(refusal(ScreenOptions { target, region: None, ..options.clone() }).await, "no_such_device");
    assert_eq!(refusal(ScreenOptions { cursor: true, ..options }).await, "unsupported_mode");
}

/// A program with a window, ended with its owner.
#[cfg(windows)]
struct Program(std::process::Child);

#[cfg(windows)]
impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(windows)]
#[tokio::test]
async fn a_window_is_found_followed_and_lost_with_its_program() {
    let mut notepad = Program(Command::new("notepad.exe").spawn().unwrap());
    let began = Instant::now();
    let window = loop {
        let windows = devices::list(&SourceOptions::default()).windows;
        if let Some(window) = windows.iter().find(|window| window.title.contains("Notepad")) {
            break window.clone();
        }
        assert!(began.elapsed() < LIMIT, "{windows:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let target = ScreenTarget::Window(window.id.clone());
    let captured = capture(ScreenOptions { target, ..Default::default() }).await;
    assert_eq!(captured.granted().device, window.id);
    let frame = next(&captured).await.unwrap();
    assert_eq!((frame.width(), frame.height()), (window.width, window.height));
    assert_eq!(frame.metadata()["screen_x"], window.x.to_string());

    notepad.0.kill().unwrap();
    notepad.0.wait().unwrap();
    let lost = loop {
        match next(&captured).await {
            Ok(_) => assert!(began.elapsed() < LIMIT),
            Err(error) => break error,
        }
    };
    assert!(matches!(lost, HandlerError::Lost(_)), "{lost:?}");
    assert_eq!(lost.reason(), "device_lost");
}

#[tokio::test]
async fn a_camera_that_is_not_there_is_refused_by_name() {
    let options = CameraOptions { camera: CameraId::Name("no such camera".to_owned()), ..Default::default() };
    let error = StreamHandler::default().capture_camera(options).await.unwrap_err();
    // Wine 8 does not know the version of Media Foundation that nokhwa asks for (MF_E_BAD_STARTUP_VERSION).
    if cfg!(windows) && std::env::var_os("WINEPREFIX").is_some() {
        assert!(error.to_string().to_ascii_uppercase().contains("C00D36E3"), "{error}");
        assert!(
            devices::list(&SourceOptions::default())
                .missing
                .iter()
                .any(|part| part.what == "camera" && !part.problem.is_empty())
        );
    } else {
        assert_eq!(error.reason(), "no_such_device", "{error}");
    }
}

#[tokio::test]
async fn every_picture_of_a_file_is_what_ffmpeg_decodes() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a b.mp4");
    let ffmpeg = |arguments: &[&str]| {
        let output = Command::new("ffmpeg").args(["-v", "error", "-nostdin"]).args(arguments).output().expect("ffmpeg");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    };
    let name = file.to_str().unwrap();
    let source = "testsrc2=s=640x360:r=30:d=2";
    ffmpeg(&["-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p", "-c:v", "libx264", "-bf", "2", name]);
    let planes = ffmpeg(&["-i", name, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]);
    let reference: Vec<_> = planes.chunks(640 * 360 * 3 / 2).map(Sha256::digest).collect();
    assert_eq!(reference.len(), 60);

    let handler = StreamHandler::new(SourceOptions::default());
    for start_frame in [0, 37] {
        let options = FileOptions { start_frame, format: PixelFormat::I420, ..FileOptions::new(&file) };
        let captured = handler.read_video_file(options).await.unwrap();
        let mut number = start_frame;
        while let Some(frame) = tokio::time::timeout(LIMIT, captured.next()).await.unwrap() {
            let frame = frame.unwrap();
            assert_eq!(u64::from(frame.frame_number()), number);
            assert!(Sha256::digest(frame.frame_data()) == reference[usize::try_from(number).unwrap()], "{number}");
            number += 1;
        }
        assert_eq!(number, 60);
    }
    let missing = handler.read_video_file(FileOptions::new(dir.path().join("none.mp4"))).await.unwrap_err();
    assert_eq!(missing.reason(), "file");
}
