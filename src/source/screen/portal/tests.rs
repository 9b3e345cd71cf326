//! The hub's side against a stand-in: a script that says what `framehost-portal` says.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    wire::{Header, MAX_WORD_BYTES},
    *,
};

/// A folder with the script and what it writes.
struct StandIn {
    dir: tempfile::TempDir,
    script: String,
    files: usize,
}

impl StandIn {
    /// Reads the order, and keeps it.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let script = format!("#!/bin/sh\ncd {}\nread -r order; printf '%s' \"$order\" >order\n", dir.path().display());
        Self { dir, script, files: 0 }
    }

    fn then(mut self, line: &str) -> Self {
        self.script += line;
        self.script += "\n";
        self
    }

    fn writes(mut self, bytes: &[u8]) -> Self {
        self.files += 1;
        let name = format!("bytes-{}", self.files);
        fs::write(self.dir.path().join(&name), bytes).unwrap();
        self.then(&format!("cat {name}"))
    }

    fn says(self, word: &Word) -> Self {
        let body = serde_json::to_vec(word).unwrap();
        let header = Header::Word { len: body.len() }.encode().unwrap();
        self.writes(&[&header, &body[..]].concat())
    }

    /// Waits for an ask.
    fn asked(self) -> Self {
        self.then("dd bs=1 count=1 of=/dev/null 2>/dev/null")
    }

    fn shows(self, width: u32, height: u32, shade: u8) -> Self {
        let header = PictureHeader {
            format: PixelFormat::Rgba,
            width,
            height,
            stride: width * 4 + 4,
            mono_ns: 1,
            is_compositors_time: true,
        };
        let body: Vec<u8> = (0..height)
            .flat_map(|_| std::iter::repeat_n([shade, 1, 2, 77], width as usize).flatten().chain([0xEE; 4]))
            .collect();
        let header = Header::Picture(header).encode().unwrap();
        self.writes(&[&header, &body[..]].concat())
    }

    fn changes_nothing(self) -> Self {
        self.writes(&Header::Unchanged.encode().unwrap())
    }

    /// Stays until its input ends.
    fn waits(self) -> Self {
        self.then("cat >/dev/null; echo >ended")
    }

    fn program(&self) -> PathBuf {
        let program = self.dir.path().join("framehost-portal");
        let script = self.dir.path().join("script");
        fs::write(&script, &self.script).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        // By another process: one that a test beside this starts meanwhile may hold what we have open, and nobody can
        // run a file that is open for writing.
        assert!(Command::new("cp").args([&script, &program]).status().unwrap().success());
        program
    }

    fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn open(&self, options: &ScreenOptions) -> Result<Portal, SourceError> {
        let stop = Stop::default();
        let remembered = TokenFile::of(Some(&self.state_dir()), &options.target);
        let link = ask_user(&self.program(), options, &remembered, &stop)?;
        Portal::begin(link, options, remembered, &stop)
    }

    fn order(&self) -> Order {
        serde_json::from_slice(&fs::read(self.dir.path().join("order")).unwrap()).unwrap()
    }

    fn token(&self) -> Option<String> {
        TokenFile::of(Some(&self.state_dir()), &ScreenTarget::Primary).read()
    }

    fn remember(&self, token: &str) {
        TokenFile::of(Some(&self.state_dir()), &ScreenTarget::Primary).replace(Some(token));
    }
}

fn granted(token: Option<&str>) -> Word {
    Word::Granted { restore_token: token.map(str::to_owned) }
}

fn nowhere() -> TokenFile {
    TokenFile::of(None, &ScreenTarget::Primary)
}

fn fast() -> ScreenOptions {
    ScreenOptions { fps: 200.0, ..ScreenOptions::default() }
}

fn next(portal: &mut Portal) -> Result<VideoFrame, SourceError> {
    let stop = Stop::default();
    let due = Instant::now() + Duration::from_secs(10);
    while Instant::now() < due {
        match portal.next(&stop)? {
            Step::Picture(picture) => return Ok(picture.frame),
            Step::Idle => {}
            Step::End => panic!("a screen has no end"),
        }
    }
    panic!("nothing came");
}

