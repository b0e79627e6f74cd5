"""Check an encoded image before a model decodes it. Pure.

A file of a few kilobytes can state an image of gigabytes; the size is in the head of every format.
What is no image at all must not reach the decoder: libjpeg ends the process over it.
"""

from collections.abc import Iterator

from service.errors import InvalidRequest

MOST_PIXELS = 64 * 2**20  # of one image
_FRAMES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}


def check_image(data: bytes | memoryview, tensor: str) -> None:
    """Raise InvalidRequest for what is no image, or one of more than MOST_PIXELS pixels."""
    size = image_size(bytes(data[:26])) or _jpeg_size(data)
    if size is None:
        raise InvalidRequest(
            f"{len(data)} bytes that are no image; expected a JPEG, PNG, GIF or BMP", tensor=tensor
        )
    width, height = size
    if width * height > MOST_PIXELS:
        raise InvalidRequest(
            f"an image of {width} x {height} pixels; expected at most {MOST_PIXELS} pixels",
            tensor=tensor,
        )


def image_size(head: bytes) -> tuple[int, int] | None:
    """Return width and height of a PNG, GIF or BMP from its first 26 bytes, else None."""
    if head.startswith(b"\x89PNG\r\n\x1a\n") and len(head) >= 24:
        return int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    if head.startswith((b"GIF87a", b"GIF89a")) and len(head) >= 10:
        return int.from_bytes(head[6:8], "little"), int.from_bytes(head[8:10], "little")
    if head.startswith(b"BM") and len(head) >= 26:
        width = int.from_bytes(head[18:22], "little", signed=True)
        return abs(width), abs(int.from_bytes(head[22:26], "little", signed=True))
    return None


def _jpeg_size(data: bytes | memoryview) -> tuple[int, int] | None:
    """Return the largest width and height of the frames of a JPEG."""
    if bytes(data[:2]) != b"\xff\xd8":
        return None
    return max(_jpeg_frames(data), key=lambda size: size[0] * size[1], default=None)


def _jpeg_frames(data: bytes | memoryview) -> Iterator[tuple[int, int]]:
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # a byte of padding
            place += 1
            continue
        if marker in _FRAMES:
            height = int.from_bytes(bytes(data[place + 5 : place + 7]))
            yield int.from_bytes(bytes(data[place + 7 : place + 9])), height
        if marker == 0xDA:  # the image itself follows
            return
        place += 2 + int.from_bytes(bytes(data[place + 2 : place + 4]))
