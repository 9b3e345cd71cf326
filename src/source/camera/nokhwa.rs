//! Cameras by the nokhwa library: the only way on Windows and macOS, one of two on Linux.
//!
//! Its blocking camera has no time limit. So it lives on a thread of its own, which opens, reads and drops it; the
//! newest picture waits for [`Capture::next`]. Only the bytes that it brings are used: its decoders are slow, its
//! callback camera spins when a device goes.
//!
//! Invariants:
//! - One picture is kept at most; one that nobody fetched in time makes room, and leaves a gap in the count.
//! - A thread that its driver never lets go is left behind. There are [`MAX_ABANDONED`] of them at most.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use ::nokhwa::{
    Buffer, Camera, NokhwaError, nokhwa_check, nokhwa_initialize,
    utils::{CameraFormat, CameraIndex, FrameFormat, RequestedFormat, RequestedFormatType, Resolution, frame_formats},
};

use super::{
    CameraOptions,
    modes::{self, Choice, DeviceFormat, FourCc, Interval, Offer, Rates},
    picture::{Developer, Stamp},
    stall_limit, system,
};
use crate::{
    frame::{Colour, PixelFormat, convert::RawLayout},
    source::{
        Capture, Granted, Number, SourceError, Step, Stop, TICK,
        devices::{CameraInfo, CameraMode},
    },
};

/// How long opening may take, and asking the user before it: a little less than whoever waits for it does.
const OPEN_TIMEOUT: Duration = Duration::from_secs(8);

/// How long a closing camera is waited for beyond the time from one picture to the next.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Threads that may hang in their drivers. Each holds a camera, and memory of a few pictures.
const MAX_ABANDONED: usize = 4;
static ABANDONED: AtomicUsize = AtomicUsize::new(0);

/// Widest gap between two rows that a device leaves, in bytes: alignments are smaller.
const MAX_ROW_PADDING: usize = 256;

/// The library's formats, and what Video4Linux calls them. On macOS the system converts to any; but for this one the
/// library asks it for what it may not have, which ends the program.
#[cfg(target_os = "macos")]
const FORMATS: [(FrameFormat, FourCc); 1] = [(FrameFormat::YUYV, FourCc(*b"YUYV"))];

/// The library's formats, and what Video4Linux calls them.
#[cfg(not(target_os = "macos"))]
const FORMATS: [(FrameFormat, FourCc); 6] = [
    (FrameFormat::MJPEG, FourCc(*b"MJPG")),
    (FrameFormat::YUYV, FourCc(*b"YUYV")),
    (FrameFormat::NV12, FourCc(*b"NV12")),
    (FrameFormat::GRAY, FourCc(*b"GREY")),
    (FrameFormat::RAWRGB, FourCc(*b"RGB3")),
    (FrameFormat::RAWBGR, FourCc(*b"BGR3")),
];

