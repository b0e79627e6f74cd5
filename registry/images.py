"""Detect tensors that are images, and convert images to small PNGs. Pure."""

import struct
import zlib
from typing import Any

import numpy as np

from registry.rows import FREE

Array = np.ndarray[Any, Any]

THUMBNAIL_SIDE = 64  # pixels, at most
_CHANNELS = {1, 3, 4}  # grey, colours, colours with opacity
_SMALLEST_SIDE = 4  # minimum width and height of an image in pixels
_RANGES = ((0, 1), (0, 255), (-1, 1))  # possible ranges of an image's numbers
_DATATYPES = {"UINT8", "FP16", "BF16", "FP32", "FP64"}


def is_image(datatype: str, item: list[int]) -> bool:
    """Return whether a tensor whose rows have the shape `item` contains images."""
    if len(item) != 3 or datatype not in _DATATYPES:
        return False
    axis = channel_axis(item)
    sides = [size for place, size in enumerate(item) if place != axis]
    return item[axis] in _CHANNELS and all(s == FREE or s >= _SMALLEST_SIDE for s in sides)


def channel_axis(item: list[int]) -> int:
    """Return the channel dimension of a row: the last if only it fits, else the first."""
    return len(item) - 1 if item[0] not in _CHANNELS and item[-1] in _CHANNELS else 0


def thumbnail(image: Array, axis: int) -> bytes:
    """Return a PNG of at most THUMBNAIL_SIDE pixels per side; `axis` is the channel dimension.

    Every n-th pixel is used, so the same image gives the same bytes everywhere. The range of the
    numbers is the first of 0 to 1, 0 to 255 and -1 to 1 that contains all of them, else minimum to
    maximum. Raises ValueError for an array that is not an image.
    """
    pixels = np.moveaxis(image, axis, -1)
    if pixels.ndim != 3 or pixels.shape[-1] not in _CHANNELS or not pixels.size:
        raise ValueError(f"shape {list(image.shape)} is not an image")
    step = -(-max(pixels.shape[:2]) // THUMBNAIL_SIDE)
    small = _bytes(pixels[::step, ::step, :3])
    return encode_png(small[:, :, 0] if small.shape[-1] == 1 else small)


def _bytes(pixels: Array) -> Array:
    """Return brightness from 0 to 255, with 0 for NaN and infinities."""
    if pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels)
    values = pixels.astype(np.float64)
    finite = np.isfinite(values)
    if not finite.any():
        return np.zeros(values.shape, np.uint8)
    low, high = float(values[finite].min()), float(values[finite].max())
    fits = (
        value_range for value_range in _RANGES if value_range[0] <= low <= high <= value_range[1]
    )
    start, end = next(fits, (low, high))
    spread = end - start or 1
    scaled = (np.where(finite, values, start) - start) / spread * 255
    rounded: Array = np.rint(scaled).astype(np.uint8)
    return rounded


def encode_png(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> bytes:
    """Encode pixels [height, width] of greys or [height, width, 3] of colours as a PNG."""
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1)
    lines = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1)  # 0: no filter
    colours = 2 if pixels.ndim == 3 else 0
    head = struct.pack(">IIBBBBB", width, height, 8, colours, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(lines.tobytes())), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))
