"""Define the events of the log, schema version 2; `wire.py` encodes them.

Every version must stay readable for years. Fields can be added with a default, but must never be
renamed, retyped or removed. Events of version 1 are decoded to subclasses of the current events.

Times are integer microseconds since the Unix epoch (UTC); durations are integer microseconds.
Events contain no reference cycles, so they are excluded from garbage collection (gc=False).
Otherwise, decoding many events takes eight times as long.
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
OFFLINE: frozenset[Protocol] = frozenset({"batch", "shadow"})  # predictions without a request
Payload = Literal["kept", "digest", "dropped"]
ArmName = Literal["", "before", "rollout"]  # side of a rollout: the old or the new version
Label = str | int | float | bool
# A person's decision about a row of the review queue; undo withdraws the previous decision.
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
INFINITIES = {"Infinity": inf, "-Infinity": -inf}  # JSON string -> value
_WORDS = {number: word for word, number in INFINITIES.items()}


class Tensor(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """One named input or output of a request.

    `data` is flat and row-major; `shape` has its dimensions. A missing value (NaN) is null, and
    infinities are the strings "Infinity" and "-Infinity", as in the JSON form of proto3. Writers
    can pass `data` as encoded JSON (msgspec.Raw); readers always get a list.
    """

    datatype: str  # datatype of the Open Inference Protocol: FP32, INT64, BYTES, ...
    shape: list[int]
    data: list[Any]
    # Replaces `data` for large tensors: the protocol's raw contents, little-endian, in base64.
    # Writers can pass bytes, and readers can get bytes; encoding the event converts them to base64.
    raw: str = ""
    # Replaces `raw` in records with a raw part (wire.py): first byte and number of bytes in it.
    raw_at: tuple[int, int] | None = None

    def values(self) -> list[Any]:
        """Return the flat values from `data` or `raw`, in the format of `data`.

        Raises ValueError if the datatype is unknown or the length of `raw` does not fit.
        """
        if not self.raw and self.raw_at is None:
            return self.data
        if self.datatype not in {*_FORMATS, "BF16"}:
            raise ValueError(f"raw is {self.datatype}; expected one of {', '.join(_FORMATS)}")
        data = self.raw_bytes()
        if self.datatype == "BF16":  # the upper half of FP32
            if len(data) % 2:
                raise ValueError(f"raw has {len(data)} bytes of BF16; expected an even number")
            wide = b"".join(b"\0\0" + data[i : i + 2] for i in range(0, len(data), 2))
            return spell([number for (number,) in iter_unpack("<f", wide)])
        try:
            numbers = [number for (number,) in iter_unpack(f"<{_FORMATS[self.datatype]}", data)]
        except StructError as error:
            raise ValueError(f"raw has {len(data)} bytes of {self.datatype}: {error}") from None
        return spell(numbers) if self.datatype.startswith("FP") else numbers

    def raw_bytes(self) -> bytes:
        """Return the raw contents; raises ValueError if they are missing or not base64."""
        contents: Any = self.raw  # base64 text or unencoded bytes
        if not contents and self.raw_at is not None:
            raise ValueError("the raw contents were in the record's raw part, which is missing")
        return b64decode(contents, validate=True) if isinstance(contents, str) else bytes(contents)


def spell(values: list[float]) -> list[Any]:
    """Replace NaN with None, and infinities with their JSON strings."""
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

    source: str  # name of the writer; contains the identity of its log folder
    epoch: int  # time of the writer's start; greater than the epoch of any earlier start
    sequence: int  # gap-free within the epoch, from 0
    time: int  # event time, which the client can state
    received: int  # time of the request's reception, by the service's clock
    prediction_id: str  # identifies the request; (prediction_id, i) identifies its row i
    model: str
    protocol: Protocol
    outcome: Outcome
    version: str = ""  # version number; empty if none was resolved
    digest: str = ""  # SHA-256 of the version's files, in hex
    alias: str = ""  # requested alias; empty if a version was requested
    revision: int = 0  # registry revision that resolved the alias
    reason: str = ""  # why the outcome is not ok
    request_id: str = ""  # id that the client sent; the reply contains it
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
    payload: Payload = "kept"  # whether the event contains inputs and outputs
    payload_digest: str = ""  # digest of an omitted payload: SHA-256 in hex, or ALGORITHM:HEX
    payload_bytes: int = 0  # size of the omitted payload
    cache_hit: bool = False  # whether the answer came from the cache, without a model run
    load_test: bool = False  # whether a load test sent the request; it is not monitored
    rollout: str = ""  # id of the rollout that selected the version
    arm: ArmName = ""  # side of the rollout that the routing key selected
    routing_key: str = ""  # hash of the request's routing key, constant within a rollout
    # Name -> one number per row, or None for a row without value. Present without payload, too.
    summaries: dict[str, list[float | None]] = {}
    shard: str = ""  # shard of the model; empty in events without `number`
    number: int = 0  # gap-free within source, epoch and shard, from 0
    # Counters of a file's rows: column -> counter -> count. Present without payload, too.
    counts: dict[str, dict[str, int]] = {}

    @property
    def event_id(self) -> str:
        """Return `source:epoch:sequence`, a globally unique id."""
        return f"{self.source}:{self.epoch}:{self.sequence}"

    @property
    def online(self) -> bool:
        """Return whether a client sent the request, not a load test, a batch job or a shadow."""
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
    time: int  # event time, at which the label became available
    received: int
    prediction_id: str
    label: Label
    row: int = 0
    load_test: bool = False  # whether a load test requested the prediction
    shard: str = ""  # shard that the prediction id states; if it states none, a hash of the id
    number: int = 0  # gap-free within source, epoch and shard, from 0
    actor: str = ""  # sender of the label, such as key:NAME; empty if no key was required
    verified: bool = False  # whether the id was issued here and the actor may label its model
    review: ReviewAction = ""  # a person's decision, which supersedes other labels of the row
    why: str = ""  # reason for the decision
    inclusion: float = 0.0  # probability that the row was selected for review

    @property
    def may_precede(self) -> bool:
        """Return whether the label is stored if its prediction is not in the log yet."""
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
    """A writer's counts of one shard, logged even without requests.

    `number` is the number of earlier events of the shard, so a reader can detect that the latest
    events are missing. `received` lets time progress in the log.
    """

    source: str
    epoch: int
    sequence: int
    time: int  # equal to `received`
    received: int  # time at which the heartbeat was written
    shard: str
    number: int = 0
    predictions: int = 0  # predictions of this shard in this epoch
    labels: int = 0
    refused_labels: int = 0  # labels that fit no version of the model and are not logged
    next_us: int = 0  # longest time until the next heartbeat; 0 if the writer has stopped
    # Newest revision of the registry's history that the writer has read; 0 if already stated.
    revision: int = 0
    chain: str = ""  # SHA-256 over all rows of the history up to the revision, in hex

    @property
    def event_id(self) -> str:
        """Return `source:epoch:sequence`, a globally unique id."""
        return f"{self.source}:{self.epoch}:{self.sequence}"


class PredictionEventV1(PredictionEvent, frozen=True, kw_only=True, tag="driftline.prediction.v1"):
    """A prediction logged by a release up to 0.2, without shard."""


class FeedbackEventV1(FeedbackEvent, frozen=True, kw_only=True, tag="driftline.feedback.v1"):
    """A label logged by a release up to 0.2, without shard and with an unverified id."""

    @property
    def may_precede(self) -> bool:
        """Return True, because those releases stored every label without prediction."""
        return True


RequestEvent = PredictionEvent | FeedbackEvent  # events that a client caused
Event = RequestEvent | HeartbeatEvent