/// Opens a camera and starts it.
///
/// # Errors
///
/// [`SourceError`].
pub(super) fn open(options: &CameraOptions, stop: &Stop) -> Result<Box<dyn Capture>, SourceError> {
    let info = system::find(&options.camera)?;
    if ABANDONED.load(Ordering::Acquire) >= MAX_ABANDONED {
        let by = format!("{MAX_ABANDONED} cameras of this program hang in their drivers");
        return Err(SourceError::DeviceBusy { device: info.id, by });
    }
    ask_permission(&info.id, stop)?;
    let prepared = system::prepare(options, |choice| camera_format(choice, options).is_some())?;
    let (told, answer) = mpsc::sync_channel(1);
    let shared = Arc::new(Shared::default());
    let reader = Reader {
        // Places change when another camera comes or goes. On Linux, where the library finds cameras by their numbers
        // only, those are the nodes'.
        index: if info.path.is_empty() { CameraIndex::String(info.id.clone()) } else { CameraIndex::Index(info.index) },
        options: options.clone(),
        prepared: prepared.map(|prepared| prepared.choice),
        shared: Arc::clone(&shared),
    };
    let thread = thread::Builder::new()
        .name("camera-nokhwa".to_owned())
        .spawn(move || reader.run(&told))
        .map_err(|source| SourceError::Io { action: "cannot start the camera's thread", source })?;
    let mut thread = ReadingThread { shared, handle: Some(thread), patience: CLOSE_TIMEOUT };
    let choice = match wait_for(&answer, OPEN_TIMEOUT, stop) {
        Some(Ok(choice)) => choice,
        Some(Err(refusal)) => return Err(refusal.explain(info, options)),
        None => {
            let waited_ms = u64::try_from(OPEN_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
            return Err(SourceError::OpenTimeout { device: info.id, waited_ms });
        }
    };
    let size = (options.width, options.height);
    let (colour, stride) = match prepared {
        Some(prepared) => (prepared.colour, Some(prepared.stride)),
        None => (Colour::of_video(options.height), None),
    };
    let fps = choice.interval.map_or(options.fps, Interval::fps);
    let developer = Developer::new(size, choice.format, stride.unwrap_or(0), colour, options.format);
    let granted = Granted {
        device: info.id,
        backend: "nokhwa",
        width: options.width,
        height: options.height,
        fps,
        format: options.format,
        metadata: developer.metadata(choice.fourcc.to_string()),
    };
    thread.patience += Duration::try_from_secs_f64(1.0 / fps).unwrap_or_default();
    let (last_picture, stall) = (Instant::now(), stall_limit(fps));
    Ok(Box::new(NokhwaCamera { thread, granted, developer, knows_stride: stride.is_some(), last_picture, stall }))
}

/// On macOS the user is asked, once; elsewhere nobody is.
fn ask_permission(device: &str, stop: &Stop) -> Result<(), SourceError> {
    if nokhwa_check() {
        return Ok(());
    }
    let (told, answer) = mpsc::sync_channel(1);
    nokhwa_initialize(move |is_granted| {
        // Nobody waits for it any more if the user takes his time.
        let _ = told.try_send(is_granted);
    });
    let hint = match wait_for(&answer, OPEN_TIMEOUT, stop) {
        Some(true) => return Ok(()),
        Some(false) => "allow it in the system's settings, Privacy & Security, Camera",
        None => "the system's question was not answered; answer it, and try again",
    };
    Err(SourceError::PermissionDenied { device: device.to_owned(), hint: hint.to_owned() })
}

/// What another thread tells; `None` if it takes too long, ends without a word, or we are to stop.
fn wait_for<T>(answer: &mpsc::Receiver<T>, limit: Duration, stop: &Stop) -> Option<T> {
    let due = Instant::now() + limit;
    while Instant::now() < due && !stop.is_set() {
        match answer.recv_timeout(TICK) {
            Ok(told) => return Some(told),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return None,
        }
    }
    None
}

/// An open camera.
struct NokhwaCamera {
    thread: ReadingThread,
    granted: Granted,
    developer: Developer,
    /// Else it is worked out from a picture's length.
    knows_stride: bool,
    last_picture: Instant,
    stall: Duration,
}

impl Capture for NokhwaCamera {
    fn granted(&self) -> &Granted {
        &self.granted
    }

    fn next(&mut self, _stop: &Stop) -> Result<Step, SourceError> {
        if let Some(Arrived { buffer, sequence }) =
            self.thread.shared.take(TICK).map_err(|problem| self.lost(problem))?
        {
            let data = buffer.buffer();
            if let (DeviceFormat::Pixels(from), false) = (self.developer.from, self.knows_stride) {
                self.developer.stride = stride_of(from, (self.granted.width, self.granted.height), data.len());
            }
            let stamp = buffer.capture_timestamp().map_or(Stamp::Unknown, Stamp::Wall);
            if let Some(picture) = self.developer.develop(data, stamp, Number::Sequence(sequence)) {
                self.last_picture = Instant::now();
                return Ok(Step::Picture(picture));
            }
        }
        if self.last_picture.elapsed() < self.stall {
            return Ok(Step::Idle);
        }
        Err(self.lost(format!("no picture for {} s", self.stall.as_secs())))
    }
}

impl NokhwaCamera {
    fn lost(&self, problem: String) -> SourceError {
        SourceError::DeviceLost { device: self.granted.device.clone(), problem }
    }
}

/// Where a camera's thread and its reader meet.
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    newest: Option<Arrived>,
    is_stopped: bool,
    is_abandoned: bool,
    /// Why the thread has ended.
    ended: Option<String>,
}

