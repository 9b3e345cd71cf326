//! Video4Linux's requests as functions of plain values: the one place that knows the kernel's structures.
//!
//! Built on the lower layer of the `v4l` crate (its bindings and its `ioctl`). Its own devices and streams are not used:
//! they panic when a camera refuses to stop or has a name that is not UTF-8, leave their descriptor open in child
//! processes, and do not tell an unplugged camera from a ready one.
//!
//! Invariants:
//! - No request waits for a picture: the device is open without blocking, and [`Device::wait`] has a limit.
//! - A mapped buffer is read only between dequeueing and queueing it, while the driver leaves it alone.

use std::{
    io,
    marker::PhantomData,
    mem,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::Path,
    ptr::{self, NonNull},
    slice,
    time::Duration,
};

use ::v4l::{
    v4l_sys::{
        V4L2_BUF_FLAG_ERROR, V4L2_BUF_FLAG_TIMESTAMP_MASK, V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC, V4L2_CAP_DEVICE_CAPS,
        V4L2_CAP_STREAMING, V4L2_CAP_VIDEO_CAPTURE, v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE as VIDEO_CAPTURE,
        v4l2_buffer, v4l2_capability, v4l2_field_V4L2_FIELD_NONE, v4l2_fmtdesc, v4l2_format, v4l2_fract,
        v4l2_frmivalenum, v4l2_frmivaltypes_V4L2_FRMIVAL_TYPE_DISCRETE, v4l2_frmsizeenum,
        v4l2_frmsizetypes_V4L2_FRMSIZE_TYPE_DISCRETE, v4l2_memory_V4L2_MEMORY_MMAP as MMAP, v4l2_requestbuffers,
        v4l2_streamparm,
    },
    v4l2::{self, vidioc},
};
use rustix::{
    event::{PollFd, PollFlags, Timespec},
    fs::{Mode, OFlags},
    io::Errno,
    mm::{MapFlags, ProtFlags},
};

use super::super::modes::{FourCc, Interval, Rates, Sizes, Steps};

/// A request and the structure that it takes.
struct Request<T> {
    code: vidioc::_IOC_TYPE,
    argument: PhantomData<T>,
}

impl<T> Request<T> {
    /// # Safety
    ///
    /// The kernel takes a `T` with this request, and all bytes zero are a `T`.
    const unsafe fn new(code: vidioc::_IOC_TYPE) -> Self {
        Self { code, argument: PhantomData }
    }

    fn zeroed(&self) -> T {
        // SAFETY: promised to `new`.
        unsafe { mem::zeroed() }
    }

    fn call(&self, device: &OwnedFd, argument: &mut T) -> io::Result<()> {
        loop {
            // SAFETY: promised to `new`; the kernel keeps no pointer to the structure beyond the call.
            let result = unsafe { v4l2::ioctl(device.as_raw_fd(), self.code, ptr::from_mut(argument).cast()) };
            match result {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

// SAFETY: the structures that the kernel's header names for these requests; integers, arrays, and unions of them.
const QUERYCAP: Request<v4l2_capability> = unsafe { Request::new(vidioc::VIDIOC_QUERYCAP) };
// SAFETY: as above.
const ENUM_FMT: Request<v4l2_fmtdesc> = unsafe { Request::new(vidioc::VIDIOC_ENUM_FMT) };
// SAFETY: as above.
const ENUM_FRAMESIZES: Request<v4l2_frmsizeenum> = unsafe { Request::new(vidioc::VIDIOC_ENUM_FRAMESIZES) };
// SAFETY: as above.
const ENUM_FRAMEINTERVALS: Request<v4l2_frmivalenum> = unsafe { Request::new(vidioc::VIDIOC_ENUM_FRAMEINTERVALS) };
// SAFETY: as above.
const G_FMT: Request<v4l2_format> = unsafe { Request::new(vidioc::VIDIOC_G_FMT) };
// SAFETY: as above.
const S_FMT: Request<v4l2_format> = unsafe { Request::new(vidioc::VIDIOC_S_FMT) };
// SAFETY: as above.
const G_PARM: Request<v4l2_streamparm> = unsafe { Request::new(vidioc::VIDIOC_G_PARM) };
// SAFETY: as above.
const S_PARM: Request<v4l2_streamparm> = unsafe { Request::new(vidioc::VIDIOC_S_PARM) };
// SAFETY: as above.
const REQBUFS: Request<v4l2_requestbuffers> = unsafe { Request::new(vidioc::VIDIOC_REQBUFS) };
// SAFETY: as above; the pointers in its union are null when zero.
const QUERYBUF: Request<v4l2_buffer> = unsafe { Request::new(vidioc::VIDIOC_QUERYBUF) };
// SAFETY: as above.
const QBUF: Request<v4l2_buffer> = unsafe { Request::new(vidioc::VIDIOC_QBUF) };
// SAFETY: as above.
const DQBUF: Request<v4l2_buffer> = unsafe { Request::new(vidioc::VIDIOC_DQBUF) };
// SAFETY: as above: the type of the buffers.
const STREAMON: Request<u32> = unsafe { Request::new(vidioc::VIDIOC_STREAMON) };
// SAFETY: as above.
const STREAMOFF: Request<u32> = unsafe { Request::new(vidioc::VIDIOC_STREAMOFF) };

/// An open device.
#[derive(Debug)]
pub(super) struct Device {
    fd: OwnedFd,
}

/// What a device says that it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Capability {
    pub(super) card: String,
    pub(super) bus: String,
    /// It makes pictures, and hands them over in buffers.
    pub(super) is_camera: bool,
}

/// How pictures lie in their buffers, in the kernel's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PictureFormat {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) fourcc: FourCc,
    pub(super) field: u32,
    /// Bytes from one row to the next; 0 for coded pictures.
    pub(super) stride: u32,
    pub(super) colorspace: u32,
    pub(super) ycbcr_enc: u32,
    pub(super) quantization: u32,
}

/// A buffer that the driver has filled, or given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Filled {
    pub(super) index: u32,
    pub(super) bytes_used: u32,
    /// The driver knows that something is wrong with it.
    pub(super) is_broken: bool,
    /// By `CLOCK_MONOTONIC`; `None` if the driver has another clock.
    pub(super) mono_us: Option<u64>,
    pub(super) sequence: u32,
}

/// What waiting for a buffer brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Readiness {
    /// A buffer is there.
    Filled,
    /// Not yet.
    Nothing,
    /// The device is unplugged, or its stream is broken.
    Broken,
}

