"""Define the events of the log, schema version 2; `wire.py` encodes them.

Every version must stay readable for years: fields may be added with a default, but never renamed,
retyped or removed. Events of version 1 are read as subclasses of those of version 2.

Times are integer microseconds since the Unix epoch (UTC); durations are integer microseconds.
Events contain no reference cycles, so garbage collection is off for them (gc=False): with it,
decoding many events took eight times as long.
"""

from base64 import b64decode
from math import inf
from struct import error as StructError  # noqa: N812  # `struct` names its exception class `error`
from struct import iter_unpack
from typing import Any, Literal

import msgspec

from eventlog.shards import join_key

Outcome = Literal["ok", "invalid", "refused", "expired", "cancelled", "failed"]
Protocol = Literal["rest", "grpc", "predict", "batch", "shadow"]
OFFLINE: frozenset[Protocol] = frozenset({"batch", "shadow"})  # no client sent a request
Payload = Literal["kept", "digest", "dropped"]
ArmName = Literal["", "before", "rollout"]  # the version it replaces, or the one it rolls out
Label = str | int | float | bool
# What a person decided about a row of the review queue; undo: the decision before no longer holds.
ReviewAction = Literal["", "accept", "correct", "undo"]


_FORMATS = {  # datatype -> format character of `struct`
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
INFINITIES = {"Infinity": inf, "-Infinity": -inf}  # spelling in JSON -> value
_WORDS = {number: word for word, number in INFINITIES.items()}


class Tensor(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One named input or output of a request.

    `data` is flat and row-major; `shape` gives its dimensions. A missing value (NaN) is null;
    infinities are the strings "Infinity" and "-Infinity", as in the JSON form of proto3. Writers
    may pass `data` as encoded JSON (msgspec.Raw); readers always get a list.
    """

    datatype: str  # datatype of the Open Inference Protocol: FP32, INT64, BYTES, ...
    shape: list[int]
    data: list[Any]
    # Replaces `data` for large tensors: the protocol's raw contents, little-endian, in base64.
    # Writers may pass bytes, and readers may get them: encoding the event converts them to base64.
    raw: str = ""
    # Replaces `raw` in records that have a raw part: first byte and number of bytes there.
    raw_at: tuple[int, int] | None = None

    def values(self) -> list[Any]:
        """Return the flat values from `data` or `raw`, in the form that `data` uses.

        Raises ValueError if `raw` is not a whole number of values of a known datatype.
        """
        if not self.raw and self.raw_at is None:
            return self.data
        if self.datatype not in {*_FORMATS, "BF16"}:
            raise ValueError(f"raw holds {self.datatype}; expected one of {', '.join(_FORMATS)}")
        data = self.raw_bytes()
        if self.datatype == "BF16":  # the upper half of FP32
            if len(data) % 2:
                raise ValueError(f"raw holds {len(data)} bytes of BF16: expected two for each")
            wide = b"".join(b"\0\0" + data[i : i + 2] for i in range(0, len(data), 2))
            return spell([number for (number,) in iter_unpack("<f", wide)])
        try:
            numbers = [number for (number,) in iter_unpack(f"<{_FORMATS[self.datatype]}", data)]
        except StructError as error:
            raise ValueError(f"raw holds {len(data)} bytes of {self.datatype}: {error}") from None
        return spell(numbers) if self.datatype.startswith("FP") else numbers

    def raw_bytes(self) -> bytes:
        """Return the raw contents; raises ValueError if there are none, or they are not base64."""
        contents: Any = self.raw  # base64 text, or bytes that are not encoded
        if not contents and self.raw_at is not None:
            raise ValueError("its raw contents were in another part of the record, which is gone")
        return b64decode(contents, validate=True) if isinstance(contents, str) else bytes(contents)


def spell(values: list[float]) -> list[Any]:
    """Replace NaN by None and infinities by their spelling."""
    return [None if value != value else _WORDS.get(value, value) for value in values]  # noqa: PLR0124


class PredictionEvent(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    gc=False,
    tag_field="type",
    tag="driftline.prediction.v2",
):
    """One request: inputs, outputs, model version, outcome, times and durations."""

    source: str  # name of the writer; holds the identity of its log folder
    epoch: int  # time of the writer's start; greater than that of any earlier start
    sequence: int  # gap-free within the epoch, from 0
    time: int  # event time; the client may state it
    received: int  # reception of the request, by the service's clock
    prediction_id: str  # identifies the request; (prediction_id, i) identifies its row i
    model: str
    protocol: Protocol
    outcome: Outcome
    version: str = ""  # version number; empty if none was resolved
    digest: str = ""  # SHA-256 of the version's artefact, in hex
    alias: str = ""  # requested alias; empty if a version was requested
    revision: int = 0  # registry revision that resolved the alias
    reason: str = ""  # why the outcome is not ok
    request_id: str = ""  # the client's own id, returned to it
    rows: int = 0
    batch_id: str = ""
    batch_rows: int = 0  # rows of the whole batch
    batch_offset: int = 0  # first row of this request in the batch
    queue_us: int = 0
    run_us: int = 0
    total_us: int = 0  # microseconds from reception to the append of this event
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}
    traceparent: str = ""
    inclusion: float = 1.0  # probability that the payload is logged
    payload: Payload = "kept"  # whether the event holds inputs and outputs
    payload_digest: str = ""  # digest of an omitted payload: SHA-256 in hex, or ALGORITHM:HEX
    payload_bytes: int = 0  # size of the omitted payload
    cache_hit: bool = False  # answered from the cache; the model did not run
    load_test: bool = False  # sent by a load test, and not to be monitored
    rollout: str = ""  # id of the rollout that decided about the version
    arm: ArmName = ""  # which version of the rollout the routing key names
    routing_key: str = ""  # hash of the request's routing key, the same within a rollout
    # Name -> one number per row, None if it has none. Complete even if the payload is omitted.
    summaries: dict[str, list[float | None]] = {}
    shard: str = ""  # shard of the model; empty: of no chain of numbers
    number: int = 0  # gap-free within source, epoch and shard, from 0
    # Of rows of a file: column -> what is counted -> values; complete without the payload, too.
    counts: dict[str, dict[str, int]] = {}

    @property
    def event_id(self) -> str:
        """Return `source:epoch:sequence`, a globally unique id."""
        return f"{self.source}:{self.epoch}:{self.sequence}"

    @property
    def online(self) -> bool:
        """Return whether a client asked for the prediction, and not a load test, file or shadow."""
        return not self.load_test and self.protocol not in OFFLINE

    @property
    def joined_by(self) -> str:
        """Return the key that joins a prediction and its labels; see `join_key`."""
        return join_key(self.prediction_id)


class FeedbackEvent(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    gc=False,
    tag_field="type",
    tag="driftline.feedback.v2",
):
    """The label (ground truth) of one row of one prediction."""

    source: str
    epoch: int
    sequence: int
    time: int  # event time: when the label became available
    received: int
    prediction_id: str
    label: Label
    row: int = 0
    load_test: bool = False  # whether a load test asked for the prediction
    shard: str = ""  # shard that the prediction id names; a hash of an id that names none
    number: int = 0  # gap-free within source, epoch and shard, from 0
    actor: str = ""  # who stated the label, as key:NAME; empty if no key was required
    verified: bool = False  # whether this deployment made the id, and the actor may label its model
    review: ReviewAction = ""  # decision of a person; it supersedes other labels of the row
    why: str = ""  # the reason of a decision
    inclusion: float = 0.0  # probability that the decided row was picked for review

    @property
    def may_precede(self) -> bool:
        """Return whether the label waits for a prediction that is not in the log yet."""
        return self.verified

    @property
    def event_id(self) -> str:
        """Return `source:epoch:sequence`, a globally unique id."""
        return f"{self.source}:{self.epoch}:{self.sequence}"

    @property
    def joined_by(self) -> str:
        """Return the key that joins a prediction and its labels; see `join_key`."""
        return join_key(self.prediction_id)


class HeartbeatEvent(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    omit_defaults=True,
    gc=False,
    tag_field="type",
    tag="driftline.heartbeat.v2",
):
    """A writer's counts of one shard, logged although nothing happens.

    `number` counts the events of the shard before it, so a reader finds that the last ones are
    missing. Its reception tells that time has passed.
    """

    source: str
    epoch: int
    sequence: int
    time: int  # equal to `received`
    received: int  # when it was written
    shard: str
    number: int = 0
    predictions: int = 0  # predictions of this shard in this epoch
    labels: int = 0
    refused_labels: int = 0  # labels that no version of the model can have; they are not logged
    next_us: int = 0  # until the next heartbeat at the latest; 0: the writer has ended
    # Of the registry's history that the writer follows; stated once for each revision it came to.
    revision: int = 0
    chain: str = ""  # SHA-256 over all rows up to the revision, in hex

    @property
    def event_id(self) -> str:
        """Return `source:epoch:sequence`, a globally unique id."""
        return f"{self.source}:{self.epoch}:{self.sequence}"


class PredictionEventV1(PredictionEvent, frozen=True, kw_only=True, tag="driftline.prediction.v1"):
    """A prediction that a release up to 0.2 logged: without shard."""


class FeedbackEventV1(FeedbackEvent, frozen=True, kw_only=True, tag="driftline.feedback.v1"):
    """A label that a release up to 0.2 logged: without shard, and for any id."""

    @property
    def may_precede(self) -> bool:
        """Return True: as every label did in that release."""
        return True


RequestEvent = PredictionEvent | FeedbackEvent  # events that a client caused
Event = RequestEvent | HeartbeatEvent
