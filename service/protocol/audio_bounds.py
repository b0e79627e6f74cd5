"""Check an encoded recording before a model decodes it. Pure.

A frame of a few bytes can state thousands of samples, and a low sampling rate makes the decoder
create samples. The bounds hold whatever the head states: every frame that a decoder could find is
counted.
"""

import re

from service.errors import InvalidRequest

MOST_SAMPLES = 64 * 2**20  # maximum samples of one recording, at its own rate
_LEAST_RATE = 4_000  # samples per second; decoders resample to a rate of the model
_FLAC_FRAME = re.compile(rb"\xff[\xf8\xf9](?=(.))", re.DOTALL)
_MP3_FRAME = re.compile(rb"\xff[\xe2-\xff]")
_MP3_SAMPLES = 2 * 1_152  # samples of an MP3 frame with two channels
_MOST_FLAC_SAMPLES = 65_536  # maximum samples of a FLAC frame with a separate size
_CHANNELS = 8  # maximum channels of FLAC
_WAV_SAMPLES = 2  # samples of a byte: ADPCM has 4 bits for each


def check_audio(data: bytes | memoryview, tensor: str) -> None:
    """Raise InvalidRequest unless these are WAV, FLAC or MP3 of not too many samples."""
    content = bytes(data)
    rate = _rate(content)
    if rate is None:
        raise InvalidRequest(
            f"{len(content)} bytes that are not a recording; expected a WAV, FLAC or MP3",
            tensor=tensor,
        )
    if rate < _LEAST_RATE:
        raise InvalidRequest(
            f"a recording of {rate} samples per second; expected at least {_LEAST_RATE}",
            tensor=tensor,
        )
    samples = _samples(content)
    if samples > MOST_SAMPLES:
        raise InvalidRequest(
            f"a recording of up to {samples} samples; expected at most {MOST_SAMPLES}",
            tensor=tensor,
        )


def is_audio(data: bytes | memoryview) -> bool:
    """Return whether the bytes begin like a recording."""
    return _rate(bytes(data[:64])) is not None


def _rate(data: bytes) -> int | None:
    """Return the samples per second that the head states; None if it is not one."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return _wav_rate(data)
    if data[:4] == b"fLaC":
        return int.from_bytes(data[18:21]) >> 4
    if data[:3] == b"ID3" or _MP3_FRAME.match(data):
        return _LEAST_RATE  # every rate of an MP3 is higher
    return None


def _wav_rate(data: bytes) -> int | None:
    """Return the rate in the first chunk that describes the samples."""
    place = 12
    while place + 24 <= len(data):
        size = int.from_bytes(data[place + 4 : place + 8], "little")
        if data[place : place + 4] == b"fmt ":
            return int.from_bytes(data[place + 12 : place + 16], "little")
        place += 8 + size + size % 2
    return None


def _samples(data: bytes) -> int:
    """Return the most samples that a decoder can find."""
    if data[:4] == b"RIFF":
        return len(data) * _WAV_SAMPLES
    if data[:4] == b"fLaC":
        return sum(_flac_samples(match[1][0]) for match in _FLAC_FRAME.finditer(data))
    return _MP3_SAMPLES * sum(1 for _ in _MP3_FRAME.finditer(data))


def _flac_samples(sizes: int) -> int:
    """Return the samples of a frame by the byte that states its size; RFC 9639, section 9.1.1."""
    code = sizes >> 4
    if code == 1:
        block = 192
    elif code in range(2, 6):
        block = 144 << code
    elif code >= 8:
        block = 1 << code
    else:
        block = _MOST_FLAC_SAMPLES
    return block * _CHANNELS