#[derive(Debug)]
struct Arrived {
    buffer: Buffer,
    sequence: u32,
}

impl Shared {
    /// The newest picture; waits for it so long. The error is why there will be none.
    fn take(&self, limit: Duration) -> Result<Option<Arrived>, String> {
        let waits = |state: &mut State| state.newest.is_none() && state.ended.is_none();
        let waited = self.changed.wait_timeout_while(self.state(), limit, waits);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
        match (state.newest.take(), &state.ended) {
            (Some(arrived), _) => Ok(Some(arrived)),
            (None, Some(problem)) => Err(problem.clone()),
            (None, None) => Ok(None),
        }
    }

    /// Puts a picture where it is fetched; `false` if nobody will any more.
    fn put(&self, arrived: Arrived) -> bool {
        let mut state = self.state();
        state.newest = Some(arrived);
        self.changed.notify_all();
        !state.is_stopped
    }

    fn end(&self, problem: String) {
        let mut state = self.state();
        state.ended = Some(problem);
        if state.is_abandoned {
            ABANDONED.fetch_sub(1, Ordering::AcqRel);
        }
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that has the camera. Dropping it closes the camera, or leaves it behind if its driver hangs.
struct ReadingThread {
    shared: Arc<Shared>,
    handle: Option<thread::JoinHandle<()>>,
    patience: Duration,
}

impl Drop for ReadingThread {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.is_stopped = true;
        let waited = self.shared.changed.wait_timeout_while(state, self.patience, |state| state.ended.is_none());
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        if state.ended.is_none() {
            state.is_abandoned = true;
            ABANDONED.fetch_add(1, Ordering::AcqRel);
            tracing::error!("a camera's driver does not come back: its thread is left behind");
            return;
        }
        drop(state);
        if let Some(handle) = self.handle.take() {
            // It catches its panics, and has nothing left to do.
            drop(handle.join());
        }
    }
}

/// What the thread is given.
struct Reader {
    index: CameraIndex,
    options: CameraOptions,
    prepared: Option<Choice>,
    shared: Arc<Shared>,
}

impl Reader {
    /// Opens the camera, tells how that went, and reads until nobody wants its pictures or it fails.
    fn run(self, told: &mpsc::SyncSender<Result<Choice, Refusal>>) {
        // The library panics where it should not, in `drop` at the latest. The camera is closed on the way.
        let problem = match catch_unwind(AssertUnwindSafe(|| self.read(told))) {
            Ok(problem) => problem,
            Err(_) => {
                drop(told.try_send(Err(Refusal::Panic)));
                "the nokhwa library failed; the log says where".to_owned()
            }
        };
        self.shared.end(problem);
    }

    fn read(&self, told: &mpsc::SyncSender<Result<Choice, Refusal>>) -> String {
        let mut camera = match self.open() {
            Ok((camera, choice)) => {
                drop(told.try_send(Ok(choice)));
                camera
            }
            Err(refusal) => {
                drop(told.try_send(Err(refusal)));
                return "it was not opened".to_owned();
            }
        };
        let mut sequence: u32 = 0;
        loop {
            // `frame` and not `frame_raw`: neither decodes, but only it tells the time, and on macOS only it throws old
            // pictures away.
            match camera.frame() {
                Ok(buffer) => {
                    if !self.shared.put(Arrived { buffer, sequence }) {
                        return "it was closed".to_owned();
                    }
                }
                Err(error) => return error.to_string(),
            }
            sequence = sequence.wrapping_add(1);
        }
    }

