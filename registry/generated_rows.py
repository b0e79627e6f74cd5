"""Generate rows for a model from its input signature alone.

Values are those that most models take: small numbers, indices that every table has, short texts.
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
_IMAGE = 32  # pixels of a free height or width: survives five halvings
_LENGTH = 8  # length of another free dimension
# Names that exporters make up, another for each tensor: they say nothing about equality.
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
    """Yield inputs of `rows` rows by name, in the order in which to try them on a model.

    The first dimension has the size `rows` where it is free. Numbers are normally distributed
    first, then from 0 to 1; integers are 0 or 1, so that they are valid as indices and masks.
    Inputs in `files` get the bytes of one such file.
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
    """A loaded model, as ONNX Runtime offers it."""

    def get_inputs(self) -> Sequence[Node]: ...
    def get_outputs(self) -> Sequence[Node]: ...
    def run(self, names: Sequence[str], feed: dict[str, Array]) -> Sequence[Any]: ...


def generated_answers(
    session: OnnxSession, rows: int, files: Files = MappingProxyType({})
) -> dict[str, Any]:
    """Return the outputs for the first generated rows that the model accepts; {} without any."""
    names = [output.name for output in session.get_outputs()]
    for feed in generate_rows(session.get_inputs(), rows, files):
        try:
            return dict(zip(names, session.run(names, feed), strict=True))
        except Exception:  # noqa: BLE001, S112  # the model takes other values
            continue
    return {}


class _Declared(msgspec.Struct, frozen=True):
    name: str
    type: str
    shape: list[int]


def declared(specs: Sequence[TensorSpec]) -> list[Node]:
    """Return the inputs of a signature as `generate_rows` takes them."""
    return [_Declared(spec.name, to_onnx(spec.datatype), spec.shape) for spec in specs]


def _sizes(node: Node) -> Iterator[tuple[int, Any]]:
    """Yield the place and the size of each dimension; only the first stays free."""
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
    high = 256 if datatype == "UINT8" and len(shape) >= 3 else 2  # pixels
    return np.asarray(random.integers(0, high, shape), dtype=dtype)


def _texts(random: np.random.Generator, shape: Sequence[int]) -> Array:
    texts: Array = np.empty(shape, dtype=object)
    flat = texts.reshape(-1)
    for place in range(flat.size):
        flat[place] = " ".join(random.choice(_WORDS, size=random.integers(1, 6)))
    return texts
