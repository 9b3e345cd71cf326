//! 1080p of an X11 screen to the bytes of RGB, beside xcap and beside mss with numpy, on a display of the benchmark's
//! own (Xvfb).
//!
//! framehost's way is `Capture::next`, as a source's thread calls it: from the request to the server to a `VideoFrame`
//! with its metadata. The others tell their own times, without the pipes that their answers come by. All take turns,
//! picture by picture.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    Bound, Peer, Samples, common::eventually, display, is_quick, judge, milliseconds, thorough_or_quick,
};
use framehost::{
    frame::VideoFrame,
    source::{
        Capture, SourceOptions, Step, Stop,
        screen::{self, ScreenOptions},
    },
};

/// Pictures that do not count: buffers are new.
const WARM_UP: usize = 5;

pub fn run() {
    if !display::is_inside() {
        return display::run_inside();
    }
    let count = thorough_or_quick(300, 10);
    let mut screen = Screen::open();
    let mut before = screen.take().0;
    eventually("the screen shows a logo, black on white, and nothing is drawn any more", || {
        let now = screen.take().0;
        let before = std::mem::replace(&mut before, now.clone());
        [0, 255].iter().all(|colour| now.frame_data().contains(colour)) && now.frame_data() == before.frame_data()
    });
    let mut xcap = Peer::xcap();
    let mut mss = Peer::python("screen_mss.py");
    let [mut ours, mut by_xcap, mut by_mss] = [const { Samples(Vec::new()) }; 3];
    for round in 0..WARM_UP + count {
        let (frame, elapsed) = screen.take();
        let mut figures = vec![(&mut ours, elapsed)];
        for (peer, samples) in [(&mut xcap, &mut by_xcap), (&mut mss, &mut by_mss)] {
            let Some(peer) = peer else { continue };
            let [elapsed, seen] = peer.ask("");
            assert_eq!(seen, sum(&frame), "all have seen the same");
            figures.push((samples, elapsed));
        }
        if round >= WARM_UP {
            figures.into_iter().for_each(|(samples, elapsed)| samples.push(elapsed));
        }
    }
    println!("ms from the call to the pixels, 1920 x 1080, {count} pictures\n");
    println!("{:<14} {:>8} {:>8} {:>8}", "", "p50", "p90", "best");
    for (name, samples) in [("framehost", &ours), ("xcap", &by_xcap), ("mss and numpy", &by_mss)] {
        if !samples.0.is_empty() {
            let (median, best) = (samples.median(), samples.quantile(0.0));
            println!("{name:<14} {median:>8.2} {:>8.2} {best:>8.2}", samples.quantile(0.9));
        }
    }
    println!();
    judge("1080p screen to RGB, median", ours.median(), "ms", Bound::Under(2.5));
    for (name, samples, least) in [("xcap", &by_xcap, 10.0), ("mss and numpy", &by_mss, 8.0)] {
        if !samples.0.is_empty() {
            let ratio = samples.median() / ours.median();
            judge(&format!("framehost to {name}"), ratio, "times as fast", Bound::AtLeast(least));
        }
    }
    if is_quick() {
        println!("\nquick: the figures above are not measurements");
    }
}

/// The source as its thread has it.
struct Screen {
    capture: Box<dyn Capture>,
    stop: Stop,
}

impl Screen {
    fn open() -> Self {
        let stop = Stop::default();
        let options = ScreenOptions { fps: MAX_FPS, ..ScreenOptions::default() };
        Self { capture: screen::open(&options, &SourceOptions::default(), &stop).unwrap(), stop }
    }

    /// The next picture, and the milliseconds that it took.
    fn take(&mut self) -> (VideoFrame, f64) {
        // It is due when it is asked for, so that its pace is not in the time.
        thread::sleep(Duration::from_secs_f64(1.5 / MAX_FPS));
        let began = Instant::now();
        match self.capture.next(&self.stop).unwrap() {
            Step::Picture(picture) => (picture.frame, milliseconds(began.elapsed())),
            other => panic!("no picture: {other:?}"),
        }
    }
}

/// The highest rate of a screen, in pictures a second.
const MAX_FPS: f64 = 240.0;

/// Of all bytes.
fn sum(frame: &VideoFrame) -> f64 {
    let sum: u64 = frame.frame_data().iter().map(|value| u64::from(*value)).sum();
    f64::from(u32::try_from(sum).expect("6 MB of bytes"))
}
