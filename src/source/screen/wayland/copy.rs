//! One copy of an output at a time, into memory that the compositor and we share.
//!
//! Invariants:
//! - The compositor writes between a copy's request and its answer; the memory is read only after that.
//! - The memory is as large as the compositor says, within [`MAX_MEMORY`], and used again while that stays so.
//!
//! A copy goes so: it is asked for; the compositor says how large it is; it is given memory, and fills it, at once or
//! when something has changed on the screen; it says that it is done.

use wayland_client::{
    Connection, Dispatch, QueueHandle, WEnum,
    protocol::{
        wl_buffer::{self, WlBuffer},
        wl_shm::{self, WlShm},
        wl_shm_pool::{self, WlShmPool},
    },
};
use wayland_protocols_wlr::screencopy::v1::client::{
    zwlr_screencopy_frame_v1::{self, ZwlrScreencopyFrameV1},
    zwlr_screencopy_manager_v1::{self, ZwlrScreencopyManagerV1},
};

use super::{
    connection::{State, lost},
    cut::Ask,
    outputs::Shape,
};
use crate::{
    frame::PixelFormat,
    source::{SourceError, screen::shared_memory::SharedMemory},
};

/// Most memory that is shared, in bytes: a screen of 8192 x 8192.
const MAX_MEMORY: usize = 256 << 20;

/// Version of a copy from which on the compositor says when it has named all that it can fill.
const BUFFER_DONE_SINCE: u32 = 3;

/// How a copy lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    format: WEnum<wl_shm::Format>,
    pub(super) width: u32,
    pub(super) height: u32,
    /// Bytes from one row to the next.
    pub(super) stride: u32,
}

/// What the compositor has said about the copy at hand.
#[derive(Debug, Default)]
pub(super) struct FrameEvents {
    /// Which copy that is: what is still said about older ones does not count.
    number: u32,
    layout: Option<Layout>,
    /// It has named all that it can fill.
    is_announced: bool,
    is_upside_down: bool,
    end: Option<End>,
}

#[derive(Debug, Clone, Copy)]
enum End {
    /// Done, at this reading of some clock, in microseconds.
    Ready(u64),
    Failed,
}

/// How far a copy is.
#[derive(Debug)]
pub(super) enum Progress {
    /// Not done yet.
    Waiting,
    /// Nothing comes of it.
    Failed,
    /// It is in memory.
    Ready(Copied),
}

/// A copy that is done. Its pixels are in [`Copier::bytes`] until the next is asked for.
#[derive(Debug)]
pub(super) struct Copied {
    pub(super) ask: Ask,
    /// The output as it was when the copy was asked for.
    pub(super) shape: Shape,
    pub(super) layout: Layout,
    pub(super) format: PixelFormat,
    pub(super) is_upside_down: bool,
    /// Microseconds of the monotonic clock, if the compositor uses that.
    pub(super) mono_us: u64,
}

/// When the compositor shall fill the memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// With the next picture of the screen.
    AtOnce,
    /// With the next picture that differs from the last one copied.
    OnDamage,
}

/// Makes copies of one output.
#[derive(Debug, Default)]
pub(super) struct Copier {
    count: u32,
    flight: Option<Flight>,
    shared: Option<Shared>,
}

/// A copy that was asked for.
#[derive(Debug)]
struct Flight {
    frame: ZwlrScreencopyFrameV1,
    is_copying: bool,
    ask: Ask,
    shape: Shape,
}

#[derive(Debug)]
struct Shared {
    layout: Layout,
    memory: SharedMemory,
    buffer: WlBuffer,
    pool: WlShmPool,
}

impl FrameEvents {
    /// Nothing comes of the copy at hand.
    pub(super) const fn has_failed(&self) -> bool {
        matches!(self.end, Some(End::Failed))
    }
}

impl Layout {
    /// What its bytes are to us.
    fn pixel_format(&self) -> Result<PixelFormat, SourceError> {
        match self.format {
            WEnum::Value(wl_shm::Format::Xrgb8888 | wl_shm::Format::Argb8888) => Ok(PixelFormat::Bgra),
            WEnum::Value(wl_shm::Format::Xbgr8888 | wl_shm::Format::Abgr8888) => Ok(PixelFormat::Rgba),
            other => {
                let name = match other {
                    WEnum::Value(known) => format!("{known:?}").to_lowercase(),
                    WEnum::Unknown(number) => format!("{number:#010x}"),
                };
                let hint = format!(
                    "the compositor hands out its pixels as {name} only; xrgb8888, argb8888, xbgr8888 and abgr8888 are \
                     read, not more bits a colour nor fewer"
                );
                Err(SourceError::Missing { what: "this screen".to_owned(), hint })
            }
        }
    }

