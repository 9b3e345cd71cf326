//! Raw pictures where they lie: in a device's memory, or a decoder's.

use crate::frame::{Format, FrameError, PixelFormat};

/// How a raw picture lies in memory: more than goes over the wires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RawLayout {
    /// One of the wires'.
    Pixels(PixelFormat),
    /// Planes Y, U, V; chroma of half the width, rounded up.
    Yuv422,
    /// Planes Y, U, V; chroma of full size.
    Yuv444,
}

/// A plane of samples.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Plane<'a> {
    pub(super) data: &'a [u8],
    /// Bytes from one row to the next.
    pub(super) stride: usize,
}

/// A raw picture in somebody else's memory, rows as far apart as he puts them.
#[derive(Debug, Clone, Copy)]
pub struct RawView<'a> {
    layout: RawLayout,
    width: u32,
    height: u32,
    planes: [Plane<'a>; 3],
}

impl RawLayout {
    /// Bytes of a row, and rows, of each plane.
    pub fn planes(self, width: u32, height: u32) -> [(usize, usize); 3] {
        let [w, h] = [width, height].map(|side| usize::try_from(side).unwrap_or(usize::MAX));
        let none = (0, 0);
        match self {
            Self::Pixels(PixelFormat::Rgb | PixelFormat::Bgr) => [(w * 3, h), none, none],
            Self::Pixels(PixelFormat::Rgba | PixelFormat::Bgra) => [(w * 4, h), none, none],
            Self::Pixels(PixelFormat::Gray) => [(w, h), none, none],
            Self::Pixels(PixelFormat::Yuy2) => [(w.div_ceil(2) * 4, h), none, none],
            Self::Pixels(PixelFormat::Nv12) => [(w, h), (w.div_ceil(2) * 2, h.div_ceil(2)), none],
            Self::Pixels(PixelFormat::I420) => {
                let chroma = (w.div_ceil(2), h.div_ceil(2));
                [(w, h), chroma, chroma]
            }
            Self::Yuv422 => [(w, h), (w.div_ceil(2), h), (w.div_ceil(2), h)],
            Self::Yuv444 => [(w, h); 3],
        }
    }
}

impl RawLayout {
    /// Is it luma and chroma?
    pub(super) const fn is_yuv(self) -> bool {
        match self {
            Self::Pixels(format) => format.is_yuv(),
            Self::Yuv422 | Self::Yuv444 => true,
        }
    }

    /// Rows of a plane that belong to so many rows of the picture.
    fn plane_rows(self, plane: usize, rows: u32) -> usize {
        self.planes(1, rows).get(plane).map_or(0, |(_, rows)| *rows)
    }
}

impl<'a> RawView<'a> {
    /// A picture whose first plane has `stride` bytes a row; chroma planes follow at once, with strides as V4L2 has
    /// them (`Nv12`: the same; `I420`: half of it, rounded up). 0: tightly packed.
    ///
    /// # Errors
    ///
    /// [`FrameError`] if `data` is too short or the size cannot be.
    pub fn new(
        format: PixelFormat,
        width: u32,
        height: u32,
        stride: usize,
        data: &'a [u8],
    ) -> Result<Self, FrameError> {
        let layout = RawLayout::Pixels(format);
        let sizes = layout.planes(width, height);
        let mut strides = sizes.map(|(row, _)| row);
        if stride != 0 {
            strides[0] = stride;
            match format {
                PixelFormat::Nv12 => strides[1] = stride,
                PixelFormat::I420 => (strides[1], strides[2]) = (stride.div_ceil(2), stride.div_ceil(2)),
                _ => {}
            }
        }
        let mut rest = data;
        let mut planes = [(data, 0); 3];
        for ((plane, stride), (_, rows)) in planes.iter_mut().zip(strides).zip(sizes) {
            // The last row of the last plane may be shorter: what is there is checked below.
            let (own, next) = rest.split_at_checked(stride.saturating_mul(rows)).unwrap_or((rest, &[]));
            *plane = (own, stride);
            rest = next;
        }
        Self::from_planes(layout, width, height, planes)
    }

