//! The stream of pictures out of PipeWire, on a thread that does nothing else.

use std::{cell::RefCell, os::fd::OwnedFd, rc::Rc};

use framehost::{
    frame::PixelFormat,
    source::screen::portal::wire::{Header, Order, PictureHeader, Word},
};
use pipewire::{
    buffer::Buffer,
    channel::Receiver,
    context::ContextRc,
    keys,
    main_loop::MainLoopRc,
    properties::properties,
    spa::{
        buffer::{
            ChunkFlags, Data,
            meta::{MetaHeader, MetaHeaderFlags, MetaVideoCrop, MetaVideoTransform},
        },
        param::{
            ParamType,
            video::{VideoFormat, VideoInfoRaw},
        },
        pod::Pod,
        utils::Direction,
    },
    stream::{Stream, StreamBox, StreamFlags, StreamState},
};
use rustix::time::{ClockId, clock_gettime};

use crate::{
    conversation::{Failure, Output},
    params,
    picture::{NoPicture, Part, Raw, Turn},
};

/// Oldest time of a picture that is believed, in nanoseconds.
const MAX_AGE_NS: u64 = 1_000_000_000;

/// What the stream is told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Show the newest picture.
    Show,
    /// Nothing more is to be shown, for this reason.
    Lose(Word),
    /// The hub has gone.
    Quit,
}

/// Shows pictures as they are asked for, until somebody ends it.
///
/// `remote`: the portal's connection; `node`: what it shows.
pub(crate) fn run(
    remote: OwnedFd,
    node: u32,
    order: &Order,
    output: Output,
    commands: Receiver<Command>,
) -> Result<(), Failure> {
    let shown = Rc::new(RefCell::new(Shown::new(order, output)));
    if let Err(problem) = watch(remote, node, order.fps, &shown, commands) {
        shown.borrow_mut().end(Some(Word::Lost { problem: format!("PipeWire: {problem}") }));
    }
    let mut shown = shown.borrow_mut();
    match (shown.failure.take(), shown.last_word.take()) {
        (Some(failure), _) => Err(failure),
        (None, Some(word)) => shown.output.say(&word),
        (None, None) => Ok(()),
    }
}

/// What keeps PipeWire from showing anything.
#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error(transparent)]
    PipeWire(#[from] pipewire::Error),
    #[error("a parameter is not understood")]
    Param,
}

fn watch(
    remote: OwnedFd,
    node: u32,
    fps: f64,
    shown: &Rc<RefCell<Shown>>,
    commands: Receiver<Command>,
) -> Result<(), WatchError> {
    pipewire::init();
    let main_loop = MainLoopRc::new(None)?;
    let context = ContextRc::new(&main_loop, None)?;
    let core = context.connect_fd_rc(remote, None)?;

    // Whatever happens is told to `shown`, and ends the loop when that has come to an end.
    let with = {
        let (shown, main_loop) = (Rc::clone(shown), main_loop.clone());
        move |act: &dyn Fn(&mut Shown)| {
            let mut shown = shown.borrow_mut();
            act(&mut shown);
            if shown.is_over {
                main_loop.quit();
            }
        }
    };
    let lose = |shown: &mut Shown, problem: String| shown.end(Some(Word::Lost { problem }));

    let on_command = with.clone();
    let _commands = commands.attach(main_loop.loop_(), move |command| {
        on_command(&|shown| match &command {
            Command::Show => shown.ask(),
            Command::Lose(word) => shown.end(Some(word.clone())),
            Command::Quit => shown.end(None),
        });
    });
    let on_error = with.clone();
    let _core = core
        .add_listener_local()
        .error(move |_, _, _, message| on_error(&|shown| lose(shown, format!("PipeWire: {message}"))))
        .register();

    let name = properties! {
        *keys::MEDIA_TYPE => "Video",
        *keys::MEDIA_CATEGORY => "Capture",
        *keys::MEDIA_ROLE => "Screen",
    };
    let stream = StreamBox::new(&core, "framehost", name)?;
    let (on_state, on_format, on_picture) = (with.clone(), with.clone(), with);
    let _listener = stream
        .add_local_listener_with_user_data(())
        .state_changed(move |_, (), before, now| match now {
            StreamState::Error(problem) => on_state(&|shown| lose(shown, format!("PipeWire: {problem}"))),
            StreamState::Unconnected if before != StreamState::Unconnected => {
                on_state(&|shown| lose(shown, "PipeWire has ended it".to_owned()));
            }
            _ => {}
        })
        .param_changed(move |stream, (), id, param| {
            if let Some(param) = param
                && id == ParamType::Format.as_raw()
            {
                on_format(&|shown| {
                    if let Err(problem) = shown.set_format(stream, param) {
                        lose(shown, format!("PipeWire: {problem}"));
                    }
                });
            }
        })
        .process(move |stream, ()| {
            // Those before the newest go back unread.
            let mut newest = None;
            while let Some(buffer) = stream.dequeue_buffer() {
                newest = Some(buffer);
            }
            if let Some(buffer) = newest {
                // A closure that may be called only once cannot be passed by reference.
                let buffer = RefCell::new(buffer);
                on_picture(&|shown| shown.take(&mut buffer.borrow_mut()));
            }
        })
        .register()?;
    let formats = params::formats(fps).ok_or(WatchError::Param)?;
    let formats = Pod::from_bytes(&formats).ok_or(WatchError::Param)?;
    // On this thread, not on PipeWire's own: a picture is copied, and the loop may wait for the hub.
    let flags = StreamFlags::AUTOCONNECT | StreamFlags::MAP_BUFFERS | StreamFlags::DONT_RECONNECT;
    stream.connect(Direction::Input, Some(node), flags, &mut [formats])?;
    main_loop.run();
    Ok(())
}

