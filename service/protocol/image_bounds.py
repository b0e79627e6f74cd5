"""Check an encoded image before a model decodes it. Pure.

A file of a few kilobytes can decode to gigabytes, so the size in the file's header is checked. Only
a valid JPEG may reach the decoder, because libjpeg ends the process if a JPEG is damaged.
"""

from service.errors import InvalidRequest
from service.protocol.jpeg_structure import JpegFault, check_jpeg

MOST_PIXELS = 64 * 2**20  # maximum number of an image's pixels


def check_image(data: bytes | memoryview, tensor: str) -> None:
    """Raise InvalidRequest unless `data` is an image of at most MOST_PIXELS pixels."""
    size = image_size(bytes(data[:26])) or _jpeg_size(data, tensor)
    if size is None:
        raise InvalidRequest(
            f"{len(data)} bytes that are not an image; expected a JPEG, PNG, GIF or BMP",
            tensor=tensor,
        )
    width, height = size
    if width * height > MOST_PIXELS:
        raise InvalidRequest(
            f"an image of {width} x {height} pixels; expected at most {MOST_PIXELS} pixels",
            tensor=tensor,
        )


def image_size(head: bytes) -> tuple[int, int] | None:
    """Return width and height of a PNG, GIF or BMP from its first 26 bytes; otherwise None."""
    if head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) >= 24:
        return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    if head.startswith((b"GIF87a", b"GIF89a")) and len(head) >= 10:
        return int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")
    if head.startswith(b"BM") and len(head) >= 26:
        width = int.from_bytes(head[18:22], "little", signed=True)
        return abs(width), abs(int.from_bytes(head[22:26], "little", signed=True))
    return None


def _jpeg_size(data: bytes | memoryview, tensor: str) -> tuple[int, int] | None:
    """Return width and height of a JPEG, None if it is not a JPEG; raises InvalidRequest."""
    if bytes(data[:2]) != b"\xff\xd8":
        return None
    try:
        return check_jpeg(bytes(data))
    except JpegFault as error:
        raise InvalidRequest(f"a damaged JPEG: {error}", tensor=tensor) from None