    /// Bytes of the whole.
    fn len(&self) -> Result<usize, SourceError> {
        let problem = || lost(format_args!("it announces a copy that cannot be: {self:?}"));
        let is_sane =
            self.width > 0 && self.height > 0 && self.stride.is_multiple_of(4) && self.stride / 4 >= self.width;
        let len = u64::from(self.stride) * u64::from(self.height);
        let len = usize::try_from(len).ok().filter(|len| is_sane && *len <= MAX_MEMORY);
        len.ok_or_else(problem)
    }
}

impl Copier {
    pub(super) const fn is_busy(&self) -> bool {
        self.flight.is_some()
    }

    /// The output's shape when the copy at hand was asked for.
    pub(super) fn shape(&self) -> Option<Shape> {
        self.flight.as_ref().map(|flight| flight.shape)
    }

    /// Gives up the copy at hand.
    pub(super) fn cancel(&mut self) {
        if let Some(flight) = self.flight.take() {
            flight.frame.destroy();
        }
    }

    /// Begins a copy, with or without the pointer.
    pub(super) fn begin(
        &mut self,
        state: &mut State,
        handle: &QueueHandle<State>,
        output: &wayland_client::protocol::wl_output::WlOutput,
        shape: Shape,
        ask: Ask,
        with_pointer: bool,
    ) -> Result<(), SourceError> {
        self.cancel();
        let manager = state.screencopy.as_ref().ok_or_else(|| lost("it has no screencopy"))?;
        self.count = self.count.wrapping_add(1);
        let pointer = i32::from(with_pointer);
        let frame = match ask {
            Ask::Whole => manager.capture_output(pointer, output, handle, self.count),
            Ask::Part { logical, .. } => {
                let side = |side: u32| i32::try_from(side).unwrap_or(i32::MAX);
                let (width, height) = (side(logical.width), side(logical.height));
                let (x, y) = (logical.x, logical.y);
                manager.capture_output_region(pointer, output, x, y, width, height, handle, self.count)
            }
        };
        state.frame = FrameEvents { number: self.count, ..FrameEvents::default() };
        self.flight = Some(Flight { frame, is_copying: false, ask, shape });
        Ok(())
    }

    /// How large the copy at hand will be; `None` while that is not known. Once it is, the format is one that we read.
    pub(super) fn announced(&self, state: &State) -> Result<Option<Layout>, SourceError> {
        let is_announced = state.frame.is_announced;
        let Some(layout) = state.frame.layout.filter(|_| is_announced) else {
            if is_announced {
                let hint = "the compositor copies it into memory of the graphics card only".to_owned();
                return Err(SourceError::Missing { what: "this screen".to_owned(), hint });
            }
            return Ok(None);
        };
        layout.pixel_format()?;
        layout.len()?;
        Ok(Some(layout))
    }

    /// Takes the next step of the copy at hand, if the compositor has taken its own.
    pub(super) fn advance(
        &mut self,
        state: &State,
        handle: &QueueHandle<State>,
        when: When,
    ) -> Result<Progress, SourceError> {
        let Some(flight) = &mut self.flight else {
            return Ok(Progress::Failed);
        };
        match state.frame.end {
            Some(End::Failed) => {
                self.cancel();
                return Ok(Progress::Failed);
            }
            Some(End::Ready(mono_us)) if flight.is_copying => {
                let (ask, shape) = (flight.ask, flight.shape);
                self.cancel();
                let layout = self.shared.as_ref().map(|shared| shared.layout).ok_or_else(|| lost("no memory"))?;
                let format = layout.pixel_format()?;
                let is_upside_down = state.frame.is_upside_down;
                return Ok(Progress::Ready(Copied { ask, shape, layout, format, is_upside_down, mono_us }));
            }
            Some(End::Ready(_)) => return Err(lost("it has copied before it was given memory")),
            None if flight.is_copying => return Ok(Progress::Waiting),
            None => {}
        }
        let Some(layout) = self.announced(state)? else {
            return Ok(Progress::Waiting);
        };
        let shm = state.shm.as_ref().ok_or_else(|| lost("it has no wl_shm"))?;
        self.share(layout, shm, handle)?;
        if let (Some(flight), Some(shared)) = (&mut self.flight, &self.shared) {
            match when {
                When::AtOnce => flight.frame.copy(&shared.buffer),
                When::OnDamage => flight.frame.copy_with_damage(&shared.buffer),
            }
            flight.is_copying = true;
        }
        Ok(Progress::Waiting)
    }

    /// The memory, as the last copy left it.
    pub(super) fn bytes(&self) -> &[u8] {
        self.shared.as_ref().map_or(&[], |shared| shared.memory.bytes())
    }

