"""What a request says, whichever encoding carried it."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec
import numpy as np

Array = np.ndarray[Any, Any]


class RequestTensor(Protocol):
    """One input as a codec read it: its description, and its values on demand."""

    name: str
    datatype: str

    @property
    def shape(self) -> Sequence[int]:
        """Dimensions as the client stated them; nothing is checked yet."""
        ...

    def array(self) -> Array:
        """The values with the stated shape, whose dimensions must have been checked before.

        Raises InvalidRequest naming the tensor and what was expected.
        """
        ...

    @property
    def sent(self) -> msgspec.Raw | None:
        """Flat JSON of the values as the client sent it, where all are finite numbers.

        So the log can carry them without writing them anew. To be asked for after `array`.
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

    def wants_raw(self, output: str) -> bool:
        """Whether this output goes back as raw bytes."""
        return self.as_raw.get(output, self.raw)
