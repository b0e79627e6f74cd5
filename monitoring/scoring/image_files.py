"""Make small pictures of encoded images that clients sent.

Runs in the scoring process: whatever a file does to the decoder costs its picture, and at worst a
try of its window. The pixels are bounded before they are decoded.
"""

import io
from collections.abc import Sequence

import msgspec
import numpy as np

from monitoring.samples import Sample
from registry.images import THUMBNAIL_SIDE, encode_png

MOST_PIXELS = 16 << 20  # maximum pixels of one image: 64 MiB of colours
_FORMATS = ("PNG", "JPEG", "GIF", "BMP")


def pictures(files: Sequence[Sample]) -> list[Sample]:
    """Return each sample with a picture in place of its file, or with the reason for none."""
    return [_picture(file) for file in files]


def _picture(sample: Sample) -> Sample:
    try:
        return msgspec.structs.replace(sample, form="png", body=_decoded(sample.body))
    except Exception as error:  # noqa: BLE001 - decoders raise whatever they like
        reason = f"cannot be shown: {type(error).__name__}: {error}"[:200]
        return msgspec.structs.replace(sample, form="none", body=reason.encode())


def _decoded(data: bytes) -> bytes:
    """Return a small PNG of an encoded image; raises what Pillow raises, and ValueError."""
    from PIL import Image  # noqa: PLC0415 - most models take no images

    with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise ValueError(f"{width} x {height} pixels; at most {MOST_PIXELS:,} are decoded")
        image.draft("RGB", (2 * THUMBNAIL_SIDE, 2 * THUMBNAIL_SIDE))  # a JPEG, at part of its size
        small = image.convert("RGB")
        small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        return encode_png(np.asarray(small))
