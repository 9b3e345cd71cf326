"""Pixels of frames as numpy arrays. numpy is imported by the first call, not by the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from .messages import VideoFrame

_CHANNELS = {"rgb": 3, "bgr": 3, "rgba": 4, "bgra": 4}
RAW_FORMATS = (*_CHANNELS, "gray", "i420", "nv12", "yuy2")


def to_numpy(frame: VideoFrame) -> np.ndarray:
    """The pixels of a raw frame as an array of uint8, without a copy. It is read-only: `.copy()` is yours.

    Shapes, with h and w for `frame.height` and `frame.width`:

    - rgb, bgr: (h, w, 3); rgba, bgra: (h, w, 4), in the order that the format says
    - gray: (h, w)
    - i420, nv12: (h * 3 // 2, w), the planes one after another, as OpenCV's `COLOR_YUV2*` take them; for even sides
      only, as others make no rectangle: use `planes`
    - yuy2: (h, w + w % 2, 2), luma and, in turns, blue and red chroma, as OpenCV takes it; an odd width has a column
      that is not shown

    Raises ValueError for encoded formats, for odd sides of i420 and nv12, and for data of the wrong length.
    """
    import numpy as np

    data, height, width = _raw(np, frame), frame.height, frame.width
    if frame.format in _CHANNELS:
        return data.reshape(height, width, _CHANNELS[frame.format])
    if frame.format == "gray":
        return data.reshape(height, width)
    if frame.format == "yuy2":
        return data.reshape(height, width + width % 2, 2)
    if width % 2 or height % 2:
        raise ValueError(
            f"{frame.format} of {width} x {height} makes no rectangle: use framehost.planes(frame)"
        )
    return data.reshape(height * 3 // 2, width)


def planes(frame: VideoFrame) -> tuple[np.ndarray, ...]:
    """The planes of an i420 or nv12 frame of any size, as read-only arrays of uint8 without a copy.

    Shapes, with ch and cw for half of height and width, rounded up:

    - i420: luma (h, w), blue chroma (ch, cw), red chroma (ch, cw)
    - nv12: luma (h, w), both chromas (ch, cw, 2)

    Raises ValueError for other formats and for data of the wrong length.
    """
    import numpy as np

    if frame.format not in ("i420", "nv12"):
        raise ValueError(f"{frame.format} has no planes: use framehost.to_numpy(frame)")
    data, height, width = _raw(np, frame), frame.height, frame.width
    half_height, half_width = -(-height // 2), -(-width // 2)
    luma, chroma = data[: width * height].reshape(height, width), data[width * height :]
    if frame.format == "nv12":
        return luma, chroma.reshape(half_height, half_width, 2)
    blue, red = chroma.reshape(2, half_height, half_width)
    return luma, blue, red


def packed_bytes(pixel_format: str, width: int, height: int) -> int:
    """Bytes of a raw picture of `width` x `height` pixels, rows without gaps."""
    if pixel_format in _CHANNELS:
        return width * height * _CHANNELS[pixel_format]
    if pixel_format == "gray":
        return width * height
    if pixel_format == "yuy2":
        return -(-width // 2) * 4 * height
    return width * height + 2 * -(-width // 2) * -(-height // 2)


def _raw(np, frame):
    if frame.format not in RAW_FORMATS:
        raise ValueError(
            f"{frame.format!r} is an encoded format: subscribe with accept_formats=['rgb'] and the hub decodes it, "
            "or decode frame.frame_data yourself"
        )
    expected = packed_bytes(frame.format, frame.width, frame.height)
    if len(frame.frame_data) != expected:
        raise ValueError(
            f"{frame.format} of {frame.width} x {frame.height} takes {expected} bytes, got {len(frame.frame_data)}"
        )
    return np.frombuffer(frame.frame_data, np.uint8)
