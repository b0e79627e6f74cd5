"""Define the gates of a model: one struct for each kind, and the file that states them.

A release policy stores gates as its author wrote them, so that a kind of a newer release stays
readable. `read_gates` checks them: misspelt kinds and fields are refused with what was meant.
"""

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from registry.errors import InvalidGates
from registry.manifest import SegmentPolicy

_NAME = re.compile(r"[a-z][-_a-z0-9]{0,62}")
_MOST_GATES = 50

By = Literal["value", "interval"]  # whether the figure or the bound of its interval decides
Rows = Literal["candidate", "champion"]  # whose reference rows
Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]
Margin = Annotated[float, Meta(ge=0)]
Segment = str | SegmentPolicy


class Gate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """What every kind of gate has."""

    blocking: bool = True  # False: its outcome is a warning
    seconds: Annotated[float, Meta(gt=0, le=86_400)] = 300.0  # longest run
    memory_mb: Annotated[int, Meta(ge=256)] = 8_192  # of each process of the run


class LoadGate(Gate, frozen=True, kw_only=True, tag="load"):
    """The version loads in a fresh serving process and answers one request."""

    at_most_seconds: Positive | None = None  # from the start of the process to ready


class GoldenRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Inputs and the outputs that they must have, as nested lists by tensor."""

    inputs: dict[str, Any]
    outputs: dict[str, Any]


class AnswersGate(Gate, frozen=True, kw_only=True, tag="answers"):
    """Golden requests have their expected answers."""

    requests: Annotated[list[GoldenRequest], Meta(min_length=1, max_length=1_000)]
    tolerance: Margin = 1e-4  # absolute, and relative to the expected number


class FiniteGate(Gate, frozen=True, kw_only=True, tag="finite"):
    """Outputs are finite on the reference and on random valid inputs."""

    random_rows: Annotated[int, Meta(ge=0, le=100_000)] = 256


class SizeGate(Gate, frozen=True, kw_only=True, tag="size"):
    """The model file has a limited size."""

    at_most_mb: Positive | None = None
    ratio: Positive | None = None  # at most so many times the champion's


class LineageGate(Gate, frozen=True, kw_only=True, tag="lineage"):
    """The manifest's lineage states these fields."""

    fields: Annotated[list[str], Meta(min_length=1)]


class SpeedGate(Gate, frozen=True, kw_only=True, tag="speed"):
    """Latency, throughput and memory under a short load, absolute and against the champion.

    Both versions are served alone, and are loaded in turn in the same run. Ratios are candidate to
    champion.
    """

    seconds: Annotated[float, Meta(gt=0, le=86_400)] = 600.0
    load_seconds: Annotated[float, Meta(ge=2, le=600)] = 6.0  # of each version, in `rounds` parts
    rounds: Annotated[int, Meta(ge=1, le=20)] = 2
    users: Annotated[int, Meta(ge=1, le=1_000)] = 2  # clients, without pause between requests
    protocol: Literal["rest-json", "rest-binary", "grpc"] = "rest-binary"
    mean_ratio: Positive | None = None  # at most
    p99_ratio: Positive | None = None  # at most
    throughput_ratio: Positive | None = None  # at least
    memory_ratio: Positive | None = None  # at most
    p99_ms: Positive | None = None  # at most
    requests_per_s: Positive | None = None  # at least
    resident_mb: Positive | None = None  # at most, of all processes of the service


class ScoredGate(Gate, frozen=True, kw_only=True):
    """A figure of predictions and labels, for all rows or for each group of a segment."""

    at_most: float | None = None
    worse_by: Margin | None = None  # by how much the candidate may be worse than the champion
    segment: Segment = ""
    min_rows: Annotated[int, Meta(ge=2)] = 100  # with fewer, there is not enough data
    rows: Rows = "candidate"
    by: By = "value"  # what a limit is compared with
    champion_by: By = "interval"  # what `worse_by` is compared with


class MetricGate(ScoredGate, frozen=True, kw_only=True, tag="metric"):
    """A metric of performance keeps its limits, and is not worse than the champion's."""

    metric: str
    at_least: float | None = None


class CostGate(ScoredGate, frozen=True, kw_only=True, tag="cost"):
    """The mean cost of a row keeps its limit; `costs` state what each outcome costs.

    Of two classes: false_negative, false_positive, true_negative, true_positive. Of more: actual
    class -> predicted class -> cost. What is not stated costs nothing.
    """

    costs: Annotated[dict[str, float | dict[str, float]], Meta(min_length=1)]


