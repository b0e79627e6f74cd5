"""Check a request against a version's signature."""

from collections.abc import Iterable, Sequence
from itertools import count
from math import isfinite, prod
from types import MappingProxyType
from typing import Any

import msgspec

from eventlog.events import Tensor, spell
from registry.batching import rows_are_free
from registry.datatypes import is_floating
from registry.encoded_files import Files
from registry.features import signature
from registry.manifest import Manifest, TensorSpec
from registry.outputs import derived_outputs
from registry.rows import FREE, batch_dimension
from service.errors import InvalidRequest, TooLarge
from service.protocol.coercion import coerce
from service.protocol.file_check import check_files
from service.protocol.messages import Array, RequestTensor
from service.protocol.tensors import MANY, all_finite, flat, is_finite, raw_tensor

Group = tuple[tuple[int, ...], ...]  # dimensions of every input, without the dimension of rows
_ALONE = -1  # marks a group of one request, which must run alone because of an optional input


class Inputs(msgspec.Struct, frozen=True):
    """The checked inputs of a request."""

    arrays: dict[str, Array]  # name -> values for the session
    tensors: dict[str, Tensor]  # name -> values for the event
    rows: int
    size: int  # bytes
    group: Group = ()  # only requests with the same group can share a run
    coerced: str = ""  # list of conversions, for the reply