impl Device {
    /// Opens a device for reading pictures, without waiting, and not for child processes.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let fd = rustix::fs::open(path, OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { fd })
    }

    pub(super) fn capability(&self) -> io::Result<Capability> {
        let mut answer = QUERYCAP.zeroed();
        QUERYCAP.call(&self.fd, &mut answer)?;
        let has_own = answer.capabilities & V4L2_CAP_DEVICE_CAPS != 0;
        let able = if has_own { answer.device_caps } else { answer.capabilities };
        let needed = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
        let is_camera = able & needed == needed;
        Ok(Capability { card: text(&answer.card), bus: text(&answer.bus_info), is_camera })
    }

    /// The format at this place of the device's list.
    pub(super) fn format_at(&self, index: u32) -> io::Result<Option<FourCc>> {
        let mut entry = v4l2_fmtdesc { index, type_: VIDEO_CAPTURE, ..ENUM_FMT.zeroed() };
        Ok(listed(ENUM_FMT.call(&self.fd, &mut entry))?.map(|()| FourCc(entry.pixelformat.to_le_bytes())))
    }

    /// The sizes at this place of a format's list.
    pub(super) fn sizes_at(&self, fourcc: FourCc, index: u32) -> io::Result<Option<Sizes>> {
        let pixel_format = u32::from_le_bytes(fourcc.0);
        let mut entry = v4l2_frmsizeenum { index, pixel_format, ..ENUM_FRAMESIZES.zeroed() };
        if listed(ENUM_FRAMESIZES.call(&self.fd, &mut entry))?.is_none() {
            return Ok(None);
        }
        if entry.type_ == v4l2_frmsizetypes_V4L2_FRMSIZE_TYPE_DISCRETE {
            // SAFETY: the type says which of the union's members it is; each is integers only.
            let size = unsafe { entry.__bindgen_anon_1.discrete };
            return Ok(Some(Sizes::one(size.width, size.height)));
        }
        // SAFETY: as above.
        let steps = unsafe { entry.__bindgen_anon_1.stepwise };
        Ok(Some(Sizes {
            width: Steps { min: steps.min_width, max: steps.max_width, step: steps.step_width },
            height: Steps { min: steps.min_height, max: steps.max_height, step: steps.step_height },
        }))
    }

    /// The rates at this place of a mode's list.
    pub(super) fn rates_at(
        &self,
        fourcc: FourCc,
        (width, height): (u32, u32),
        index: u32,
    ) -> io::Result<Option<Rates>> {
        let pixel_format = u32::from_le_bytes(fourcc.0);
        let mut entry = v4l2_frmivalenum { index, pixel_format, width, height, ..ENUM_FRAMEINTERVALS.zeroed() };
        if listed(ENUM_FRAMEINTERVALS.call(&self.fd, &mut entry))?.is_none() {
            return Ok(None);
        }
        if entry.type_ == v4l2_frmivaltypes_V4L2_FRMIVAL_TYPE_DISCRETE {
            // SAFETY: the type says which of the union's members it is; each is integers only.
            let one = interval(unsafe { entry.__bindgen_anon_1.discrete });
            return Ok(Some(Rates { shortest: one, longest: one }));
        }
        // SAFETY: as above.
        let steps = unsafe { entry.__bindgen_anon_1.stepwise };
        Ok(Some(Rates { shortest: interval(steps.min), longest: interval(steps.max) }))
    }

    pub(super) fn format(&self) -> io::Result<PictureFormat> {
        let mut format = v4l2_format { type_: VIDEO_CAPTURE, ..G_FMT.zeroed() };
        G_FMT.call(&self.fd, &mut format)?;
        Ok(picture_format(&format))
    }

    /// Asks for a format and tells what was granted, which may be another.
    pub(super) fn set_format(&self, fourcc: FourCc, (width, height): (u32, u32)) -> io::Result<PictureFormat> {
        let mut format = v4l2_format { type_: VIDEO_CAPTURE, ..S_FMT.zeroed() };
        let mut pix = {
            // SAFETY: it was zeroed, and the member is integers only.
            unsafe { format.fmt.pix }
        };
        pix.width = width;
        pix.height = height;
        pix.pixelformat = u32::from_le_bytes(fourcc.0);
        pix.field = v4l2_field_V4L2_FIELD_NONE;
        format.fmt.pix = pix;
        S_FMT.call(&self.fd, &mut format)?;
        Ok(picture_format(&format))
    }

    /// The time from one picture to the next; `None` if the device does not tell.
    pub(super) fn interval(&self) -> io::Result<Option<Interval>> {
        let mut parameters = v4l2_streamparm { type_: VIDEO_CAPTURE, ..G_PARM.zeroed() };
        told(listed(G_PARM.call(&self.fd, &mut parameters)), &parameters)
    }

    /// Asks for a rate and tells what was granted; `None` if the device does not tell.
    pub(super) fn set_interval(&self, wanted: Interval) -> io::Result<Option<Interval>> {
        let mut parameters = v4l2_streamparm { type_: VIDEO_CAPTURE, ..S_PARM.zeroed() };
        // SAFETY: it was zeroed, and the member is integers only.
        let mut capture = unsafe { parameters.parm.capture };
        capture.timeperframe = v4l2_fract { numerator: wanted.numerator, denominator: wanted.denominator };
        parameters.parm.capture = capture;
        told(listed(S_PARM.call(&self.fd, &mut parameters)), &parameters)
    }

    /// Has the driver make buffers (or do away with them: 0), and tells how many there are.
    pub(super) fn request_buffers(&self, count: u32) -> io::Result<u32> {
        let mut request = v4l2_requestbuffers { count, type_: VIDEO_CAPTURE, memory: MMAP, ..REQBUFS.zeroed() };
        REQBUFS.call(&self.fd, &mut request)?;
        Ok(request.count)
    }

    pub(super) fn map(&self, index: u32) -> io::Result<Mapping> {
        let mut buffer = v4l2_buffer { index, type_: VIDEO_CAPTURE, memory: MMAP, ..QUERYBUF.zeroed() };
        QUERYBUF.call(&self.fd, &mut buffer)?;
        // SAFETY: the kernel tells the offset of buffers of this kind of memory.
        let offset = unsafe { buffer.m.offset };
        let len = usize::try_from(buffer.length).map_err(io::Error::other)?;
        // SAFETY: a new mapping, at an address that the kernel chooses; it is unmapped by `Mapping` alone.
        let address = unsafe {
            rustix::mm::mmap(ptr::null_mut(), len, ProtFlags::READ, MapFlags::SHARED, &self.fd, offset.into())
        }?;
        let address = NonNull::new(address.cast()).ok_or(Errno::NOMEM)?;
        Ok(Mapping { address, len })
    }

    pub(super) fn queue(&self, index: u32) -> io::Result<()> {
        let mut buffer = v4l2_buffer { index, type_: VIDEO_CAPTURE, memory: MMAP, ..QBUF.zeroed() };
        QBUF.call(&self.fd, &mut buffer)
    }

    /// The oldest buffer that has been filled, if there is one.
    pub(super) fn dequeue(&self) -> io::Result<Option<Filled>> {
        let mut buffer = v4l2_buffer { type_: VIDEO_CAPTURE, memory: MMAP, ..DQBUF.zeroed() };
        match DQBUF.call(&self.fd, &mut buffer) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
        let is_monotonic = buffer.flags & V4L2_BUF_FLAG_TIMESTAMP_MASK == V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
        let (seconds, micros) = (u64::try_from(buffer.timestamp.tv_sec), u64::try_from(buffer.timestamp.tv_usec));
        let mono_us = match (seconds, micros) {
            (Ok(seconds), Ok(micros)) if is_monotonic => seconds.checked_mul(1_000_000).map(|us| us + micros),
            _ => None,
        };
        Ok(Some(Filled {
            index: buffer.index,
            bytes_used: buffer.bytesused,
            is_broken: buffer.flags & V4L2_BUF_FLAG_ERROR != 0,
            mono_us,
            sequence: buffer.sequence,
        }))
    }

    pub(super) fn start(&self) -> io::Result<()> {
        STREAMON.call(&self.fd, &mut { VIDEO_CAPTURE })
    }

    pub(super) fn stop(&self) -> io::Result<()> {
        STREAMOFF.call(&self.fd, &mut { VIDEO_CAPTURE })
    }

    /// Waits for a filled buffer, for so long at most.
    pub(super) fn wait(&self, limit: Duration) -> io::Result<Readiness> {
        let mut polled = [PollFd::from_borrowed_fd(self.fd.as_fd(), PollFlags::IN)];
        let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
        match rustix::event::poll(&mut polled, Some(&limit)) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Readiness::Nothing),
            Err(error) => return Err(error.into()),
        }
        let found = polled.first().map_or(PollFlags::empty(), PollFd::revents);
        Ok(if found.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL) {
            Readiness::Broken
        } else if found.contains(PollFlags::IN) {
            Readiness::Filled
        } else {
            Readiness::Nothing
        })
    }
}

