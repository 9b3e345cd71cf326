//! The pixels of a part of the screen, by shared memory or over the socket.

use std::io;

use rustix::fd::AsFd;
use x11rb::{
    connection::{Connection, RequestConnection},
    errors::ReplyError,
    protocol::{
        shm::{self, ConnectionExt as _},
        xproto::{ConnectionExt as _, ImageFormat, ImageOrder, Window},
    },
};

use super::{Link, Rect, lost, unless_refused};
use crate::{
    frame::PixelFormat,
    source::{SourceError, screen::shared_memory::SharedMemory},
};

/// How the server lays out its pixels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pixels {
    pub(super) screen_number: usize,
    pub(super) root: Window,
    pub(super) format: PixelFormat,
}

impl Pixels {
    pub(super) fn of(conn: &Link, screen_number: usize) -> Result<Self, SourceError> {
        let setup = conn.setup();
        let screen = setup.roots.get(screen_number).ok_or_else(|| lost("the display has no screens"))?;
        let bits = setup.pixmap_formats.iter().find(|format| format.depth == screen.root_depth);
        let visual = screen.allowed_depths.iter().flat_map(|depth| &depth.visuals);
        let visual = visual.into_iter().find(|visual| visual.visual_id == screen.root_visual);
        let masks = visual.map(|visual| (visual.red_mask, visual.green_mask, visual.blue_mask));
        let is_four_bytes = bits.is_some_and(|format| format.bits_per_pixel == 32);
        let format = match (setup.image_byte_order, masks) {
            (ImageOrder::LSB_FIRST, Some((0xFF_0000, 0xFF00, 0xFF))) if is_four_bytes => PixelFormat::Bgra,
            (ImageOrder::LSB_FIRST, Some((0xFF, 0xFF00, 0xFF_0000))) if is_four_bytes => PixelFormat::Rgba,
            _ => {
                let hint = format!("its pixels have a depth of {} bits; 24 are needed", screen.root_depth);
                return Err(SourceError::Missing { what: "this display".to_owned(), hint });
            }
        };
        Ok(Self { screen_number, root: screen.root, format })
    }
}

/// Takes pictures.
#[derive(Debug)]
pub(super) struct Grabber {
    root: Window,
    has_shm: bool,
    segment: Option<Segment>,
    /// A picture that came over the socket.
    received: Vec<u8>,
}

#[derive(Debug)]
struct Segment {
    id: shm::Seg,
    memory: SharedMemory,
}

impl Grabber {
    pub(super) fn new(conn: &Link, root: Window) -> Result<Self, SourceError> {
        let offered = conn.extension_information(shm::X11_EXTENSION_NAME).map_err(lost)?.is_some();
        // Descriptors are passed since 1.2; displays of other machines cannot take any.
        let version = match offered {
            true => unless_refused(conn.shm_query_version().map_err(lost)?.reply())?,
            false => None,
        };
        let has_shm = version.is_some_and(|version| (version.major_version, version.minor_version) >= (1, 2));
        let mut grabber = Self { root, has_shm, segment: None, received: Vec::new() };
        if has_shm {
            match grabber.attach(conn, 4) {
                Ok(()) => {}
                Err(error) if error.is_lost() => return Err(lost(error)),
                Err(error) => {
                    tracing::info!(%error, "no shared memory with the display: pictures come over its socket");
                    grabber.has_shm = false;
                }
            }
        }
        Ok(grabber)
    }

    pub(super) const fn is_shared(&self) -> bool {
        self.has_shm
    }

    /// The pixels of `area`, four bytes each, rows tightly packed.
    pub(super) fn grab(&mut self, conn: &Link, area: Rect) -> Result<&[u8], SourceError> {
        let len = PixelFormat::Bgra.packed_len(area.width, area.height)?;
        let outside = |_| lost("the area has sides that X11 cannot name");
        let (x, y) = (i16::try_from(area.x).map_err(outside)?, i16::try_from(area.y).map_err(outside)?);
        let (width, height) =
            (u16::try_from(area.width).map_err(outside)?, u16::try_from(area.height).map_err(outside)?);
        if !self.has_shm {
            let image =
                conn.get_image(ImageFormat::Z_PIXMAP, self.root, x, y, width, height, u32::MAX).map_err(lost)?;
            self.received = image.reply().map_err(lost)?.data;
            return self.received.get(..len).ok_or_else(|| lost("the display sent less than a picture"));
        }
        if self.segment.as_ref().is_none_or(|segment| segment.memory.bytes().len() < len) {
            self.attach(conn, len).map_err(lost)?;
        }
        let Some(segment) = &self.segment else {
            return Err(lost("no memory is shared with the display"));
        };
        let format = ImageFormat::Z_PIXMAP.into();
        conn.shm_get_image(self.root, x, y, width, height, u32::MAX, format, segment.id, 0)
            .map_err(lost)?
            .reply()
            .map_err(lost)?;
        segment.memory.bytes().get(..len).ok_or_else(|| lost("the display shares less than a picture"))
    }

    fn attach(&mut self, conn: &Link, len: usize) -> Result<(), AttachError> {
        if let Some(old) = self.segment.take() {
            conn.shm_detach(old.id)?.check()?;
        }
        let memory = SharedMemory::new(len)?;
        let id = conn.generate_id()?;
        let fd = memory.fd().as_fd().try_clone_to_owned()?;
        conn.shm_attach_fd(id, fd, false)?.check()?;
        self.segment = Some(Segment { id, memory });
        Ok(())
    }
}

/// Why no memory can be shared.
#[derive(Debug, thiserror::Error)]
enum AttachError {
    #[error(transparent)]
    Memory(#[from] io::Error),
    #[error(transparent)]
    Refused(#[from] ReplyError),
    #[error(transparent)]
    Connection(#[from] x11rb::errors::ConnectionError),
    #[error(transparent)]
    Id(#[from] x11rb::errors::ReplyOrIdError),
}

impl AttachError {
    /// Is the connection broken, by which pictures would come otherwise?
    const fn is_lost(&self) -> bool {
        matches!(self, Self::Connection(_) | Self::Refused(ReplyError::ConnectionError(_)))
    }
}
