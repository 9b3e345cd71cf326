//! Screens of Wayland desktops, by the desktop portal's ScreenCast.
//!
//! Belongs here: the program `framehost-portal` as the hub sees it: finding, starting and asking it, remembering what
//! the user has allowed, showing the last picture again while nothing changes.
//! Does not belong here: D-Bus and PipeWire (`portal/` beside `src`: no other program loads their libraries).
//!
//! Invariants:
//! - The user is asked by one dialog at a time, and never again for a stream that was refused. A screen that the user
//!   has taken back is not shown again without a question.
//! - A picture is asked for when it is due: one at most is under way, and it is the newest.

mod helper;
mod link;
mod token;
mod turn;
pub mod wire;

use std::time::{Duration, Instant};

use self::{
    link::{Link, Record, lost},
    token::TokenFile,
    turn::Turn,
    wire::{Order, PictureHeader, Source, VERSION, Word},
};
use super::{Region, ScreenOptions, ScreenTarget, pixels::convert_screen};
use crate::{
    frame::{Buffer, Colour, Format, Metadata, PixelFormat, Pool, VideoFrame},
    source::{
        Capture, Granted, Number, Picture, SourceError, SourceOptions, Step, Stop, TICK,
        clock::{Clock, Pace},
        spec::DIALOG_TIMEOUT,
    },
};

/// How long the first picture may take after the user has answered.
const FIRST_PICTURE: Duration = Duration::from_secs(5);

/// How long the program may take to answer that there is, or is no new picture.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// An open screen or window.
struct Portal {
    link: Link,
    options: ScreenOptions,
    remembered: TokenFile,
    granted: Granted,
    /// What is shown again while nothing changes.
    last: VideoFrame,
    /// When it was taken, unless it has been shown.
    fresh: Option<Moment>,
    last_at: Option<Instant>,
    asked: Option<Asked>,
    pool: Pool,
    clock: Clock,
    pace: Pace,
    is_resized: bool,
}

/// When a picture was taken, and by whose clock.
#[derive(Debug, Clone, Copy)]
struct Moment {
    at: Instant,
    clock: &'static str,
}

/// A picture that was asked for.
#[derive(Debug, Clone, Copy)]
struct Asked {
    /// The moment for which it is meant.
    due: Instant,
    since: Instant,
}

/// Can it be tried? Whether the desktop has a portal is known when it is opened. The error says how to get the program.
pub(super) fn find() -> Result<(), String> {
    helper::find().map(drop)
}

/// Opens what the user chooses, or has chosen before.
///
/// # Errors
///
/// [`SourceError::PermissionDenied`] when the user refuses, and the like.
pub(super) fn open(options: &ScreenOptions, env: &SourceOptions, stop: &Stop) -> Result<Box<dyn Capture>, SourceError> {
    let missing = |hint| SourceError::Missing { what: "the desktop portal".to_owned(), hint };
    let program = helper::find().map_err(missing)?;
    let remembered = TokenFile::of(env.state_dir.as_deref(), &options.target);
    let link = ask_user(&program, options, &remembered, stop)?;
    Ok(Box::new(Portal::begin(link, options, remembered, stop)?))
}