/// The memory of one buffer. Dropping it unmaps it.
#[derive(Debug)]
pub(super) struct Mapping {
    address: NonNull<u8>,
    len: usize,
}

impl Mapping {
    /// What the driver has written. To be called for a buffer that was dequeued, and not queued since.
    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: `len` bytes are mapped for reading until `self` is dropped. The driver writes to queued buffers only;
        // one that misbehaves changes pixels under way, which nothing but arithmetic is done with.
        unsafe { slice::from_raw_parts(self.address.as_ptr(), self.len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `Device::map` with this length, and nothing borrows from it any more.
        if let Err(error) = unsafe { rustix::mm::munmap(self.address.as_ptr().cast(), self.len) } {
            tracing::error!(%error, "a camera's buffer stays mapped");
        }
    }
}

/// Past a list's end, or no such list.
fn listed(result: io::Result<()>) -> io::Result<Option<()>> {
    match result {
        Ok(()) => Ok(Some(())),
        Err(error) if is_no_answer(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The device does not know the request, or not this argument.
fn is_no_answer(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::INVAL | Errno::NOTTY))
}

fn told(answer: io::Result<Option<()>>, parameters: &v4l2_streamparm) -> io::Result<Option<Interval>> {
    Ok(answer?.and_then(|()| {
        // SAFETY: the structure was zeroed or filled in by the kernel, and the member is integers only.
        let capture = unsafe { parameters.parm.capture };
        interval(capture.timeperframe).checked()
    }))
}

const fn interval(fraction: v4l2_fract) -> Interval {
    Interval { numerator: fraction.numerator, denominator: fraction.denominator }
}

fn picture_format(format: &v4l2_format) -> PictureFormat {
    // SAFETY: formats of video capture are this member of the union, and it is integers only.
    let pix = unsafe { format.fmt.pix };
    PictureFormat {
        width: pix.width,
        height: pix.height,
        fourcc: FourCc(pix.pixelformat.to_le_bytes()),
        field: pix.field,
        stride: pix.bytesperline,
        colorspace: pix.colorspace,
        // SAFETY: both members of the union are the same integer.
        ycbcr_enc: unsafe { pix.__bindgen_anon_1.ycbcr_enc },
        quantization: pix.quantization,
    }
}

/// A name of fixed length, padded with zeros.
fn text(bytes: &[u8]) -> String {
    let name = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(name).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_not_utf_8_is_read_all_the_same() {
        assert_eq!(text(b"HD Webcam \xff\0\0junk"), "HD Webcam \u{fffd}");
        assert_eq!(text(&[b'x'; 32]).len(), 32);
        assert_eq!(text(&[0; 32]), "");
    }

    #[test]
    fn what_is_no_device_is_refused_by_the_kernel() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let device = Device::open(file.path()).unwrap();
        assert!(device.capability().is_err());
        assert_eq!(device.format_at(0).unwrap(), None);
        assert_eq!(device.interval().unwrap(), None);
        assert!(device.request_buffers(4).is_err());
        assert!(device.start().is_err() && device.dequeue().is_err() && device.stop().is_err());
    }
}