    fn open(&self) -> Result<(Camera, Choice), Refusal> {
        let index = self.index.clone();
        let (mut camera, choice) = match self.prepared {
            Some(choice) => {
                let format = camera_format(&choice, &self.options).ok_or(Refusal::NoMode(Vec::new()))?;
                (Camera::new(index, exactly(format, &[format.format()]))?, choice)
            }
            None => {
                let any = RequestedFormat::with_formats(RequestedFormatType::None, frame_formats());
                let mut camera = Camera::new(index, any)?;
                let listed = camera.compatible_camera_formats()?;
                let best = modes::rank(&offers(&listed, &self.options), &self.options).into_iter().next();
                let chosen = best.and_then(|choice| Some((choice, camera_format(&choice, &self.options)?)));
                let (choice, format) = chosen.ok_or_else(|| Refusal::NoMode(to_modes(&listed)))?;
                camera.set_camera_requset(exactly(format, &[format.format()]))?;
                (camera, choice)
            }
        };
        camera.open_stream()?;
        let granted = camera.camera_format();
        if camera_format(&choice, &self.options).is_some_and(|wanted| wanted.resolution() != granted.resolution()) {
            return Err(Refusal::NoMode(to_modes(&[granted])));
        }
        Ok((camera, choice))
    }
}

fn exactly(format: CameraFormat, formats: &[FrameFormat]) -> RequestedFormat<'_> {
    RequestedFormat::with_formats(RequestedFormatType::Exact(format), formats)
}

/// Why the library did not open a camera.
#[derive(Debug)]
enum Refusal {
    Library(NokhwaError),
    NoMode(Vec<CameraMode>),
    Panic,
}

impl From<NokhwaError> for Refusal {
    fn from(error: NokhwaError) -> Self {
        Self::Library(error)
    }
}

impl Refusal {
    fn explain(self, info: CameraInfo, options: &CameraOptions) -> SourceError {
        let device = info.id;
        let error = match self {
            Self::Library(error) => error,
            Self::Panic => {
                let problem = "the nokhwa library failed; the log says where".to_owned();
                return SourceError::DeviceLost { device, problem };
            }
            Self::NoMode(offered) => {
                let offered = if info.modes.is_empty() { offered } else { info.modes };
                let possible = modes::describe(&offered, options);
                return SourceError::UnsupportedMode { device, wanted: options.mode(), possible };
            }
        };
        match Cause::of(&error.to_string()) {
            Some(Cause::Busy) => SourceError::DeviceBusy { device, by: "another program has it".to_owned() },
            Some(Cause::Denied) => {
                let hint = "allow programs to use cameras in the system's settings".to_owned();
                SourceError::PermissionDenied { device, hint }
            }
            Some(Cause::Gone) => SourceError::DeviceLost { device, problem: error.to_string() },
            None => SourceError::Io {
                action: "the nokhwa library cannot open the camera",
                source: std::io::Error::other(error),
            },
        }
    }
}

/// What the system meant: the library passes its errors on as text only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    Busy,
    Denied,
    Gone,
}

/// What errors have in them. Source: Linux, `errno.h`; Windows, `winerror.h` and `mferror.h`.
const CAUSES: [(&str, Cause); 14] = [
    ("(os error 16)", Cause::Busy),
    // The hardware could not start streaming; a file is in use.
    ("0xC00D3704", Cause::Busy),
    ("0x80070020", Cause::Busy),
    ("(os error 13)", Cause::Denied),
    ("(os error 1)", Cause::Denied),
    ("0x80070005", Cause::Denied),
    ("(os error 2)", Cause::Gone),
    ("(os error 6)", Cause::Gone),
    ("(os error 19)", Cause::Gone),
    // The device was invalidated; it does not work; no such device.
    ("0xC00D3EA2", Cause::Gone),
    ("0x8007001F", Cause::Gone),
    ("Device is null", Cause::Gone),
    ("Not Found", Cause::Gone),
    ("No device", Cause::Gone),
];

impl Cause {
    fn of(message: &str) -> Option<Self> {
        let message = message.to_ascii_lowercase();
        CAUSES.iter().find(|(part, _)| message.contains(&part.to_ascii_lowercase())).map(|(_, cause)| *cause)
    }
}

/// A choice in the library's words, if it has words for it: whole rates only.
fn camera_format(choice: &Choice, options: &CameraOptions) -> Option<CameraFormat> {
    let (format, _) = FORMATS.iter().find(|(_, fourcc)| *fourcc == choice.fourcc)?;
    let interval = choice.interval.filter(|interval| interval.numerator == 1)?;
    Some(CameraFormat::new(Resolution::new(options.width, options.height), *format, interval.denominator))
}

