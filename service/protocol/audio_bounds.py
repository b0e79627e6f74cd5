"""Check an audio file before a model decodes it. Pure.

A small file can decode to very many samples: a frame of a few bytes can state thousands of samples,
and the decoder adds samples if the sampling rate is low. The check does not trust the header, but
counts every frame that a decoder could find.
"""

import re

from service.errors import InvalidRequest

MOST_SAMPLES = 64 * 2**20  # maximum number of a file's samples, before resampling
_LEAST_RATE = 4_000  # samples per second; decoders resample to the model's rate
_FLAC_FRAME = re.compile(rb"\xff[\xf8\xf9](?=(.))", re.DOTALL)
_MP3_FRAME = re.compile(rb"\xff[\xe2-\xff]")
_MP3_SAMPLES = 2 * 1_152  # maximum samples of an MP3 frame (two channels)
_MOST_FLAC_SAMPLES = 65_536  # maximum block size of a FLAC frame that states it in extra bytes
_CHANNELS = 8  # maximum number of FLAC channels
_WAV_SAMPLES = 2  # maximum samples per byte: ADPCM has 4 bits per sample


def check_audio(data: bytes | memoryview, tensor: str) -> None:
    """Raise InvalidRequest unless `data` is WAV, FLAC or MP3 with at most MOST_SAMPLES samples."""
    content = bytes(data)
    rate = _rate(content)
    if rate is None:
        raise InvalidRequest(
            f"{len(content)} bytes that are not an audio file; expected WAV, FLAC or MP3",
            tensor=tensor,
        )
    if rate < _LEAST_RATE:
        raise InvalidRequest(
            f"an audio file of {rate} samples per second; expected at least {_LEAST_RATE}",
            tensor=tensor,
        )
    samples = _samples(content)
    if samples > MOST_SAMPLES:
        raise InvalidRequest(
            f"an audio file of up to {samples} samples; expected at most {MOST_SAMPLES}",
            tensor=tensor,
        )


def is_audio(data: bytes | memoryview) -> bool:
    """Return whether the bytes start like an audio file."""
    return _rate(bytes(data[:64])) is not None


def _rate(data: bytes) -> int | None:
    """Return the samples per second that the header states; None if it is not an audio file."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return _wav_rate(data)
    if data[:4] == b"fLaC":
        return int.from_bytes(data[18:21]) >> 4
    if data[:3] == b"ID3" or _MP3_FRAME.match(data):
        return _LEAST_RATE  # all MP3 rates are higher
    return None


def _wav_rate(data: bytes) -> int | None:
    """Return the rate in the first format chunk, None if there is no such chunk."""
    position = 12
    while position + 24 <= len(data):
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        if data[position : position + 4] == b"fmt ":
            return int.from_bytes(data[position + 12 : position + 16], "little")
        position += 8 + size + size % 2
    return None


def _samples(data: bytes) -> int:
    """Return the maximum number of samples that a decoder can find."""
    if data[:4] == b"RIFF":
        return len(data) * _WAV_SAMPLES
    if data[:4] == b"fLaC":
        return sum(_flac_samples(match[1][0]) for match in _FLAC_FRAME.finditer(data))
    return _MP3_SAMPLES * sum(1 for _ in _MP3_FRAME.finditer(data))


def _flac_samples(sizes: int) -> int:
    """Return a frame's samples by the byte with its block size code (RFC 9639, section 9.1.1)."""
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