class InputCheck:
    """The checks of a version's inputs."""

    def __init__(
        self, manifest: Manifest, max_rows: int, files: Files = MappingProxyType({})
    ) -> None:
        """`files`: the inputs that accept image or audio files."""
        self.signature = signature(manifest)
        self.batched = rows_are_free(self.signature)
        self._batch = batch_dimension(self.signature)
        self._varied = any(FREE in spec.shape[1:] for spec in self.signature.inputs)
        self._max_rows = max_rows
        self._coerce = manifest.coerce
        self._files = files
        self._specs = {spec.name: spec for spec in self.signature.accepted}
        self._ranks = {name: len(spec.shape) for name, spec in self._specs.items()}
        self._in_order = [spec.name for spec in self.signature.inputs]
        self._optional = {spec.name for spec in self.signature.optional}
        self._alone = count()
        self._outputs = {spec.name for spec in self.signature.outputs}
        self._outputs |= set(derived_outputs(manifest.prediction))
        self._required: dict[str, dict[int, str]] = {name: {} for name in self._specs}
        for feature in manifest.features:
            if not feature.nullable:
                self._required[feature.input][feature.index] = feature.name

    def read(self, tensors: Sequence[RequestTensor]) -> Inputs:
        """Return the checked inputs; raises InvalidRequest or TooLarge."""
        if [tensor.name for tensor in tensors] != self._in_order:
            self._check_names(tensors)
        coerced = ""
        if self._coerce or any(len(tensor.shape) != self._ranks[tensor.name] for tensor in tensors):
            tensors, coerced = coerce(tensors, self._specs, datatypes=self._coerce)
        for tensor in tensors:
            self._check_description(tensor, self._specs[tensor.name])
        rows = self._rows(tensors)
        arrays: dict[str, Array] = {}
        events: dict[str, Tensor] = {}
        size = 0
        for tensor in tensors:
            array = arrays[tensor.name] = tensor.array()
            if tensor.name in self._files:
                check_files(array, self._files[tensor.name], tensor.name)
            events[tensor.name] = self._logged(tensor, array)
            size += array.nbytes if array.dtype != object else sum(map(len, array.ravel()))
        group = tuple([arrays[name].shape[1:] for name in self._in_order]) if self._varied else ()
        if len(tensors) > len(self._in_order):
            group = ((_ALONE, next(self._alone)),)
        return Inputs(arrays, events, rows, size, group, coerced)

    def _logged(self, tensor: RequestTensor, array: Array) -> Tensor:
        """Return the tensor in an event's format; check its missing values."""
        raw_json: Any = tensor.raw_json
        if raw_json is not None:
            return Tensor(tensor.datatype, list(array.shape), raw_json)
        if array.size >= MANY and array.dtype != object:
            if self._required[tensor.name] and is_floating(array) and not is_finite(array):
                self._check_present(tensor.name, array, flat(array))
            return raw_tensor(tensor.datatype, array)
        values = flat(array)
        if is_floating(array) and not all_finite(values):
            self._check_present(tensor.name, array, values)
            values = spell(values)
        return Tensor(tensor.datatype, list(array.shape), values)

    def check_outputs(self, output_names: Sequence[str]) -> None:
        """Raise InvalidRequest if a requested output does not exist."""
        for name in output_names:
            if name not in self._outputs:
                raise InvalidRequest(f"unknown output {name!r}; expected {_names(self._outputs)}")

    def _check_names(self, tensors: Sequence[RequestTensor]) -> None:
        names_once = {tensor.name for tensor in tensors}
        for tensor in tensors:
            if tensor.name not in self._specs:
                raise InvalidRequest(f"unknown; expected {_names(self._specs)}", tensor=tensor.name)
        if len(names_once) < len(tensors):
            names = [tensor.name for tensor in tensors]
            repeated = next(name for name in names if names.count(name) > 1)
            raise InvalidRequest("is in the request more than once; expected once", tensor=repeated)
        for spec in self.signature.inputs:
            if spec.name not in names_once:
                raise InvalidRequest(f"missing; expected {self._describe(spec)}", tensor=spec.name)

    def _rows(self, tensors: Sequence[RequestTensor]) -> int:
        first = self._first(tensors)
        rows = 1 if first is None else first.shape[0]
        if first is not None and self.batched:
            for tensor in tensors:
                if tensor.name not in self._optional and tensor.shape[0] != rows:
                    raise InvalidRequest(
                        f"has {tensor.shape[0]} rows, but input {first.name!r} has {rows}; "
                        "expected the same number in every input",
                        tensor=tensor.name,
                    )
        if rows == 0 and first is not None:
            raise InvalidRequest("shape has no rows; expected at least one", tensor=first.name)
        if rows > self._max_rows:
            raise TooLarge(f"{rows} rows in one request; expected at most {self._max_rows}")
        return rows

    def _check_description(self, tensor: RequestTensor, spec: TensorSpec) -> None:
        if tensor.datatype != spec.datatype:
            raise InvalidRequest(
                f"datatype {tensor.datatype!r}; expected {self._describe(spec)}", tensor=spec.name
            )
        shape, declared = tensor.shape, spec.shape
        if shape[1:] == declared[1:] and declared[:1] == [FREE] and len(shape) and shape[0] >= 0:
            return  # the common case, without the slower checks below
        fits = len(shape) == len(declared) and all(
            size >= 0 if expected == FREE else size == expected
            for size, expected in zip(shape, declared, strict=True)
        )
        if not fits:
            raise InvalidRequest(
                f"shape {list(shape)}; expected {self._describe(spec)}", tensor=spec.name
            )

    def _describe(self, spec: TensorSpec) -> str:
        free = " (-1: any)" if FREE in spec.shape else ""
        text = f"{spec.datatype} of shape {spec.shape}{free}"
        if self._batch not in {None, FREE} and spec.shape[:1] == [self._batch]:
            text += f"; the model needs exactly {self._batch} rows per request"
        return text

    def _first(self, tensors: Sequence[RequestTensor]) -> RequestTensor | None:
        """Return the tensor whose first dimension is the number of rows, None if there is none."""
        if self._batch is None:
            return None
        for tensor in tensors:
            if tensor.name in self._optional:
                continue
            if self._specs[tensor.name].shape[:1] == [self._batch]:
                return tensor
        return None

    def _check_present(self, name: str, array: Array, values: list[float]) -> None:
        required = self._required[name]
        if not required:
            return
        width = prod(array.shape[1:])
        for index, value in enumerate(values):
            if index % width in required and not isfinite(value):
                raise InvalidRequest(
                    f"row {index // width}, feature {required[index % width]!r} is {value}; "
                    "expected a finite number, because the feature is not nullable",
                    tensor=name,
                )


def _names(names: Iterable[str]) -> str:
    return ", ".join(sorted(map(repr, names)))
