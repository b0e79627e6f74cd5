"""Operators of onnxruntime-extensions: encoded images, bounded before decoding."""

import struct
import sys
import zlib
from contextlib import suppress
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, RuntimeException

from registry.encoded_files import encode_wav
from registry.manifest import SessionOptions
from registry.onnx_file import load
from service.errors import InvalidRequest, NotReady
from service.protocol.audio_bounds import check_audio
from service.protocol.image_bounds import MOST_PIXELS, check_image
from service.protocol.jpeg_structure import check_jpeg
from service.sessions.session import Session
from tests.depth import by_depth
from tests.registry.test_encoded_files import as_extended
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


@cache
def jpeg() -> bytes:
    """A baseline JPEG of 16 x 16 pixels."""
    encode = node(
        "EncodeImage", ["pixels"], ["file"], domain="com.microsoft.extensions", format="jpg"
    )
    inputs = [info("pixels", TensorProto.UINT8, [None, None, 3])]
    graph = graph_of([encode], inputs, [info("file", TensorProto.UINT8, [None])])
    session = load(as_extended(graph).SerializeToString(), extensions=True)
    pixels = np.random.default_rng(2).integers(0, 255, (16, 16, 3)).astype(np.uint8)
    return bytes(session.run(None, {"pixels": pixels})[0])


def sized_jpeg(width: int, height: int) -> bytes:
    """The JPEG with another size in its head."""
    place = jpeg().index(b"\xff\xc0") + 5
    return jpeg()[:place] + struct.pack(">HH", height, width) + jpeg()[place + 4 :]


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


async def test_invalid_images_and_decompression_bombs_are_client_errors(tmp_path: Path) -> None:
    bench = AnyShapeBench(tmp_path)
    await bench.serve(decoder(), session={"extensions": True})
    with pytest.raises(InvalidRequest, match="50 bytes that are not an image; expected a JPEG"):
        await bench.as_binary(file=np.arange(50, dtype=np.uint8))
    bomb = png(60_000, 60_000, b"")
    with pytest.raises(InvalidRequest, match=rf"60000 x 60000 pixels; expected .* {MOST_PIXELS}"):
        await bench.as_binary(file=np.frombuffer(bomb, np.uint8))
    assert [event.outcome for event in bench.log.events] == ["invalid", "invalid"]


@pytest.mark.parametrize(
    "head",
    [
        png(60_000, 60_000, b""),
        sized_jpeg(60_000, 60_000),
        b"GIF89a" + struct.pack("<HH", 60_000, 60_000),
        b"BM" + bytes(16) + struct.pack("<ii", 60_000, -60_000),
    ],
)
def test_the_size_is_read_from_the_header(head: bytes) -> None:
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


async def test_audio_is_decoded_and_invalid_audio_is_refused(tmp_path: Path) -> None:
    bench = AnyShapeBench(tmp_path)
    await bench.serve(recorder(), session={"extensions": True})
    tone = encode_wav(np.full(1_600, 0.25), 16_000)
    answer = await bench.as_binary(file=np.frombuffer(tone, np.uint8))
    assert answer.outputs["mean"].data == [pytest.approx(0.25, abs=1e-3)]
    for content in (b"x" * 50, tone[:30], b"", png(4, 2, b"")):
        with pytest.raises(InvalidRequest, match="; expected"):
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
def test_audio_that_would_exceed_the_limit_is_refused(content: bytes, fault: str) -> None:
    with pytest.raises(InvalidRequest, match=fault):
        check_audio(content, "x")
    for length in range(min(len(content), 100)):  # cut anywhere: no other error
        with suppress(InvalidRequest):
            check_audio(content[:length], "x")


def test_a_second_format_chunk_is_ignored() -> None:
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
def test_audio_of_common_sizes_is_accepted(content: bytes) -> None:
    check_audio(content, "x")


@pytest.mark.parametrize("head", [sized_jpeg(10, 10), png(3, 3, b"")])
def test_images_of_common_sizes_are_accepted(head: bytes) -> None:
    check_image(head, "x")


def _segment(marker: int, content: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + (len(content) + 2).to_bytes(2) + content


def _without(marker: int) -> bytes:
    """The JPEG without the first segment of a kind."""
    start = jpeg().index(b"\xff" + bytes([marker]))
    size = int.from_bytes(jpeg()[start + 2 : start + 4])
    return jpeg()[:start] + jpeg()[start + 2 + size :]


def _changed(marker: int, place: int, value: int) -> bytes:
    """The JPEG with another byte at a place of a segment's content."""
    start = jpeg().index(b"\xff" + bytes([marker])) + 4 + place
    return jpeg()[:start] + bytes([value]) + jpeg()[start + 1 :]


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "not an image"),
        (b"\xff\xd8", "truncated: it has no end marker"),
        (b"\xff\xd8\xff\xd9", "it has no image"),
        (jpeg()[:-2], "truncated: it has no end marker"),
        (_without(0xDB), "no quantization table"),
        (_without(0xC4), "a Huffman table that is not defined"),
        (_without(0xC0), "no frame"),
        (_without(0xDA), "it has no image"),
        (jpeg()[:2] + _segment(0xC4, b"\x00" + b"\x03" + bytes(18)) + jpeg()[2:], "invalid code"),
        (jpeg()[:2] + _segment(0xC4, b"\x00" + bytes(5)) + jpeg()[2:], "truncated or has"),
        (jpeg()[:2] + _segment(0xCC, b"\x00\x00") + jpeg()[2:], "a kind that is not supported"),
        (jpeg()[:2] + _segment(0xC0, b"\x0c" + bytes(8)) + jpeg()[2:], "does not have 8 bits"),
        (sized_jpeg(0, 16), "frame is empty"),
        (_changed(0xC0, 10, 0x31), "does not divide the largest factor"),
        (_changed(0xC0, 10, 0x51), "invalid sampling"),
        (_changed(0xC0, 5, 4), "one or three components"),
        (_changed(0xDA, 2, 0x33), "a Huffman table that is not defined"),
    ],
)
def test_a_jpeg_that_would_crash_the_decoder_is_refused(content: bytes, fault: str) -> None:
    with pytest.raises(InvalidRequest, match=fault):
        check_image(content, "x")


def test_damaged_images_neither_crash_nor_block_the_process() -> None:
    """libjpeg ends the process over some damages and waits forever over others."""
    session = load(as_extended(decoder()).SerializeToString(), extensions=True)
    random = np.random.default_rng(5)
    decoded = 0
    for number in range(by_depth(400, 20_000)):
        image = bytearray(jpeg() if number % 2 else png(4, 4, bytes(52)))
        place, size = random.integers(0, len(image)), random.integers(1, 20)
        match random.integers(0, 3):
            case 0:
                del image[place : place + size]
            case 1:
                image[place:place] = random.bytes(size)
            case 2:
                image[place] = random.integers(0, 256)
        try:
            check_image(bytes(image), "x")
            if image[:2] == b"\xff\xd8" and prod(check_jpeg(bytes(image))) > 2**20:
                continue  # allowed, and takes long
            session.run(None, {"file": np.frombuffer(bytes(image), np.uint8)})
            decoded += 1
        except (InvalidRequest, RuntimeException, Fail):
            continue
    assert decoded


def test_a_missing_library_is_reported_with_its_install_command(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime_extensions", None)
    model = as_model(identity(None)).SerializeToString()
    with pytest.raises(NotReady, match=r"pip install 'driftline\[extensions\]'"):
        Session(model, SessionOptions(extensions=True))