class GapGate(ScoredGate, frozen=True, kw_only=True, tag="gap"):
    """The largest difference of a metric between two groups keeps its limit."""

    metric: str = "selection_rate"  # of the positive class; or a metric of performance


RATES = ("selection_rate", "true_positive_rate")
BINARY_COSTS = ("false_negative", "false_positive", "true_negative", "true_positive")
METRICS = (
    "accuracy", "f1", "precision", "recall", "brier", "calibration_error", "log_loss", "roc_auc",
    "bias", "mae", "mape", "r2", "rmse",
)  # fmt: skip

KINDS: dict[str, type[Gate]] = {
    str(kind.__struct_config__.tag): kind
    for kind in (
        LoadGate, AnswersGate, FiniteGate, MetricGate, GapGate, CostGate, SpeedGate, SizeGate,
        LineageGate,
    )
}  # fmt: skip
_ONE_OF: dict[type[Gate], tuple[str, ...]] = {  # a gate without any of these could never fail
    SizeGate: ("at_most_mb", "ratio"),
    SpeedGate: (
        "mean_ratio", "p99_ratio", "throughput_ratio", "memory_ratio", "p99_ms", "requests_per_s",
        "resident_mb",
    ),
    MetricGate: ("at_least", "at_most", "worse_by"),
    CostGate: ("at_most", "worse_by"),
    GapGate: ("at_most", "worse_by"),
}  # fmt: skip


def read_gates(stated: Mapping[str, Any]) -> dict[str, Gate]:
    """Return the gates by name; raises InvalidGates for the first that is wrong, and how."""
    if len(stated) > _MOST_GATES:
        raise InvalidGates(f"{len(stated)} gates; expected at most {_MOST_GATES}")
    return {str(name): _read_gate(str(name), fields) for name, fields in stated.items()}


def _read_gate(name: str, fields: Any) -> Gate:
    if not _NAME.fullmatch(name):
        raise InvalidGates(
            f"gate {name!r}: expected a lowercase letter, then letters, digits, - and _"
        )
    if not isinstance(fields, Mapping):
        raise InvalidGates(f"gate {name}: expected fields, for example {{kind: load}}")
    kind = KINDS.get(str(fields.get("kind", "")))
    if kind is None:
        said = f"unknown kind {fields['kind']!r}" if "kind" in fields else "no kind"
        raise InvalidGates(f"gate {name}: {said}{meant(fields.get('kind', ''), KINDS)}")
    known = ["kind", *(field.encode_name for field in msgspec.structs.fields(kind))]
    for field in fields:
        if field not in known:
            raise InvalidGates(f"gate {name}: unknown field {field!r}{meant(field, known)}")
    try:
        gate = msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise InvalidGates(f"gate {name}: {error}") from None
    limits = _ONE_OF.get(kind, ())
    if limits and all(getattr(gate, limit) is None for limit in limits):
        raise InvalidGates(f"gate {name}: no limit; expected {' or '.join(limits)}")
    if fault := _fault(gate):
        raise InvalidGates(f"gate {name}: {fault}")
    return gate


def _fault(gate: Gate) -> str:
    """Return what is wrong with words in a gate, "" if nothing."""
    metrics = (*METRICS, *RATES) if isinstance(gate, GapGate) else METRICS
    if isinstance(gate, MetricGate | GapGate) and gate.metric not in metrics:
        return f"unknown metric {gate.metric!r}{meant(gate.metric, metrics)}"
    if isinstance(gate, GapGate) and not gate.segment:
        return "no segment; expected the feature whose groups are compared"
    if isinstance(gate, CostGate):
        numbers = [name for name, cost in gate.costs.items() if not isinstance(cost, dict)]
        if numbers and len(numbers) < len(gate.costs):
            return "costs mix numbers and classes; expected one of them"
        for name in numbers:
            if name not in BINARY_COSTS:
                return f"unknown cost {name!r}{meant(name, BINARY_COSTS)}"
    return ""


def kind_of(gate: Gate) -> str:
    """Return the name of a gate's kind."""
    return str(type(gate).__struct_config__.tag)


def meant(word: object, known: Iterable[str]) -> str:
    """Return what a misspelt word probably means, and every word that there is."""
    known = list(known)
    close = get_close_matches(str(word), known, 1)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return f"{hint} expected one of {', '.join(known)}"
