"""A decoded request, independent of its encoding."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np

Array = np.ndarray[Any, Any]


class RequestTensor(Protocol):
    """An input whose values are decoded on demand."""

    name: str
    datatype: str

    @property
    def shape(self) -> Sequence[int]:
        """The dimensions that the client states; they are not checked yet."""
        ...

    def array(self) -> Array:
        """Return the values in the stated shape; check the shape before calling this.

        Raises InvalidRequest if the values do not fit datatype or shape.
        """
        ...

    @property
    def raw_json(self) -> msgspec.Raw | None:
        """The client's flat JSON of the values, if all values are finite numbers; otherwise None.

        The log contains it without re-encoding. Call `array` first, which checks the values.
        """
        ...


class InferRequest(msgspec.Struct, frozen=True):
    """A decoded inference request."""

    id: str  # request id of the client, which the response repeats; can be ""
    inputs: Sequence[RequestTensor]
    outputs: Sequence[str]  # requested outputs; empty means all outputs
    parameters: dict[str, Any]
    raw: bool = False  # whether outputs are sent as raw bytes, if they are not in `as_raw`
    as_raw: Mapping[str, bool] = {}  # output -> whether it is sent as raw bytes (only REST)
    classes: Mapping[str, int] = {}  # output -> number of best classes that are requested

    @property
    def may_want_raw(self) -> bool:
        """Return whether any output may be sent as raw bytes."""
        return self.raw or bool(self.as_raw)

    def wants_raw(self, output: str) -> bool:
        """Return whether this output is sent as raw bytes."""
        return self.as_raw.get(output, self.raw)
