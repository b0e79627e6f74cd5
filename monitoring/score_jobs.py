"""Define the jobs and replies of the scoring process, and their framing on its pipes.

A message is its length (4 bytes, big-endian), then JSON.
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

    key: str  # names the job in its reply
    model: str
    version: str
    window: Window
    # Sampled rows by column: every feature, prediction, a probability for each class, label (None
    # where not known), named by `OwnColumns`. A missing number is None. A revision has no more than
    # it is scored from (revision_columns.py).
    columns: dict[str, list[Any]]
    # Rows of earlier windows to measure drift against, by event time, by column; empty: the
    # registered reference.
    reference: dict[str, list[Any]] = {}
    # What drift is measured against in place of a registered reference; None: there is one, or
    # the baseline is being learned.
    baseline: BaselineRecord | None = None
    learning: bool = False  # nothing to compare with yet: describe the columns
    order: list[int] = []  # the rows' numbers in the order of event time; empty: not known
    inputs: InputCounters | None = None  # counters of all rows, if these rows are a sample
    answers: LabelCounters | None = None  # the same
    drift: bool  # score drift and data quality (at close), or only performance (a revision)
    policy: Monitoring | None = None  # None: the manifest's, in a job of an earlier release
    report: str = ""  # file name for Evidently's HTML below the reports folder, empty: none
    files: list[Sample] = []  # encoded images to convert to pictures
    vectors: dict[str, list[bytes]] = {}  # sampled, by tensor; FP32, little-endian
    reviewed: dict[str, list[Any]] = {}  # rows whose only label is a person's, as `columns`
    review_weights: list[float] = []  # weights of the labels of `reviewed`
    reference_vectors: dict[str, list[bytes]] = {}  # earlier windows'; empty: the reference's

    def without_rows(self) -> "ScoreJob":
        """Return the job without what takes memory."""
        rowless = msgspec.structs.replace(self, columns={}, reference={}, order=[], inputs=None)
        rowless = msgspec.structs.replace(rowless, reviewed={})
        return msgspec.structs.replace(rowless, files=[], vectors={}, reference_vectors={})


class ScoreReply(msgspec.Struct, frozen=True, kw_only=True):
    """The scores of one window."""

    key: str
    scores: list[Score]
    report: str = ""  # the file that was written
    pictures: list[Sample] = []  # pictures of the job's files
    error: str = ""  # the scoring as a whole failed; scores is empty
    poison: bool = False  # the scoring process died or hung in every try


Kind = TypeVar("Kind")

_LENGTH = struct.Struct(">I")


def write(stream: IO[bytes], message: msgspec.Struct) -> None:
    """Write one message and flush."""
    body = msgspec.json.encode(message)
    stream.write(_LENGTH.pack(len(body)) + body)
    stream.flush()


def read(stream: IO[bytes], kind: type[Kind]) -> Kind | None:
    """Read one message; None when the other side has closed the pipe."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    body = stream.read(size := _LENGTH.unpack(head)[0])
    return msgspec.json.decode(body, type=kind) if len(body) == size else None
