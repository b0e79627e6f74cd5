"""Parse and validate the gates of a release policy.

A release policy stores gates unparsed, so that policies with gates of newer releases stay readable.
Misspelt kinds and fields are refused with a suggestion.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import date
from difflib import get_close_matches
from typing import Any

import msgspec

from registry.errors import InvalidGates
from registry.gates.specification import (
    BINARY_COSTS,
    KINDS,
    METRICS,
    RATES,
    CostGate,
    Costs,
    GapGate,
    Gate,
    MetricGate,
    ReplayGate,
    SizeGate,
    SpeedGate,
)

_NAME = re.compile(r"[a-z][-_a-z0-9]{0,62}")
_MOST_GATES = 50
_ONE_OF: dict[type[Gate], tuple[str, ...]] = {  # without any of these limits, a gate never fails
    SizeGate: ("at_most_mb", "ratio"),
    SpeedGate: (
        "mean_ratio", "p99_ratio", "throughput_ratio", "memory_ratio", "p99_ms", "requests_per_s",
        "resident_mb",
    ),
    MetricGate: ("at_least", "at_most", "worse_by"),
    CostGate: ("at_most", "worse_by"),
    GapGate: ("at_most", "worse_by"),
    ReplayGate: ("agreement", "at_least", "at_most", "worse_by"),
}  # fmt: skip


def read_gates(entries: Mapping[str, Any]) -> dict[str, Gate]:
    """Return the gates by name; raises InvalidGates for the first invalid gate."""
    if len(entries) > _MOST_GATES:
        raise InvalidGates(f"{len(entries)} gates; expected at most {_MOST_GATES}")
    return {str(name): _read_gate(str(name), fields) for name, fields in entries.items()}


def _read_gate(name: str, fields: Any) -> Gate:
    if not _NAME.fullmatch(name):
        raise InvalidGates(
            f"gate {name!r}: expected a lowercase letter, then letters, digits, - and _"
        )
    if not isinstance(fields, Mapping):
        raise InvalidGates(f"gate {name}: expected fields, for example {{kind: load}}")
    kind = KINDS.get(str(fields.get("kind", "")))
    if kind is None:
        reason = f"unknown kind {fields['kind']!r}" if "kind" in fields else "no kind"
        raise InvalidGates(f"gate {name}: {reason}{meant(fields.get('kind', ''), KINDS)}")
    field_names = ["kind", *(field.encode_name for field in msgspec.structs.fields(kind))]
    for field in fields:
        if field not in field_names:
            raise InvalidGates(f"gate {name}: unknown field {field!r}{meant(field, field_names)}")
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
    """Return the fault in a gate's names or combination of fields, or "" if there is none."""
    if isinstance(gate, MetricGate | GapGate) or (isinstance(gate, ReplayGate) and gate.metric):
        metrics = (*METRICS, *RATES) if isinstance(gate, GapGate) else METRICS
        if gate.metric not in metrics:
            return f"unknown metric {gate.metric!r}{meant(gate.metric, metrics)}"
    if isinstance(gate, GapGate) and not gate.segment:
        return "no segment; expected the feature whose groups are compared"
    if isinstance(gate, CostGate):
        return _cost_fault(gate.costs)
    return _replay_fault(gate) if isinstance(gate, ReplayGate) else ""


def _replay_fault(gate: ReplayGate) -> str:
    for day in (gate.first_day, gate.last_day):
        try:
            date.fromisoformat(day or "2000-01-01")
        except ValueError as error:
            return f"{day}: {error}"
    if bool(gate.first_day) != bool(gate.last_day) or gate.first_day > gate.last_day:
        return "expected both first_day and last_day, in this order"
    if gate.metric and gate.costs:
        return "metric and costs; expected one of them"
    limits = (gate.at_least, gate.at_most, gate.worse_by)
    if not gate.metric and not gate.costs and any(limit is not None for limit in limits):
        return "limits need a metric or costs"
    return _cost_fault(gate.costs)


def _cost_fault(costs: Costs) -> str:
    numbers = [name for name, cost in costs.items() if not isinstance(cost, dict)]
    if numbers and len(numbers) < len(costs):
        return "costs mix numbers and classes; expected one of them"
    unknown = [name for name in numbers if name not in BINARY_COSTS]
    return f"unknown cost {unknown[0]!r}{meant(unknown[0], BINARY_COSTS)}" if unknown else ""


def meant(word: object, words: Iterable[str]) -> str:
    """Return a suggestion for a misspelt word, and the allowed words."""
    words = list(words)
    close = get_close_matches(str(word), words, 1)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return f"{hint} expected one of {', '.join(words)}"