fn has(frame: &VideoFrame, key: &str) -> bool {
    frame.metadata().get(key).is_some_and(|value| value == "true")
}

#[test]
fn pictures_come_once_new_then_as_repeats_and_say_when_their_size_changes() {
    let stand_in = StandIn::new().says(&granted(Some("next"))).asked().shows(3, 2, 10);
    let stand_in = stand_in.asked().changes_nothing().asked().changes_nothing().asked().shows(2, 2, 20);
    let stand_in = stand_in.asked().changes_nothing().waits();
    stand_in.remember("last");
    let mut portal = stand_in.open(&fast()).unwrap();
    assert_eq!((portal.granted().width, portal.granted().height, portal.granted().backend), (3, 2, "portal"));
    assert_eq!((stand_in.order().restore_token.as_deref(), stand_in.token().as_deref()), (Some("last"), Some("next")));
    let frames: Vec<_> = (0..4).map(|_| next(&mut portal).unwrap()).collect();
    let said: Vec<_> = frames.iter().map(|frame| (has(frame, "repeat"), has(frame, "resized"))).collect();
    assert_eq!(said, [(false, false), (true, false), (false, true), (true, false)]);
    assert_eq!(frames[1].frame_data()[..], [10, 1, 2].repeat(6));
    assert_eq!((frames[2].width(), &frames[2].frame_data()[..]), (2, &[20, 1, 2].repeat(4)[..]));
    assert_eq!((portal.granted().width, portal.granted().height), (2, 2));
    let stamps: Vec<u64> = frames.iter().map(|frame| frame.metadata()["mono_us"].parse().unwrap()).collect();
    assert!(stamps.is_sorted_by(|a, b| a + 1000 <= *b), "{stamps:?}");
    assert_eq!((&frames[0].metadata()["clock"][..], &frames[1].metadata()["clock"][..]), ("compositor", "host"));
    drop(portal);
    assert!(stand_in.dir.path().join("ended").exists(), "it may end by itself");
}

#[test]
fn the_fourth_byte_of_a_pixel_is_opaque() {
    let stand_in = StandIn::new().says(&granted(None)).asked().shows(1, 1, 10).asked().changes_nothing().waits();
    let mut portal = stand_in.open(&ScreenOptions { format: PixelFormat::Bgra, ..fast() }).unwrap();
    assert_eq!(next(&mut portal).unwrap().frame_data()[..], [2, 1, 10, 255]);
}

#[test]
fn the_order_says_what_is_wanted() {
    let stand_in = StandIn::new().says(&Word::Missing { problem: "nothing".to_owned() });
    let options = ScreenOptions {
        target: ScreenTarget::Window("7".to_owned()),
        region: Some(Region { x: 1, y: 2, width: 3, height: 4 }),
        fps: 12.5,
        cursor: true,
        ..ScreenOptions::default()
    };
    let error = stand_in.open(&options).err().unwrap();
    assert!(matches!(&error, SourceError::Missing { hint, .. } if hint == "nothing"), "{error}");
    let order = stand_in.order();
    assert_eq!((order.source, order.cursor, order.region), (Source::Window, true, Some((1, 2, 3, 4))));
    assert_eq!((order.version, order.fps, order.restore_token), (VERSION, 12.5, None));
}

#[test]
fn a_refusal_is_permission_denied_and_forgets_the_choice() {
    let stand_in = StandIn::new().says(&Word::Denied { problem: "the user has refused".to_owned() });
    stand_in.remember("stale");
    let error = stand_in.open(&fast()).err().unwrap();
    assert_eq!((error.reason(), error.is_lost()), ("permission_denied", false));
    assert!(error.to_string().contains("the user has refused"), "{error}");
    assert_eq!((stand_in.order().restore_token.as_deref(), stand_in.token()), (Some("stale"), None));
}