/// What of the library's list has the size asked for.
fn offers(listed: &[CameraFormat], options: &CameraOptions) -> Vec<Offer> {
    let of_size = |format: &&CameraFormat| (format.width(), format.height()) == (options.width, options.height);
    let named = |format: &CameraFormat| Some((fourcc_of(format.format())?, format.frame_rate()));
    let mut offers: Vec<Offer> = Vec::new();
    for (fourcc, fps) in listed.iter().filter(of_size).filter_map(named) {
        let rate = Rates::one(Interval { numerator: 1, denominator: fps });
        match offers.iter_mut().find(|offer| offer.fourcc == fourcc) {
            Some(offer) => offer.rates.push(rate),
            None => offers.push(Offer { fourcc, rates: vec![rate] }),
        }
    }
    offers
}

fn to_modes(listed: &[CameraFormat]) -> Vec<CameraMode> {
    let mode = |format: &CameraFormat| {
        let device_format = fourcc_of(format.format())?.to_string();
        let fps = vec![f64::from(format.frame_rate())];
        Some(CameraMode { device_format, width: format.width(), height: format.height(), fps })
    };
    listed.iter().filter_map(mode).collect()
}

fn fourcc_of(format: FrameFormat) -> Option<FourCc> {
    FORMATS.iter().find(|(known, _)| *known == format).map(|(_, fourcc)| *fourcc)
}

