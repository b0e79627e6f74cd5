"""A decoded request, independent of its encoding."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np

Array = np.ndarray[Any, Any]


class RequestTensor(Protocol):
    """One input as a codec read it; its values are decoded on demand."""

    name: str
    datatype: str

    @property
    def shape(self) -> Sequence[int]:
        """Dimensions as the client stated them, unchecked."""
        ...

    def array(self) -> Array:
        """Return the values in the stated shape, which must have been checked before.

        Raises InvalidRequest with the tensor's name and what was expected.
        """
        ...

    @property
    def sent(self) -> msgspec.Raw | None:
        """The values as the client's flat JSON, if all are finite numbers.

        The log writes them without re-encoding. Read it after `array` only.
        """
        ...


class InferRequest(msgspec.Struct, frozen=True):
    """A decoded inference request."""

    id: str  # the client's own, echoed; may be empty
    inputs: Sequence[RequestTensor]
    outputs: Sequence[str]  # the outputs wanted; empty means all
    parameters: dict[str, Any]
    raw: bool = False  # whether outputs go back as raw bytes, unless `as_raw` says otherwise
    as_raw: Mapping[str, bool] = {}  # what the client asked for, by output (REST)
    classes: Mapping[str, int] = {}  # how many of the best, for outputs wanted as classes

    @property
    def may_want_raw(self) -> bool:
        """Return whether any output may be sent as raw bytes."""
        return self.raw or bool(self.as_raw)

    def wants_raw(self, output: str) -> bool:
        """Return whether this output is sent as raw bytes."""
        return self.as_raw.get(output, self.raw)
