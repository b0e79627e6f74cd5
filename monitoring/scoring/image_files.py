"""Decode images that clients sent, and make small pictures of them.

This runs in the scoring process. If a hostile file breaks the decoder, its picture is lost, and in
the worst case its window is scored a second time. The number of pixels is checked before decoding.
"""

import io
from collections.abc import Sequence

import msgspec
import numpy as np

from monitoring.samples import Sample
from registry.images import THUMBNAIL_SIDE, encode_png

MOST_PIXELS = 16 << 20  # maximum pixels of one image, which take 64 MiB
_FORMATS = ("PNG", "JPEG", "GIF", "BMP")


def pictures(files: Sequence[Sample]) -> list[Sample]:
    """Return each sample with its file replaced by a picture, or by the reason of the failure."""
    return [_picture(file) for file in files]


def _picture(sample: Sample) -> Sample:
    try:
        return msgspec.structs.replace(sample, form="png", body=_decoded(sample.body))
    except Exception as error:  # noqa: BLE001 - decoders raise errors of many types
        reason = f"cannot be shown: {type(error).__name__}: {error}"[:200]
        return msgspec.structs.replace(sample, form="none", body=reason.encode())


def _decoded(data: bytes) -> bytes:
    """Return a small PNG of an encoded image; errors of Pillow are raised unchanged.

    Raises:
        ValueError: the image has too many pixels.
    """
    from PIL import Image  # noqa: PLC0415 - most models take no images

    with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise ValueError(f"{width} x {height} pixels; at most {MOST_PIXELS:,} are decoded")
        # Decodes a JPEG at a fraction of its size; other formats ignore this call.
        image.draft("RGB", (2 * THUMBNAIL_SIDE, 2 * THUMBNAIL_SIDE))
        small = image.convert("RGB")
        small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        return encode_png(np.asarray(small))
