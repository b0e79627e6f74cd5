"""A comparison of two versions of a model, as the command stores it and the page shows it."""

from pathlib import Path
from typing import Literal

import msgspec

from eventlog.durable_files import make_folder, replace_file

Origin = Literal["shadow", "replay", "canary"]  # shadow, replay: both on the same rows


class Estimated(msgspec.Struct, frozen=True, omit_defaults=True):
    """A figure with its 95 % interval; None if it is not defined."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


class ScoreRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """One figure of both versions; `difference` is the second less the first."""

    name: str
    first: Estimated
    second: Estimated
    difference: Estimated
    lower_is_better: bool = False

    @property
    def better(self) -> Literal["first", "second", ""]:
        """The version that is better beyond chance: the interval of the difference excludes 0."""
        low, high = self.difference.low, self.difference.high
        if low is None or high is None or low <= 0 <= high:
            return ""
        return "second" if (low > 0) != self.lower_is_better else "first"


class GroupRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """One group of a segment."""

    segment: str
    group: str
    rows: int
    labelled: int = 0
    agreement: float | None = None
    score: ScoreRow | None = None  # None: too few labels


class CalibrationBin(msgspec.Struct, frozen=True):
    """Rows of similar probability: its mean, and the share of the positive class."""

    predicted: float
    observed: float
    rows: int


class VersionTraffic(msgspec.Struct, frozen=True, omit_defaults=True):
    """The logged requests that a version answered."""

    version: str
    requests: int = 0
    failed: int = 0
    total_ms: dict[str, float] = {}  # p50, p95 and p99, from reception to the event
    run_ms: dict[str, float] = {}  # duration of the runs of the model, in ms
    shadow_requests: int = 0
    shadow_run_ms: dict[str, float] = {}  # duration of its runs as a shadow, in ms


class AnswerPair(msgspec.Struct, frozen=True):
    """The number of rows with these two answers."""

    first: str
    second: str
    rows: int


class VersionComparison(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Two versions on the same rows, or on rows of the same period."""

    model: str
    first: str  # number
    second: str
    origin: Origin
    created: int  # microseconds since the epoch
    period: str  # first and last day
    rows: list[int]  # rows of each version; equal where the rows are the same
    labelled: list[int]
    agreement: Estimated | None = None
    answers: list[AnswerPair] = []
    scores: list[ScoreRow] = []
    cost: ScoreRow | None = None
    groups: list[GroupRow] = []
    calibration: dict[str, list[CalibrationBin]] = {}  # keyed by version
    traffic: list[VersionTraffic] = []
    notes: list[str] = []

    @property
    def paired(self) -> bool:
        """Whether both versions ran on the same rows."""
        return self.origin != "canary"


class StoredComparisons:
    """The latest comparison of each pair of versions, below a folder."""

    def __init__(self, folder: Path | None) -> None:
        """Without a folder there are none."""
        self._folder = folder

    def add(self, comparison: VersionComparison) -> None:
        """Replace the comparison of this pair; raises OSError."""
        assert self._folder is not None
        path = self._folder / comparison.model / _name(comparison.first, comparison.second)
        make_folder(path.parent)
        replace_file(path, msgspec.json.encode(comparison))

    def find(self, model: str, first: str, second: str) -> VersionComparison | None:
        """Return a comparison; None if there is none, or if this release cannot read it."""
        folder = self._of(model)
        if folder is None or not (first.isdecimal() and second.isdecimal()):
            return None
        return _read(folder / _name(first, second))

    def of_model(self, model: str) -> list[VersionComparison]:
        """Return the comparisons of a model, the newest first."""
        folder = self._of(model)
        comparisons = [] if folder is None else [_read(path) for path in folder.glob("*.json")]
        return sorted(
            (comparison for comparison in comparisons if comparison),
            key=lambda comparison: -comparison.created,
        )

    def _of(self, model: str) -> Path | None:
        """Return the folder of a model; None for a name that no model has."""
        if self._folder is None or "/" in model or "\0" in model or model.startswith("."):
            return None
        return self._folder / model


def _name(first: str, second: str) -> str:
    return f"{first}-{second}.json"


def _read(path: Path) -> VersionComparison | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=VersionComparison)
    except (OSError, msgspec.DecodeError):
        return None
