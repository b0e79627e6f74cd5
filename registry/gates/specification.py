"""Define the gates of a model: one struct for each kind."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from registry.manifest import SegmentPolicy

By = Literal["value", "interval"]  # whether the figure or its interval is compared
Rows = Literal["candidate", "champion"]  # version whose reference rows are used
Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]
Margin = Annotated[float, Meta(ge=0)]
Day = Annotated[str, Meta(pattern=r"^(\d{4}-\d{2}-\d{2})?$")]
Segment = str | SegmentPolicy
Costs = dict[str, float | dict[str, float]]


class Gate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """The fields of every kind of gate."""

    blocking: bool = True  # False if the outcome is only a warning
    seconds: Annotated[float, Meta(gt=0, le=86_400)] = 300.0  # longest duration of the gate
    memory_mb: Annotated[int, Meta(ge=256)] = 8_192  # limit for each process of the run


class LoadGate(Gate, frozen=True, kw_only=True, tag="load"):
    """The version loads in a fresh serving process and answers one request."""

    at_most_seconds: Positive | None = None  # longest time from process start to ready


class GoldenRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Inputs and expected outputs, as nested lists by tensor."""

    inputs: dict[str, Any]
    outputs: dict[str, Any]


class AnswersGate(Gate, frozen=True, kw_only=True, tag="answers"):
    """Golden requests have their expected answers."""

    requests: Annotated[list[GoldenRequest], Meta(min_length=1, max_length=1_000)]
    tolerance: Margin = 1e-4  # absolute, plus relative to the expected number


class FiniteGate(Gate, frozen=True, kw_only=True, tag="finite"):
    """Outputs are finite on the reference and on random valid inputs."""

    random_rows: Annotated[int, Meta(ge=0, le=100_000)] = 256


class SizeGate(Gate, frozen=True, kw_only=True, tag="size"):
    """The model file has a limited size."""

    at_most_mb: Positive | None = None
    ratio: Positive | None = None  # largest ratio to the champion's size


class LineageGate(Gate, frozen=True, kw_only=True, tag="lineage"):
    """The manifest's lineage states these fields."""

    fields: Annotated[list[str], Meta(min_length=1)]


class SpeedGate(Gate, frozen=True, kw_only=True, tag="speed"):
    """Latency, throughput and memory under a short load, absolute and against the champion.

    The two versions are served one after the other in the same run. Ratios are candidate to
    champion.
    """

    seconds: Annotated[float, Meta(gt=0, le=86_400)] = 600.0
    load_seconds: Annotated[float, Meta(ge=2, le=600)] = 6.0  # per version, in `rounds` parts
    rounds: Annotated[int, Meta(ge=1, le=20)] = 2
    users: Annotated[int, Meta(ge=1, le=1_000)] = 2  # clients that send without pauses
    protocol: Literal["rest-json", "rest-binary", "grpc"] = "rest-binary"
    mean_ratio: Positive | None = None  # upper limit
    p99_ratio: Positive | None = None  # upper limit
    throughput_ratio: Positive | None = None  # lower limit
    memory_ratio: Positive | None = None  # upper limit
    p99_ms: Positive | None = None  # upper limit
    requests_per_s: Positive | None = None  # lower limit
    resident_mb: Positive | None = None  # upper limit for all processes of the service


class ScoredGate(Gate, frozen=True, kw_only=True):
    """A figure of predictions and labels, for all rows or for each group of a segment."""

    at_most: float | None = None
    worse_by: Margin | None = None  # largest allowed deficit against the champion
    segment: Segment = ""
    min_rows: Annotated[int, Meta(ge=2)] = 100  # if fewer, the outcome is "not enough data"
    rows: Rows = "candidate"
    by: By = "value"  # how a limit is compared
    champion_by: By = "interval"  # how `worse_by` is compared


class MetricGate(ScoredGate, frozen=True, kw_only=True, tag="metric"):
    """A performance metric is within its limits, and not worse than the champion's."""

    metric: str
    at_least: float | None = None


class CostGate(ScoredGate, frozen=True, kw_only=True, tag="cost"):
    """The mean cost per row is within its limit; `costs` states the cost of each outcome.

    For two classes, outcomes are false_negative, false_positive, true_negative and true_positive.
    For more classes, `costs` maps actual class -> predicted class -> cost. Other outcomes cost 0.
    """

    costs: Annotated[Costs, Meta(min_length=1)]


class GapGate(ScoredGate, frozen=True, kw_only=True, tag="gap"):
    """The largest difference of a metric between two groups is within its limit."""

    metric: str = "selection_rate"  # a rate of the positive class, or a performance metric


class DataGate(Gate, frozen=True, kw_only=True, tag="data"):
    """The candidate's reference is like the champion's: same columns, ranges and distributions."""

    schema: Literal["same", "superset", "any"] = "same"  # relation to the champion's features
    out_of_range: Share = 0.05  # largest share of rows outside the champion's range or categories
    drift: Margin = 0.2  # Wasserstein (standard deviations) or Jensen-Shannon distance
    min_rows: Annotated[int, Meta(ge=2)] = 100


class ReplayGate(ScoredGate, frozen=True, kw_only=True, tag="replay"):
    """The candidate predicts logged requests like the champion, and has good scores on labels."""

    days: Annotated[int, Meta(ge=1, le=3_660)] = 7  # up to the latest day (UTC) with requests
    first_day: Day = ""  # alternative to `days`: a period that includes both days
    last_day: Day = ""
    max_rows: Annotated[int, Meta(ge=2, le=1_000_000)] = 5_000  # sample size, by the rows' hash
    agreement: Share | None = None  # least share of rows with the champion's prediction
    tolerance: Margin = 0.1  # largest difference, in the champion's standard deviations
    metric: str = ""  # metric of labelled rows, with the limits of kind: metric
    at_least: float | None = None
    costs: Costs = {}  # alternative to `metric`
    worst: Annotated[int, Meta(ge=0, le=1_000)] = 20  # number of listed disagreements


RATES = ("selection_rate", "true_positive_rate")
BINARY_COSTS = ("false_negative", "false_positive", "true_negative", "true_positive")
METRICS = (
    "accuracy", "f1", "precision", "recall", "brier", "calibration_error", "log_loss", "roc_auc",
    "bias", "mae", "mape", "r2", "rmse",
)  # fmt: skip

KINDS: dict[str, type[Gate]] = {
    str(kind.__struct_config__.tag): kind
    for kind in (
        LoadGate, AnswersGate, FiniteGate, MetricGate, GapGate, CostGate, ReplayGate, DataGate,
        SpeedGate, SizeGate, LineageGate,
    )
}  # fmt: skip


def kind_of(gate: Gate) -> str:
    """Return the name of a gate's kind."""
    return str(type(gate).__struct_config__.tag)