/// Starts the program and waits for the user's answer, as long as the user may take.
fn ask_user(
    program: &std::path::Path,
    options: &ScreenOptions,
    remembered: &TokenFile,
    stop: &Stop,
) -> Result<Link, SourceError> {
    let due = Instant::now() + DIALOG_TIMEOUT;
    let no_answer = || SourceError::OpenTimeout {
        device: "the desktop portal".to_owned(),
        waited_ms: u64::try_from(DIALOG_TIMEOUT.as_millis()).unwrap_or(u64::MAX),
    };
    // Held until the next token is remembered: the last is good for one start.
    let _turn = Turn::take(due, stop).ok_or_else(no_answer)?;
    let restore_token = remembered.read();
    let order = Order {
        version: VERSION,
        source: match options.target {
            ScreenTarget::Primary | ScreenTarget::Screen(_) => Source::Screen,
            ScreenTarget::Window(_) => Source::Window,
        },
        cursor: options.cursor,
        restore_token: restore_token.clone(),
        region: options.region.map(|Region { x, y, width, height }| (x, y, width, height)),
        fps: options.fps,
    };
    let mut link = Link::start(program, &order, stop)?;
    while Instant::now() < due && !stop.is_set() {
        match link.receive(TICK)? {
            None => {}
            Some(Record::Word(Word::Granted { restore_token })) => {
                remembered.replace(restore_token.as_deref());
                return Ok(link);
            }
            Some(Record::Word(word)) => {
                if restore_token.is_some() && matches!(word, Word::Denied { .. }) {
                    remembered.replace(None);
                }
                return Err(refusal(word, options));
            }
            Some(Record::Picture(..) | Record::Unchanged) => return Err(lost(&"a picture came before the answer")),
        }
    }
    Err(no_answer())
}

/// What a word other than that the user agrees means.
fn refusal(word: Word, options: &ScreenOptions) -> SourceError {
    match word {
        Word::Denied { problem } => SourceError::PermissionDenied {
            device: "the screen, asked of the desktop portal".to_owned(),
            hint: problem,
        },
        Word::Missing { problem } => SourceError::Missing { what: "the desktop portal".to_owned(), hint: problem },
        Word::Outside { width, height } => {
            let region = options.region.map(|r| format!("{},{} {} x {}", r.x, r.y, r.width, r.height));
            SourceError::RegionOutside { region: region.unwrap_or_default(), screen: name(options), width, height }
        }
        Word::Lost { problem } | Word::Stopped { problem } => lost(&problem),
        Word::Granted { .. } => lost(&"the portal answered twice"),
    }
}

/// What is shown, as it was asked for: what the user chose has no name.
fn name(options: &ScreenOptions) -> String {
    match &options.target {
        ScreenTarget::Primary => "portal".to_owned(),
        ScreenTarget::Screen(id) | ScreenTarget::Window(id) => id.clone(),
    }
}

impl Portal {
    /// Waits for the first picture, from which the size is known.
    fn begin(mut link: Link, options: &ScreenOptions, remembered: TokenFile, stop: &Stop) -> Result<Self, SourceError> {
        let (pool, clock) = (Pool::default(), Clock::start());
        link.ask(stop)?;
        let due = Instant::now() + FIRST_PICTURE;
        let (header, buffer) = loop {
            match link.receive(TICK)? {
                Some(Record::Picture(header, buffer)) => break (header, buffer),
                Some(Record::Word(word)) => return Err(refusal(word, options)),
                Some(Record::Unchanged) => return Err(lost(&"nothing has changed before the first picture")),
                None if Instant::now() >= due || stop.is_set() => {
                    let waited_ms = u64::try_from(FIRST_PICTURE.as_millis()).unwrap_or(u64::MAX);
                    return Err(SourceError::OpenTimeout {
                        device: "the portal's first picture".to_owned(),
                        waited_ms,
                    });
                }
                None => {}
            }
        };
        let last = picture(&header, &buffer, options.format, &pool)?;
        let screen = name(options);
        let granted = Granted {
            device: screen.clone(),
            backend: "portal",
            width: header.width,
            height: header.height,
            fps: options.fps,
            format: Format::Pixels(options.format),
            metadata: Metadata::from([("screen".to_owned(), screen)]),
        };
        Ok(Self {
            link,
            options: options.clone(),
            remembered,
            granted,
            last,
            fresh: Some(moment(&header, clock)),
            last_at: None,
            asked: None,
            pool,
            clock,
            pace: Pace::start(options.fps),
            is_resized: false,
        })
    }

