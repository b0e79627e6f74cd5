"""The jobs and replies of the scoring process, and their format on its pipes.

A message is its length (4 bytes, big-endian), followed by JSON.
"""

import struct
from typing import IO, Any, TypeVar

import msgspec

from monitoring.counters.window_counters import InputCounters, LabelCounters
from monitoring.results import Score, Window
from monitoring.samples import Sample
from registry.baselines import BaselineRecord
from registry.manifest import Monitoring


class ScoreJob(msgspec.Struct, frozen=True, kw_only=True):
    """One window to score."""

    key: str  # identifies the job in its reply
    model: str
    version: str
    window: Window
    # The sampled rows by column: features, prediction, a probability for each class, and label,
    # named by `OwnColumns`. A missing number or label is None. A revision has only the columns
    # that it needs (revision_columns.py).
    columns: dict[str, list[Any]]
    # The trailing reference by column, in the order of event time; empty to use `baseline` or the
    # registered reference.
    reference: dict[str, list[Any]] = {}
    # The baseline of a version without a registered reference, once it is learned.
    baseline: BaselineRecord | None = None
    learning: bool = False  # whether the columns are only described, without a baseline
    order: list[int] = []  # row numbers in the order of event time; empty if unknown
    inputs: InputCounters | None = None  # counters of all rows, if `columns` is a sample
    answers: LabelCounters | None = None  # counters of all labelled rows, if `columns` is a sample
    drift: bool  # whether to score drift and data quality (at close), or only performance
    policy: Monitoring | None = None  # None in a job of an earlier release: the manifest's policy
    report: str = ""  # file name of Evidently's HTML in the reports folder; empty for no report
    files: list[Sample] = []  # encoded images to convert to pictures
    vectors: dict[str, list[bytes]] = {}  # sampled vectors by tensor; FP32, little-endian
    reviewed: dict[str, list[Any]] = {}  # like `columns`: rows with only a label from a review
    review_weights: list[float] = []  # weights of the rows in `reviewed`
    # Sampled vectors of the trailing reference by tensor; empty to use the reference's vectors.
    reference_vectors: dict[str, list[bytes]] = {}

    def without_rows(self) -> "ScoreJob":
        """Return the job without its large fields, to save memory."""
        small = msgspec.structs.replace(self, columns={}, reference={}, order=[], inputs=None)
        small = msgspec.structs.replace(small, reviewed={})
        return msgspec.structs.replace(small, files=[], vectors={}, reference_vectors={})


class ScoreReply(msgspec.Struct, frozen=True, kw_only=True):
    """The scores of one window."""

    key: str
    scores: list[Score]
    report: str = ""  # name of the written report file
    pictures: list[Sample] = []  # the pictures made of the job's files
    error: str = ""  # why scoring failed; `scores` is then empty
    poison: bool = False  # whether the scoring process died or hung in every attempt


Kind = TypeVar("Kind")

_LENGTH = struct.Struct(">I")


def write(stream: IO[bytes], message: msgspec.Struct) -> None:
    """Write one message and flush."""
    body = msgspec.json.encode(message)
    stream.write(_LENGTH.pack(len(body)) + body)
    stream.flush()


def read(stream: IO[bytes], kind: type[Kind]) -> Kind | None:
    """Read one message; return None if the other process has closed the pipe."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    body = stream.read(size := _LENGTH.unpack(head)[0])
    return msgspec.json.decode(body, type=kind) if len(body) == size else None
