"""The facts that Driftline records, schema version 1.

Everything that decides what an event says lives here; `wire.py` turns events into bytes. Version 1
will be read for years: fields may be added with a default, never renamed, retyped or removed.

Times are integer microseconds since the Unix epoch (UTC); durations are integer microseconds.
Events never refer to each other, so the garbage collector need not walk them (gc=False): with it,
decoding many took eight times as long.
"""

from base64 import b64decode
from math import inf
from struct import error as StructError  # noqa: N812 # a class, named like a module
from struct import iter_unpack
from typing import Any, Literal

import msgspec

Outcome = Literal["ok", "invalid", "refused", "expired", "cancelled", "failed"]
Protocol = Literal["rest", "grpc", "predict"]
Payload = Literal["kept", "digest", "dropped"]
Label = str | int | float | bool


_FORMATS = {  # of struct, by datatype
    "BOOL": "?",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
INFINITIES = {"Infinity": inf, "-Infinity": -inf}  # as they are written
_WORDS = {number: word for word, number in INFINITIES.items()}


class Tensor(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One named input or output as it was asked or answered.

    `data` is flat and row-major, `shape` says how to fold it. A missing value (NaN) is null;
    infinities are the strings "Infinity" and "-Infinity", as in proto3's JSON. A writer may give
    `data` as JSON that it has already (msgspec.Raw); readers always find a list.
    """

    datatype: str  # of the Open Inference Protocol: FP32, INT64, BYTES, ...
    shape: list[int]
    data: list[Any]
    # Many numbers, instead of `data`: little-endian, as the protocol's raw contents, in base64.
    # A writer may give the bytes themselves: encoding an event puts them into base64.
    raw: str = ""

    def values(self) -> list[Any]:
        """The values as `data` would hold them, wherever they are.

        Raises ValueError where `raw` is no whole number of values of a known datatype.
        """
        if not self.raw:
            return self.data
        if self.datatype not in {*_FORMATS, "BF16"}:
            raise ValueError(f"raw holds {self.datatype}; expected one of {', '.join(_FORMATS)}")
        held: Any = self.raw  # bytes, where a writer looks
        data = b64decode(held, validate=True) if isinstance(held, str) else bytes(held)
        if self.datatype == "BF16":  # the upper half of FP32
            if len(data) % 2:
                raise ValueError(f"raw holds {len(data)} bytes of BF16: expected two for each")
            wide = b"".join(b"\0\0" + data[i : i + 2] for i in range(0, len(data), 2))
            return spell([one for (one,) in iter_unpack("<f", wide)])
        try:
            numbers = [one for (one,) in iter_unpack(f"<{_FORMATS[self.datatype]}", data)]
        except StructError as error:
            raise ValueError(f"raw holds {len(data)} bytes of {self.datatype}: {error}") from None
        return spell(numbers) if self.datatype.startswith("FP") else numbers


def spell(values: list[float]) -> list[Any]:
    """The values with None for NaN and words for infinities."""
    return [None if value != value else _WORDS.get(value, value) for value in values]  # noqa: PLR0124


class PredictionEvent(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    gc=False,
    tag_field="type",
    tag="driftline.prediction.v1",
):
    """What was asked and answered, by which version, when and how fast: one event per request."""

    source: str  # the writer of the log
    epoch: int  # one life of that writer
    sequence: int  # gap-free within the epoch, from 0
    time: int  # event time: when what is predicted about took place; the client may state it
    received: int  # when the request reached the service, by the service's clock
    prediction_id: str  # names the request; row i of it is (prediction_id, i)
    model: str
    protocol: Protocol
    outcome: Outcome
    version: str = ""  # version number, empty when none was resolved
    digest: str = ""  # of the version's artefact, sha256 in hex
    alias: str = ""  # the alias asked for, empty when a version was named
    revision: int = 0  # of the registry, in force when the alias was resolved
    reason: str = ""  # why the outcome is not ok
    request_id: str = ""  # the client's own id, echoed
    rows: int = 0
    batch_id: str = ""
    batch_rows: int = 0  # rows of all requests that ran together
    batch_offset: int = 0  # where this request's rows begin in the batch
    queue_us: int = 0
    run_us: int = 0
    total_us: int = 0  # from receipt to the append of this event
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}
    traceparent: str = ""
    inclusion: float = 1.0  # probability with which the payload was kept
    payload: Payload = "kept"  # whether inputs and outputs are here
    payload_digest: str = ""  # of what was left out, sha256 in hex
    payload_bytes: int = 0  # size of what was left out
    cache_hit: bool = False  # answered as the same inputs were before; nothing ran
    # By name, one number for each row, None where there is none: complete though `payload` is not.
    summaries: dict[str, list[float | None]] = {}

    @property
    def event_id(self) -> str:
        """`source:epoch:sequence`, unique for ever."""
        return f"{self.source}:{self.epoch}:{self.sequence}"


class FeedbackEvent(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    gc=False,
    tag_field="type",
    tag="driftline.feedback.v1",
):
    """The ground truth for one row of one prediction: one event per label."""

    source: str
    epoch: int
    sequence: int
    time: int  # event time: when the truth became known
    received: int
    prediction_id: str
    label: Label
    row: int = 0

    @property
    def event_id(self) -> str:
        """`source:epoch:sequence`, unique for ever."""
        return f"{self.source}:{self.epoch}:{self.sequence}"


Event = PredictionEvent | FeedbackEvent
