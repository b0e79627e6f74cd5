"""Comparisons of two versions of a model, which a command stores and the status page shows."""

from pathlib import Path
from typing import Literal

import msgspec

from eventlog.durable_files import make_folder, replace_file

Origin = Literal["shadow", "replay", "canary"]  # canary: the versions have different rows


class Estimated(msgspec.Struct, frozen=True, omit_defaults=True):
    """A figure with its 95 % confidence interval; fields without a defined value are None."""

    value: float | None = None
    low: float | None = None
    high: float | None = None


class ScoreRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """One figure of both versions; `difference` is the second version's minus the first's."""

    name: str
    first: Estimated
    second: Estimated
    difference: Estimated
    lower_is_better: bool = False

    @property
    def better(self) -> Literal["first", "second", ""]:
        """The significantly better version: the interval of the difference excludes 0."""
        low, high = self.difference.low, self.difference.high
        if low is None or high is None or low <= 0 <= high:
            return ""
        return "second" if (low > 0) != self.lower_is_better else "first"


class GroupRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """The figures of one group, such as one value of a segment column."""

    segment: str
    group: str
    rows: int
    labelled: int = 0
    agreement: float | None = None
    score: ScoreRow | None = None  # None with too few labels


class CalibrationBin(msgspec.Struct, frozen=True):
    """Rows of similar predicted probability."""

    predicted: float  # mean predicted probability of the positive class
    observed: float  # share of rows with the positive class as label
    rows: int


class VersionTraffic(msgspec.Struct, frozen=True, omit_defaults=True):
    """The logged requests that a version answered."""

    version: str
    requests: int = 0
    failed: int = 0
    total_ms: dict[str, float] = {}  # p50, p95 and p99 of the duration of a request, in ms
    run_ms: dict[str, float] = {}  # the same quantiles of model runs
    shadow_requests: int = 0
    shadow_run_ms: dict[str, float] = {}  # the same quantiles of its runs as a shadow


class AnswerPair(msgspec.Struct, frozen=True):
    """The number of rows with one pair of answers."""

    first: str  # the first version's prediction
    second: str  # the second version's prediction
    rows: int


class VersionComparison(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Two versions on the same rows, or on rows of the same period."""

    model: str
    first: str  # version number
    second: str  # version number
    origin: Origin
    created: int  # microseconds since the epoch
    period: str  # first and last day
    rows: list[int]  # rows of each version
    labelled: list[int]  # labelled rows of each version
    agreement: Estimated | None = None
    answers: list[AnswerPair] = []  # most frequent pairs first
    scores: list[ScoreRow] = []
    cost: ScoreRow | None = None  # mean cost of a row, if costs are configured
    groups: list[GroupRow] = []
    calibration: dict[str, list[CalibrationBin]] = {}  # version: its bins
    traffic: list[VersionTraffic] = []
    notes: list[str] = []

    @property
    def paired(self) -> bool:
        """Whether both versions ran on the same rows."""
        return self.origin != "canary"


class StoredComparisons:
    """The latest comparison of each pair of versions, as JSON files."""

    def __init__(self, folder: Path | None) -> None:
        """Store files below `folder`; without a folder, there are no comparisons."""
        self._folder = folder

    def add(self, comparison: VersionComparison) -> None:
        """Store a comparison in place of the pair's previous comparison; raises OSError."""
        assert self._folder is not None
        path = self._folder / comparison.model / _name(comparison.first, comparison.second)
        make_folder(path.parent)
        replace_file(path, msgspec.json.encode(comparison))

    def find(self, model: str, first: str, second: str) -> VersionComparison | None:
        """Return a pair's comparison; None if there is none or this release cannot read it."""
        folder = self._of(model)
        if folder is None or not (first.isdecimal() and second.isdecimal()):
            return None
        return _read(folder / _name(first, second))

    def of_model(self, model: str) -> list[VersionComparison]:
        """Return a model's comparisons, newest first."""
        folder = self._of(model)
        comparisons = [] if folder is None else [_read(path) for path in folder.glob("*.json")]
        return sorted(
            (comparison for comparison in comparisons if comparison),
            key=lambda comparison: -comparison.created,
        )

    def _of(self, model: str) -> Path | None:
        """Return a model's folder; None for a name that no model can have."""
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
