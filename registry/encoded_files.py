"""Inputs with the bytes of a file, which operators of onnxruntime-extensions decode.

Such a file must be checked before the model runs. Invalid bytes make a decoder crash the process,
and a small file can decode to an image or a recording of gigabytes.
"""

import struct
from collections.abc import Iterable, Mapping
from typing import Literal

import numpy as np
import onnx

from registry.images import encode_png
from registry.onnx_file import inner_nodes, nodes_of

FileKind = Literal["image", "audio"]
Files = Mapping[str, frozenset[FileKind]]  # input -> kinds of files that it accepts

EXTENSION_DOMAINS = {"ai.onnx.contrib", "com.microsoft.extensions"}
_DECODERS: dict[str, FileKind] = {"DecodeImage": "image", "AudioDecoder": "audio"}
_SIDE = 32  # pixels of a generated image
_RATE = 16_000  # samples per second of a generated recording
_SECONDS = 0.5


def uses_extensions(model: onnx.ModelProto) -> bool:
    """Return whether a graph or subgraph has operators of onnxruntime-extensions."""
    own = {(function.domain, function.name) for function in model.functions}
    return any(
        node.domain in EXTENSION_DOMAINS and (node.domain, node.op_type) not in own
        for node in nodes_of(model)
    )


def file_inputs(data: bytes) -> dict[str, frozenset[FileKind]]:
    """Return the inputs of an ONNX file that contain encoded files, with the kinds of files."""
    if not any(name.encode() in data for name in _DECODERS):
        return {}  # most files have no decoder and are not parsed
    model = onnx.load_model_from_string(data)
    nested = _kinds(node for function in model.functions for node in inner_nodes(function.node))
    kinds_by_input = {
        node.name: _reached(node.name, model.graph) | nested
        for node in model.graph.input
        if node.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    }
    return {name: kinds for name, kinds in kinds_by_input.items() if kinds}


def sample_file(kinds: frozenset[FileKind], random: np.random.Generator) -> bytes:
    """Return a small PNG of random colours, or a WAV of a random tone."""
    return _wav(random) if kinds == {"audio"} else _png(random)


def _reached(tensor: str, graph: onnx.GraphProto) -> frozenset[FileKind]:
    """Return the kinds of decoders that read a tensor or values computed from it."""
    reached, kinds = {tensor}, frozenset[FileKind]()
    for node in graph.node:  # in topological order
        inside = _kinds(
            node_inside for node_inside in inner_nodes([node]) if node_inside is not node
        )
        if not inside and reached.isdisjoint(node.input):
            continue
        kinds |= inside
        if node.op_type in _DECODERS:
            kinds |= {_DECODERS[node.op_type]}
        else:
            reached |= set(node.output)
    return kinds


def _kinds(nodes: Iterable[onnx.NodeProto]) -> frozenset[FileKind]:
    return frozenset(_DECODERS[node.op_type] for node in nodes if node.op_type in _DECODERS)


def _png(random: np.random.Generator) -> bytes:
    """Encode a random colour with noise, so that every image differs."""
    pixels = random.integers(0, 200, 3) + random.integers(0, 56, (_SIDE, _SIDE, 3))
    return encode_png(pixels.astype(np.uint8))


def _wav(random: np.random.Generator) -> bytes:
    times = np.arange(int(_RATE * _SECONDS)) / _RATE
    return encode_wav(np.sin(times * random.integers(200, 2_000) * 2 * np.pi) / 2, _RATE)


def encode_wav(samples: np.ndarray[tuple[int, ...], np.dtype[np.float64]], rate: int) -> bytes:
    """Encode samples from -1 to 1 as a WAV file with one channel and 16 bits per sample."""
    content = (samples.clip(-1, 1) * 32_767).astype("<i2").tobytes()
    layout = struct.pack("<IHHIIHH", 16, 1, 1, rate, 2 * rate, 2, 16)
    parts = b"WAVEfmt " + layout + b"data" + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", len(parts)) + parts