    /// Takes a picture that has come.
    fn take(&mut self, header: &PictureHeader, buffer: &Buffer) -> Result<(), SourceError> {
        self.last = picture(header, buffer, self.options.format, &self.pool)?;
        self.fresh = Some(moment(header, self.clock));
        let (width, height) = (header.width, header.height);
        self.is_resized |= (width, height) != (self.granted.width, self.granted.height);
        (self.granted.width, self.granted.height) = (width, height);
        Ok(())
    }

    /// The stream has ended. Whoever stopped it is asked before it goes on.
    fn ended(&self, word: Word) -> SourceError {
        if matches!(word, Word::Stopped { .. }) {
            self.remembered.replace(None);
        }
        refusal(word, &self.options)
    }

    /// The last picture, new or once more.
    fn show(&mut self, due: Instant) -> Step {
        let fresh = self.fresh.take();
        // What was shown before was true until then, whenever this one was taken.
        let after_last = self.last_at.map(|last| last + Duration::from_millis(1));
        let Moment { at, clock } = fresh.unwrap_or(Moment { at: due, clock: "host" });
        let captured_at = after_last.map_or(at, |after| at.max(after));
        let mut metadata = Metadata::new();
        self.clock.stamp(captured_at, clock, &mut metadata);
        let mut mark = |key: &str| metadata.insert(key.to_owned(), "true".to_owned());
        if fresh.is_none() {
            mark("repeat");
        }
        if std::mem::take(&mut self.is_resized) {
            mark("resized");
        }
        if self.options.format.is_yuv() {
            Colour::of_video(self.last.height()).write(&mut metadata);
        }
        self.last_at = Some(captured_at);
        let frame = self.last.clone().with_place(0, self.clock.wall_ms(captured_at)).with_metadata(metadata);
        Step::Picture(Picture { frame, number: Number::Next, captured_at })
    }
}

impl Capture for Portal {
    fn granted(&self) -> &Granted {
        &self.granted
    }

    fn next(&mut self, stop: &Stop) -> Result<Step, SourceError> {
        let Some(asked) = self.asked else {
            let due = self.pace.wait(stop);
            if let Some(due) = due {
                self.link.ask(stop)?;
                self.asked = Some(Asked { due, since: Instant::now() });
                return Ok(Step::Idle);
            }
            // However seldom a picture is due, its end is heard at once.
            return match self.link.receive(Duration::ZERO)? {
                None => Ok(Step::Idle),
                Some(Record::Word(word)) => Err(self.ended(word)),
                Some(Record::Picture(..) | Record::Unchanged) => Err(lost(&"a picture came that nobody asked for")),
            };
        };
        match self.link.receive(TICK)? {
            Some(Record::Picture(header, buffer)) => self.take(&header, &buffer)?,
            Some(Record::Unchanged) => {}
            Some(Record::Word(word)) => return Err(self.ended(word)),
            None if asked.since.elapsed() > ANSWER_TIMEOUT => {
                return Err(lost(&format!("no answer for {} s", ANSWER_TIMEOUT.as_secs())));
            }
            None => return Ok(Step::Idle),
        }
        self.asked = None;
        Ok(self.show(asked.due))
    }
}

/// A picture in the format that is wanted, without time or metadata.
fn picture(header: &PictureHeader, buffer: &Buffer, to: PixelFormat, pool: &Pool) -> Result<VideoFrame, SourceError> {
    let PictureHeader { format, width, height, stride, .. } = *header;
    let stride = usize::try_from(stride).unwrap_or(usize::MAX);
    let mut made = pool.take(to.packed_len(width, height)?);
    convert_screen(format, (width, height), stride, buffer, to, &mut made, pool)?;
    Ok(VideoFrame::try_new(Format::Pixels(to), Some((width, height)), 0, made.freeze())?)
}

/// When a picture was taken; now, where its clock is not ours.
fn moment(header: &PictureHeader, clock: Clock) -> Moment {
    let at = clock.at_mono_us(header.mono_ns / 1000).unwrap_or_else(Instant::now);
    Moment { at: at.min(Instant::now()), clock: if header.is_compositors_time { "compositor" } else { "host" } }
}

#[cfg(test)]
mod tests;