    /// A picture in separate planes, each with the bytes from one row to the next. What the layout has no plane for is
    /// ignored.
    ///
    /// # Errors
    ///
    /// [`FrameError`] if a plane is too short or the size cannot be.
    pub fn from_planes(
        layout: RawLayout,
        width: u32,
        height: u32,
        planes: [(&'a [u8], usize); 3],
    ) -> Result<Self, FrameError> {
        crate::frame::format::check_size(width, height)?;
        for ((data, stride), (row, rows)) in planes.into_iter().zip(layout.planes(width, height)) {
            let needed = stride.checked_mul(rows.saturating_sub(1)).and_then(|before| before.checked_add(row));
            let is_whole = needed.is_some_and(|needed| data.len() >= needed) && stride >= row;
            if rows > 0 && (!is_whole || u32::try_from(stride).is_err()) {
                let format = Format::Pixels(match layout {
                    RawLayout::Pixels(format) => format,
                    RawLayout::Yuv422 | RawLayout::Yuv444 => PixelFormat::I420,
                });
                let expected = needed.unwrap_or(usize::MAX);
                return Err(FrameError::Length { format, width, height, expected, got: data.len() });
            }
        }
        Ok(Self { layout, width, height, planes: planes.map(|(data, stride)| Plane { data, stride }) })
    }

    /// How it lies in memory.
    pub const fn layout(&self) -> RawLayout {
        self.layout
    }

    /// Pixels.
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Pixels.
    pub const fn height(&self) -> u32 {
        self.height
    }

    pub(super) const fn planes(&self) -> &[Plane<'a>; 3] {
        &self.planes
    }

    /// The rows of a plane without what lies between them.
    pub(super) fn rows(&self, plane: usize) -> impl Iterator<Item = &'a [u8]> {
        let (row, rows) = self.layout.planes(self.width, self.height).get(plane).copied().unwrap_or_default();
        let Plane { data, stride } = self.planes.get(plane).copied().unwrap_or_default();
        // Checked when the view was made.
        (0..rows).map(move |y| data.get(y * stride..y * stride + row).unwrap_or_default())
    }

    /// The picture in bands of `rows` rows, an even number; the last may have fewer.
    pub(super) fn bands(&self, rows: u32) -> impl Iterator<Item = Self> {
        let whole = *self;
        (0..self.height).step_by(usize::try_from(rows.max(1)).unwrap_or(usize::MAX)).map(move |begin| {
            let mut band = Self { height: rows.min(whole.height - begin), ..whole };
            for (number, plane) in band.planes.iter_mut().enumerate() {
                let before = whole.layout.plane_rows(number, begin) * plane.stride;
                let len = whole.layout.plane_rows(number, band.height) * plane.stride;
                let rest = plane.data.get(before..).unwrap_or_default();
                plane.data = rest.get(..len).unwrap_or(rest);
            }
            band
        })
    }

    /// Does a plane end with its last row's last pixel, though its rows lie apart?
    pub(super) fn ends_short(&self) -> bool {
        let mut planes = self.planes.iter().zip(self.layout.planes(self.width, self.height));
        planes.any(|(Plane { data, stride }, (_, rows))| data.len() < stride.saturating_mul(rows))
    }

    /// Bytes of all planes without what lies between their rows.
    pub(super) fn packed_len(&self) -> usize {
        self.layout.planes(self.width, self.height).into_iter().map(|(row, rows)| row * rows).sum()
    }

    /// The same picture in the bytes that [`Self::copy_packed`] has made.
    pub(super) fn of_packed<'b>(&self, mut packed: &'b [u8]) -> Result<RawView<'b>, FrameError> {
        let planes = self.layout.planes(self.width, self.height).map(|(row, rows)| {
            let (plane, rest) = packed.split_at_checked(row * rows).unwrap_or((packed, &[]));
            packed = rest;
            (plane, row)
        });
        RawView::from_planes(self.layout, self.width, self.height, planes)
    }

    /// All planes without what lies between their rows.
    pub(super) fn copy_packed(&self, mut made: &mut [u8]) {
        for (plane, (row, rows)) in self.layout.planes(self.width, self.height).into_iter().enumerate() {
            let Plane { data, stride } = self.planes.get(plane).copied().unwrap_or_default();
            if stride == row {
                let whole = row * rows;
                if let (Some(to), Some(from)) = (made.get_mut(..whole), data.get(..whole)) {
                    to.copy_from_slice(from);
                }
            } else if row > 0 {
                for (to, from) in made.chunks_exact_mut(row).zip(self.rows(plane)) {
                    to.copy_from_slice(from);
                }
            }
            made = made.get_mut(row * rows..).unwrap_or_default();
        }
    }
}