    fn share(&mut self, layout: Layout, shm: &WlShm, handle: &QueueHandle<State>) -> Result<(), SourceError> {
        if self.shared.as_ref().is_some_and(|shared| shared.layout == layout) {
            return Ok(());
        }
        self.shared = None;
        let len = layout.len()?;
        let side = |side: u32| i32::try_from(side).map_err(lost);
        // A row more than the compositor fills: an area's last row, too, is followed by as much as a row is long.
        let row = usize::try_from(layout.stride).map_err(lost)?;
        let memory = SharedMemory::new(len.saturating_add(row))
            .map_err(|source| SourceError::Io { action: "cannot share memory with the compositor", source })?;
        let pool = shm.create_pool(memory.fd(), i32::try_from(len).map_err(lost)?, handle, ());
        let WEnum::Value(format) = layout.format else {
            return Err(lost("its pixels have no name"));
        };
        let (width, height, stride) = (side(layout.width)?, side(layout.height)?, side(layout.stride)?);
        let buffer = pool.create_buffer(0, width, height, stride, format, handle, ());
        self.shared = Some(Shared { layout, memory, buffer, pool });
        Ok(())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.buffer.destroy();
        self.pool.destroy();
    }
}

impl Dispatch<ZwlrScreencopyFrameV1, u32> for State {
    fn event(
        state: &mut Self,
        frame: &ZwlrScreencopyFrameV1,
        event: zwlr_screencopy_frame_v1::Event,
        number: &u32,
        _: &Connection,
        _: &QueueHandle<Self>,
    ) {
        use zwlr_screencopy_frame_v1::{Event, Flags};

        let said = &mut state.frame;
        if said.number != *number {
            return;
        }
        match event {
            Event::Buffer { format, width, height, stride } => {
                said.layout = Some(Layout { format, width, height, stride });
                said.is_announced |= wayland_client::Proxy::version(frame) < BUFFER_DONE_SINCE;
            }
            Event::BufferDone => said.is_announced = true,
            Event::Flags { flags: WEnum::Value(flags) } => said.is_upside_down = flags.contains(Flags::YInvert),
            Event::Ready { tv_sec_hi, tv_sec_lo, tv_nsec } => {
                let seconds = (u64::from(tv_sec_hi) << 32) | u64::from(tv_sec_lo);
                let mono_us = seconds.saturating_mul(1_000_000).saturating_add(u64::from(tv_nsec / 1000));
                said.end = Some(End::Ready(mono_us));
            }
            Event::Failed => said.end = Some(End::Failed),
            _ => {}
        }
    }
}

/// Objects that say nothing, or nothing that is needed here.
macro_rules! silent {
    ($($object:ty, $event:path;)*) => {
        $(impl Dispatch<$object, ()> for State {
            fn event(_: &mut Self, _: &$object, _: $event, (): &(), _: &Connection, _: &QueueHandle<Self>) {}
        })*
    };
}

silent! {
    ZwlrScreencopyManagerV1, zwlr_screencopy_manager_v1::Event;
    WlShm, wl_shm::Event;
    WlShmPool, wl_shm_pool::Event;
    WlBuffer, wl_buffer::Event;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(width: u32, height: u32, stride: u32) -> Layout {
        Layout { format: WEnum::Value(wl_shm::Format::Xrgb8888), width, height, stride }
    }

    #[test]
    fn copies_of_impossible_sizes_are_refused_before_memory_is_taken() {
        assert_eq!(layout(3, 2, 12).len().unwrap(), 24);
        assert_eq!(layout(3, 2, 16).len().unwrap(), 32);
        assert_eq!(layout(8192, 8192, 8192 * 4).len().unwrap(), MAX_MEMORY);
        for (width, height, stride) in [
            (0, 2, 8),
            (2, 0, 8),
            (3, 2, 8),
            (3, 2, 13),
            (8192, 8193, 8192 * 4),
            (1, u32::MAX, u32::MAX - 3),
            (u32::MAX, 1, u32::MAX - 3),
        ] {
            assert!(layout(width, height, stride).len().unwrap_err().is_lost(), "{width} x {height}, {stride}");
        }
    }

    #[test]
    fn pixels_of_eight_bits_are_read_and_others_named() {
        let of = |format| Layout { format, ..layout(1, 1, 4) }.pixel_format();
        for format in [wl_shm::Format::Xrgb8888, wl_shm::Format::Argb8888] {
            assert_eq!(of(WEnum::Value(format)).unwrap(), PixelFormat::Bgra);
        }
        for format in [wl_shm::Format::Xbgr8888, wl_shm::Format::Abgr8888] {
            assert_eq!(of(WEnum::Value(format)).unwrap(), PixelFormat::Rgba);
        }
        for format in [wl_shm::Format::Xrgb2101010, wl_shm::Format::Bgr888, wl_shm::Format::Rgb565] {
            let error = of(WEnum::Value(format)).unwrap_err();
            assert_eq!(error.reason(), "missing");
            assert!(error.to_string().contains(&format!("{format:?}").to_lowercase()), "{error}");
        }
        assert!(of(WEnum::Unknown(0x1234)).unwrap_err().to_string().contains("0x00001234"));
    }
}