/// Bytes from one row to the next of a picture of which only the length is known; 0 if rows follow each other.
fn stride_of(from: PixelFormat, (width, height): (u32, u32), len: usize) -> usize {
    let planes = RawLayout::Pixels(from).planes(width, height);
    let [(row, rows), (_, chroma_rows), _] = planes;
    // Rows of chroma are half as long where there are two planes of them: together they count as one.
    let stride = len.checked_div(rows + chroma_rows).unwrap_or(0);
    let is_even = len.checked_rem(rows + chroma_rows) == Some(0);
    if is_even && stride > row && stride - row < MAX_ROW_PADDING { stride } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Format;

    fn wish(width: u32, height: u32, fps: f64) -> CameraOptions {
        CameraOptions { width, height, fps, ..CameraOptions::default() }
    }

    fn format(width: u32, height: u32, format: FrameFormat, fps: u32) -> CameraFormat {
        CameraFormat::new(Resolution::new(width, height), format, fps)
    }

    fn info() -> CameraInfo {
        CameraInfo { id: "cam".to_owned(), index: 0, name: String::new(), path: String::new(), modes: Vec::new() }
    }

    #[test]
    fn the_librarys_list_is_ranked_as_any_other() {
        let listed = [
            format(640, 480, FrameFormat::MJPEG, 30),
            format(640, 480, FrameFormat::YUYV, 15),
            format(640, 480, FrameFormat::YUYV, 30),
            format(1280, 720, FrameFormat::YUYV, 10),
        ];
        let best = |options: &CameraOptions| {
            let choice = *modes::rank(&offers(&listed, options), options).first()?;
            camera_format(&choice, options)
        };
        assert_eq!(best(&wish(640, 480, 30.0)), Some(listed[2]));
        assert_eq!(best(&wish(640, 480, 14.0)), Some(listed[1]));
        assert_eq!(best(&wish(1280, 720, 30.0)), Some(listed[3]));
        assert_eq!(best(&wish(320, 240, 30.0)), None);
        assert_eq!(to_modes(&listed)[3].device_format, "YUYV");
        let ntsc = Choice {
            fourcc: FourCc(*b"YUYV"),
            format: DeviceFormat::Pixels(PixelFormat::Yuy2),
            interval: Some(Interval { numerator: 1001, denominator: 30_000 }),
        };
        assert_eq!(camera_format(&ntsc, &wish(640, 480, 29.97)), None, "it has no word for this rate");
    }

    #[test]
    fn rows_that_lie_apart_are_told_by_the_length() {
        let check = |from, size, len, expected| assert_eq!(stride_of(from, size, len), expected, "{from:?} {len}");
        check(PixelFormat::Yuy2, (640, 480), 640 * 480 * 2, 0);
        check(PixelFormat::Yuy2, (636, 480), 1280 * 480, 1280);
        check(PixelFormat::Nv12, (1920, 1080), 1920 * 1620, 0);
        check(PixelFormat::Nv12, (1912, 1080), 1920 * 1620, 1920);
        check(PixelFormat::Yuy2, (640, 480), 640 * 480 * 2 + 100, 0);
        check(PixelFormat::Yuy2, (640, 480), 640 * 480 * 3, 0);
        check(PixelFormat::Gray, (640, 480), 0, 0);
    }

    #[test]
    fn the_systems_errors_are_known_by_their_numbers() {
        let reason = |message: &str| {
            Refusal::Library(NokhwaError::OpenStreamError(message.to_owned()))
                .explain(info(), &wish(1, 1, 1.0))
                .reason()
        };
        assert_eq!(reason("Device or resource busy (os error 16)"), "device_busy");
        assert_eq!(reason("HRESULT(0xc00d3704)"), "device_busy");
        assert_eq!(reason("Permission denied (os error 13)"), "permission_denied");
        assert_eq!(reason("Zugriff verweigert (0x80070005)"), "permission_denied");
        assert_eq!(reason("No such device (os error 19)"), "device_lost");
        assert_eq!(reason("No such file or directory (os error 2)"), "device_lost");
        assert_eq!(reason("Invalid argument (os error 22)"), "io");
        let no_mode = Refusal::NoMode(to_modes(&[format(640, 480, FrameFormat::YUYV, 30)]));
        let error = no_mode.explain(info(), &wish(1, 1, 1.0));
        assert_eq!(error.reason(), "unsupported_mode");
        assert!(error.to_string().contains("640x480 at 30 fps (YUYV)"), "{error}");
        assert_eq!(Refusal::Panic.explain(info(), &wish(1, 1, 1.0)).reason(), "device_lost");
    }

    #[test]
    fn the_newest_picture_is_kept_and_an_end_is_told_behind_it() {
        let shared = Shared::default();
        let picture = |sequence| {
            let buffer = Buffer::new(Resolution::new(1, 1), &[0; 2], FrameFormat::YUYV);
            Arrived { buffer, sequence }
        };
        assert!(shared.take(Duration::ZERO).unwrap().is_none());
        assert!(shared.put(picture(0)) && shared.put(picture(1)));
        shared.end("unplugged".to_owned());
        assert_eq!(shared.take(Duration::ZERO).unwrap().unwrap().sequence, 1);
        assert_eq!(shared.take(Duration::ZERO).unwrap_err(), "unplugged");
        shared.state().is_stopped = true;
        assert!(!shared.put(picture(2)));
    }

    #[test]
    fn a_thread_that_hangs_is_left_behind_and_counted_until_it_ends() {
        let shared = Arc::new(Shared::default());
        let (of_thread, (go, wait)) = (Arc::clone(&shared), mpsc::channel::<()>());
        let handle = thread::spawn(move || {
            let _ = wait.recv();
            of_thread.end("it came back".to_owned());
        });
        drop(ReadingThread { shared: Arc::clone(&shared), handle: Some(handle), patience: Duration::from_millis(1) });
        assert_eq!(ABANDONED.load(Ordering::Acquire), 1);
        drop(go);
        assert_eq!(shared.take(Duration::from_secs(60)).unwrap_err(), "it came back");
        assert_eq!(ABANDONED.load(Ordering::Acquire), 0);
    }

    #[test]
    fn a_camera_that_is_not_there_is_no_such_device() {
        let options = CameraOptions {
            camera: super::super::CameraId::Name("no such camera".to_owned()),
            format: Format::Pixels(PixelFormat::Rgb),
            ..wish(640, 480, 30.0)
        };
        let error = open(&options, &Stop::default()).err().unwrap();
        // Wine 8 does not know the version of Media Foundation that the library asks for (MF_E_BAD_STARTUP_VERSION).
        if cfg!(windows) && std::env::var_os("WINEPREFIX").is_some() {
            assert!(error.to_string().to_ascii_uppercase().contains("C00D36E3"), "{error}");
        } else {
            assert_eq!(error.reason(), "no_such_device");
        }
    }
}
