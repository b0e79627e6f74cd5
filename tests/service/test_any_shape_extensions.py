"""Operators of onnxruntime-extensions: encoded images in, pixels bounded before decoding."""

import struct
import sys
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from registry.encoded_files import encode_wav
from registry.manifest import SessionOptions
from service.errors import InvalidRequest, NotReady
from service.protocol.audio_bounds import check_audio
from service.protocol.image_bounds import MOST_PIXELS, check_image
from service.sessions.session import Session
from tests.service.any_shape import AnyShapeBench, graph_of, identity, info, node
from tests.tiny_model import as_model


def png(width: int, height: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", head),
            chunk(b"IDAT", zlib.compress(rows)),
            chunk(b"IEND", b""),
        ]
    )


def jpeg_head(width: int, height: int) -> bytes:
    quantization = b"\xff\xdb\x00\x04ab"
    return b"\xff\xd8" + quantization + struct.pack(">BBHBHH", 0xFF, 0xC0, 11, 8, height, width)


def decoder() -> onnx.GraphProto:
    """The mean of the pixels of an encoded image."""
    nodes = [
        node("DecodeImage", ["file"], ["pixels"], domain="com.microsoft.extensions"),
        node("Cast", ["pixels"], ["numbers"], to=TensorProto.FLOAT),
        node("ReduceMean", ["numbers"], ["mean"], keepdims=0),
    ]
    return graph_of(
        nodes, [info("file", TensorProto.UINT8, [None])], [info("mean", TensorProto.FLOAT, [])]
    )


async def test_an_encoded_image_is_one_row(tmp_path: Path) -> None:
    bench = AnyShapeBench(tmp_path)
    await bench.serve(decoder(), session={"extensions": True})
    image = png(4, 2, b"".join(b"\x00" + bytes([10, 20, 30] * 4) for _ in range(2)))
    answer = await bench.as_binary(file=np.frombuffer(image, np.uint8))
    assert answer.outputs["mean"].data == [20.0]
    (event,) = bench.log.events
    assert event.rows == 1
    assert event.summaries["file: size"] == [float(len(image))]


async def test_what_is_no_image_and_a_bomb_are_the_requests_fault(tmp_path: Path) -> None:
    bench = AnyShapeBench(tmp_path)
    await bench.serve(decoder(), session={"extensions": True})
    with pytest.raises(InvalidRequest, match="50 bytes that are no image; expected a JPEG"):
        await bench.as_binary(file=np.arange(50, dtype=np.uint8))
    bomb = png(60_000, 60_000, b"")
    with pytest.raises(InvalidRequest, match=rf"60000 x 60000 pixels; expected .* {MOST_PIXELS}"):
        await bench.as_binary(file=np.frombuffer(bomb, np.uint8))
    assert [event.outcome for event in bench.log.events] == ["invalid", "invalid"]


@pytest.mark.parametrize(
    "head",
    [
        png(60_000, 60_000, b""),
        jpeg_head(60_000, 60_000),
        b"GIF89a" + struct.pack("<HH", 60_000, 60_000),
        b"BM" + bytes(16) + struct.pack("<ii", 60_000, -60_000),
    ],
)
def test_the_size_is_read_from_the_head(head: bytes) -> None:
    with pytest.raises(InvalidRequest, match="input 'x': an image of 60000 x 60000 pixels"):
        check_image(head, "x")
    for length in range(len(head)):  # cut anywhere: no other error
        try:
            check_image(head[:length], "x")
        except InvalidRequest:
            continue


def recorder() -> onnx.GraphProto:
    """The mean of a recording."""
    nodes = [
        node("AudioDecoder", ["file"], ["samples"], domain="ai.onnx.contrib"),
        node("ReduceMean", ["samples"], ["mean"], keepdims=0),
    ]
    return graph_of(
        nodes, [info("file", TensorProto.UINT8, [None])], [info("mean", TensorProto.FLOAT, [])]
    )


async def test_a_recording_is_decoded_and_what_is_none_is_refused(tmp_path: Path) -> None:
    bench = AnyShapeBench(tmp_path)
    await bench.serve(recorder(), session={"extensions": True})
    tone = encode_wav(np.full(1_600, 0.25), 16_000)
    answer = await bench.as_binary(file=np.frombuffer(tone, np.uint8))
    assert answer.outputs["mean"].data == [pytest.approx(0.25, abs=1e-3)]
    for content in (b"x" * 50, tone[:30], b"", png(4, 2, b"")):
        with pytest.raises(InvalidRequest, match="that are no"):
            await bench.as_binary(file=np.frombuffer(content, np.uint8))


def flac_head(rate: int) -> bytes:
    stated = (rate << 44).to_bytes(8)
    return b"fLaC" + b"\x80\0\0\x22" + bytes(10) + stated + bytes(16)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (encode_wav(np.zeros(9), 1), "1 samples per second; expected at least 4000"),
        (flac_head(3_999), "3999 samples per second"),
        (flac_head(8_000) + b"\xff\xf8\x79" * 129, "samples; expected at most 67108864"),
        (b"\xff\xfb" * 40_000, "samples; expected at most 67108864"),
    ],
)
def test_a_recording_that_would_become_large_is_refused(content: bytes, fault: str) -> None:
    with pytest.raises(InvalidRequest, match=fault):
        check_audio(content, "x")
    for length in range(min(len(content), 100)):  # cut anywhere: no other error
        with suppress(InvalidRequest):
            check_audio(content[:length], "x")


def test_a_second_description_of_the_samples_counts_for_nothing() -> None:
    slow = encode_wav(np.zeros(9), 1)
    decoy = b"junk" + (8).to_bytes(4, "little") + b"fmt \x10\0\0\0"
    with pytest.raises(InvalidRequest, match="1 samples per second"):
        check_audio(slow[:12] + decoy + slow[12:], "x")


@pytest.mark.parametrize(
    "content",
    [
        encode_wav(np.zeros(16_000), 16_000),
        flac_head(44_100) + b"\xff\xf8\xc9" + bytes(500),
        b"ID3" + bytes(60),
    ],
)
def test_recordings_of_a_common_size_pass(content: bytes) -> None:
    check_audio(content, "x")


@pytest.mark.parametrize("head", [jpeg_head(10, 10), png(3, 3, b"")])
def test_images_of_a_common_size_pass(head: bytes) -> None:
    check_image(head, "x")


def test_a_missing_library_names_the_line_that_installs_it(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime_extensions", None)
    model = as_model(identity(None)).SerializeToString()
    with pytest.raises(NotReady, match=r"pip install 'driftline\[extensions\]'"):
        Session(model, SessionOptions(extensions=True))