/// The newest picture, and what the hub waits for.
struct Shown {
    region: Option<(i32, i32, u32, u32)>,
    output: Output,
    format: Option<(PixelFormat, usize, usize)>,
    header: Option<PictureHeader>,
    pixels: Vec<u8>,
    /// Not sent yet.
    is_new: bool,
    is_asked: bool,
    is_over: bool,
    last_word: Option<Word>,
    failure: Option<Failure>,
}

impl Shown {
    const fn new(order: &Order, output: Output) -> Self {
        Self {
            region: order.region,
            output,
            format: None,
            header: None,
            pixels: Vec::new(),
            is_new: false,
            is_asked: false,
            is_over: false,
            last_word: None,
            failure: None,
        }
    }

    /// Nothing more is shown. The first word is the one that explains.
    fn end(&mut self, word: Option<Word>) {
        if !self.is_over {
            self.is_over = true;
            self.last_word = word;
        }
    }

    fn ask(&mut self) {
        self.is_asked = true;
        self.answer();
    }

    /// The hub's ask has an answer as soon as there has been a picture.
    fn answer(&mut self) {
        let Some(header) = self.header.filter(|_| self.is_asked && !self.is_over) else {
            return;
        };
        self.is_asked = false;
        let written = if std::mem::take(&mut self.is_new) {
            self.output.write(&Header::Picture(header), &self.pixels)
        } else {
            self.output.write(&Header::Unchanged, &[])
        };
        if let Err(failure) = written {
            self.failure = Some(failure);
            self.end(None);
        }
    }

    /// A format was agreed on: its buffers are next.
    fn set_format(&mut self, stream: &Stream, param: &Pod) -> Result<(), WatchError> {
        let mut info = VideoInfoRaw::new();
        info.parse(param).map_err(|_| WatchError::Param)?;
        let format = match info.format() {
            VideoFormat::BGRx | VideoFormat::BGRA => PixelFormat::Bgra,
            VideoFormat::RGBx | VideoFormat::RGBA => PixelFormat::Rgba,
            // None other was offered.
            _ => return Err(WatchError::Param),
        };
        let side = |side: u32| usize::try_from(side).unwrap_or(usize::MAX);
        self.format = Some((format, side(info.size().width), side(info.size().height)));
        let pods = params::buffers().ok_or(WatchError::Param)?;
        let mut params =
            pods.iter().map(|pod| Pod::from_bytes(pod)).collect::<Option<Vec<_>>>().ok_or(WatchError::Param)?;
        Ok(stream.update_params(&mut params)?)
    }

    /// Copies a picture out of its buffer.
    fn take(&mut self, buffer: &mut Buffer<'_>) {
        let now = monotonic_ns();
        let header = buffer.find_meta::<MetaHeader>();
        let is_broken = header.is_some_and(|header| header.flags().contains(MetaHeaderFlags::CORRUPTED));
        let time = header.and_then(|header| u64::try_from(header.pts()).ok());
        let crop =
            buffer.find_meta::<MetaVideoCrop>().map(MetaVideoCrop::meta_region).filter(|region| region.is_valid());
        let crop = crop.and_then(|region| {
            let (place, size) = (region.position(), region.size());
            Part::of((place.x, place.y, size.width, size.height))
        });
        let turn = buffer.find_meta::<MetaVideoTransform>().map(|turn| Turn::from_number(turn.transform().as_raw()));
        let (Some(data), Some((format, width, height))) = (buffer.datas_mut().first_mut(), self.format) else {
            return;
        };
        // Without bytes it tells of something else: the pointer has moved.
        let Some((data, stride)) = bytes(data, width).filter(|_| !is_broken) else {
            return;
        };
        let raw = Raw { data, stride, width, height, crop, turn: turn.unwrap_or_default() };
        match raw.copy(self.region, &mut self.pixels) {
            Ok((width, height)) => {
                let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
                let believed = time.filter(|time| *time <= now && now - time <= MAX_AGE_NS);
                self.header = Some(PictureHeader {
                    format,
                    width: side(width),
                    height: side(height),
                    stride: side(width).saturating_mul(4),
                    mono_ns: believed.unwrap_or(now),
                    is_compositors_time: believed.is_some(),
                });
                self.is_new = true;
                self.answer();
            }
            Err(NoPicture::Outside { width, height }) => {
                let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
                self.end(Some(Word::Outside { width: side(width), height: side(height) }));
            }
            Err(NoPicture::Short) => {
                self.end(Some(Word::Lost { problem: "a picture is shorter than its size says".to_owned() }));
            }
        }
    }
}

/// The bytes of a picture, and how many of them lie between the beginnings of its rows; `None` if there are none.
fn bytes(data: &mut Data, width: usize) -> Option<(&[u8], usize)> {
    let chunk = data.chunk();
    if chunk.size() == 0 || chunk.flags().contains(ChunkFlags::CORRUPTED) {
        return None;
    }
    let begin = usize::try_from(chunk.offset()).ok()?;
    let end = begin.checked_add(usize::try_from(chunk.size()).ok()?)?;
    let stride = match usize::try_from(chunk.stride()).ok()? {
        0 => width.checked_mul(4)?,
        stride => stride,
    };
    let all = data.data()?;
    Some((all.get(begin..end.min(all.len()))?, stride))
}

fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let (seconds, nanos) = (u64::try_from(now.tv_sec).unwrap_or(0), u64::try_from(now.tv_nsec).unwrap_or(0));
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}
