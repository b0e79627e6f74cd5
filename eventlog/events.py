"""The facts that Driftline records, schema version 1.

Everything that decides what an event says lives here; `wire.py` turns events into bytes. Version 1
will be read for years: fields may be added with a default, never renamed, retyped or removed.

Times are integer microseconds since the Unix epoch (UTC); durations are integer microseconds.
Events never refer to each other, so the garbage collector need not walk them (gc=False): with it,
decoding many took eight times as long.
"""

from typing import Any, Literal

import msgspec

Outcome = Literal["ok", "invalid", "refused", "expired", "cancelled", "failed"]
Protocol = Literal["rest", "grpc", "predict"]
Payload = Literal["kept", "digest", "dropped"]
Label = str | int | float | bool


class Tensor(msgspec.Struct, frozen=True, gc=False):
    """One named input or output as it was asked or answered.

    `data` is flat and row-major, `shape` says how to fold it. A missing value (NaN) is null;
    infinities are the strings "Infinity" and "-Infinity", as in proto3's JSON. A writer may give
    `data` as JSON that it has already (msgspec.Raw); readers always find a list.
    """

    datatype: str  # of the Open Inference Protocol: FP32, INT64, BYTES, ...
    shape: list[int]
    data: list[Any]


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