#[test]
fn what_ends_a_stream_is_lost_unless_it_cannot_come_back() {
    let check = |last: &dyn Fn(StandIn) -> StandIn, reason: &str, words: &str| {
        let stand_in = last(StandIn::new().says(&granted(None)).asked().shows(3, 2, 1).asked());
        let mut portal = stand_in.open(&fast()).unwrap();
        let error = next(&mut portal).err().unwrap();
        assert_eq!(error.reason(), reason, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    };
    let lost = Word::Lost { problem: "the desktop has ended it".to_owned() };
    check(&|it| it.says(&lost), "device_lost", "the desktop has ended it");
    check(&|it| it.says(&Word::Outside { width: 1, height: 1 }), "region_outside", "1 x 1");
    check(&|it| it.says(&granted(None)), "device_lost", "answered twice");
    check(&|it| it.then("echo 'assertion failed' >&2; exit 1"), "device_lost", "assertion failed");
    check(&|it| it.then("kill -9 $$"), "device_lost", "signal: 9");
    check(&|it| it.then("exit 0"), "device_lost", "has ended");
    check(&|it| it.writes(&[0; 32]), "device_lost", "different versions");
    check(
        &|it| it.writes(b"FHP\x01\x00\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0{}"),
        "device_lost",
        "nobody",
    );
}

#[test]
fn a_screen_that_the_user_has_taken_back_is_asked_for_again() {
    let check = |word: &Word, kept: Option<&str>| {
        let stand_in = StandIn::new().says(&granted(Some("next"))).asked().shows(3, 2, 1).asked().says(word);
        let mut portal = stand_in.open(&fast()).unwrap();
        assert!(next(&mut portal).err().unwrap().is_lost());
        assert_eq!(stand_in.token().as_deref(), kept, "{word:?}");
    };
    let problem = "the desktop has ended it".to_owned();
    check(&Word::Lost { problem: problem.clone() }, Some("next"));
    check(&Word::Stopped { problem }, None);
}

#[test]
fn a_program_that_ends_before_it_answers_is_no_refusal() {
    let stand_in = StandIn::new().then("echo 'no bus' >&2; exit 1");
    let error = stand_in.open(&fast()).err().unwrap();
    assert!(matches!(&error, SourceError::DeviceLost { problem, .. } if problem.contains("no bus")), "{error}");
    let error = ask_user(Path::new("/nonexistent"), &fast(), &nowhere(), &Stop::default()).err().unwrap();
    assert_eq!(error.reason(), "missing");
}

#[test]
fn an_end_comes_while_no_picture_is_due() {
    let stand_in = StandIn::new().says(&granted(None)).asked().shows(3, 2, 1).asked().changes_nothing();
    let stand_in = stand_in.says(&Word::Lost { problem: "unplugged".to_owned() }).waits();
    let mut portal = stand_in.open(&ScreenOptions { fps: 0.01, ..fast() }).unwrap();
    next(&mut portal).unwrap();
    let error = next(&mut portal).err().unwrap();
    assert!(error.to_string().contains("unplugged"), "{error}");
}

#[test]
fn a_dialog_ends_with_its_stream_and_does_not_hold_up_the_next_for_ever() {
    let stand_in = StandIn::new().waits();
    let (program, stop) = (stand_in.program(), Stop::default());
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| ask_user(&program, &fast(), &nowhere(), &stop).err().unwrap());
        let due = Instant::now() + Duration::from_secs(10);
        while !stand_in.dir.path().join("order").exists() {
            assert!(Instant::now() < due);
            std::thread::yield_now();
        }
        assert!(Turn::take(Instant::now(), &Stop::default()).is_none(), "one asks at a time");
        stop.set();
        assert_eq!(asking.join().unwrap().reason(), "open_timeout");
    });
    assert!(stand_in.dir.path().join("ended").exists());
    assert!(Turn::take(Instant::now() + Duration::from_secs(60), &Stop::default()).is_some());
}

#[test]
fn a_word_of_the_longest_length_is_read() {
    let problem = "x".repeat(MAX_WORD_BYTES - r#"{"denied":{"problem":""}}"#.len());
    let stand_in = StandIn::new().says(&Word::Denied { problem });
    assert_eq!(stand_in.open(&fast()).err().unwrap().reason(), "permission_denied");
}
