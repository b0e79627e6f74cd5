"""Generate input rows for a model from its input signature only.

The values are valid for most models: small numbers, small indices and short texts.
"""

import re
from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import Any, Protocol

import msgspec
import numpy as np

from registry.datatypes import NUMPY, from_onnx, to_onnx
from registry.encoded_files import FileKind, Files, sample_file
from registry.manifest import TensorSpec

Array = np.ndarray[Any, Any]

_WORDS = ["red", "green", "a", "small", "house", "on", "the", "hill", "1", "2", "yes", "no"]
_IMAGE = 32  # pixels of a free height or width, which models can halve five times
_LENGTH = 8  # length of other free dimensions
# Names that exporters generate for each tensor. Different names do not mean different sizes.
GENERATED_NAME = re.compile(
    r"|\?|None|-1|unk__\d+|.+_dynamic_axes_\d+|.+_dim_\d+|.*DynamicDimension\.\d+"
)


class Node(Protocol):
    """An input or output as ONNX Runtime describes it."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def shape(self) -> Sequence[Any]: ...


def generate_rows(
    inputs: Sequence[Node], rows: int, files: Files = MappingProxyType({}), seed: int = 2
) -> Iterator[dict[str, Array]]:
    """Yield inputs by name, in the order in which to try them on a model.

    A free first dimension has the size `rows`. Numbers are normally distributed in the first inputs
    and from 0 to 1 in the second. Integers are 0 or 1, so that they are valid indices and masks.
    Inputs in `files` get the bytes of a generated file.
    """
    for positive in (False, True):
        random = np.random.default_rng(seed)
        yield {
            node.name: _file(random, files[node.name], node)
            if node.name in files
            else _values(
                random,
                from_onnx(node.type),
                [rows if place == 0 and _free(size) else size for place, size in _sizes(node)],
                positive=positive,
            )
            for node in inputs
        }


def _file(random: np.random.Generator, kinds: frozenset[FileKind], node: Node) -> Array:
    content = np.frombuffer(sample_file(kinds, random), np.uint8)
    return content.reshape([1] * (len(node.shape) - 1) + [-1])


class OnnxSession(Protocol):
    """The part of ONNX Runtime's session that is used here."""

    def get_inputs(self) -> Sequence[Node]: ...
    def get_outputs(self) -> Sequence[Node]: ...
    def run(self, names: Sequence[str], feed: dict[str, Array]) -> Sequence[Any]: ...


def generated_answers(
    session: OnnxSession, rows: int, files: Files = MappingProxyType({})
) -> dict[str, Any]:
    """Return the outputs for the first generated rows that the model accepts, or {} if none."""
    names = [output.name for output in session.get_outputs()]
    for feed in generate_rows(session.get_inputs(), rows, files):
        try:
            return dict(zip(names, session.run(names, feed), strict=True))
        except Exception:  # noqa: BLE001, S112  # the model needs other values
            continue
    return {}


class _Declared(msgspec.Struct, frozen=True):
    name: str
    type: str
    shape: list[int]


def declared(specs: Sequence[TensorSpec]) -> list[Node]:
    """Convert the inputs of a signature for `generate_rows`."""
    return [_Declared(spec.name, to_onnx(spec.datatype), spec.shape) for spec in specs]


def _sizes(node: Node) -> Iterator[tuple[int, Any]]:
    """Yield index and size of each dimension; free dimensions after the first get a size."""
    image = len(node.shape) >= 4
    for place, size in enumerate(node.shape):
        pixels = image and place >= 2
        yield place, (_IMAGE if pixels else _LENGTH) if place and _free(size) else size


def _free(size: Any) -> bool:
    return not isinstance(size, int) or size < 0


def _values(
    random: np.random.Generator, datatype: str, shape: Sequence[int], *, positive: bool
) -> Array:
    dtype = NUMPY[datatype]
    if datatype == "BYTES":
        return _texts(random, shape)
    if dtype.kind == "f":
        drawn = random.random(shape) if positive else random.normal(size=shape)
        return np.asarray(drawn, dtype=dtype)
    high = 256 if datatype == "UINT8" and len(shape) >= 3 else 2  # 256 for pixels
    return np.asarray(random.integers(0, high, shape), dtype=dtype)


def _texts(random: np.random.Generator, shape: Sequence[int]) -> Array:
    texts: Array = np.empty(shape, dtype=object)
    flat = texts.reshape(-1)
    for place in range(flat.size):
        flat[place] = " ".join(random.choice(_WORDS, size=random.integers(1, 6)))
    return texts
