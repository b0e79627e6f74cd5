"""Outcomes of gates, the verdict of a run, and its report. Pure."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from registry.history.rows import NO_CHAMPION, GateVerdict


class GateFigure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One measured number with its limit."""

    name: str
    value: float | None
    outcome: GateVerdict
    at_least: float | None = None
    at_most: float | None = None
    low: float | None = None  # bounds of the 95 % interval
    high: float | None = None
    champion: float | None = None  # the champion's value on the same rows
    group: str = ""
    rows: int = 0
    note: str = ""


class GateOutcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """The outcome of one gate."""

    name: str
    kind: str
    outcome: GateVerdict
    reason: str = ""
    figures: list[GateFigure] = []
    examples: list[dict[str, Any]] = []  # rows to inspect, such as the worst disagreements
    blocking: bool = True
    against_champion: bool = False  # whether the version was compared with the champion
    seconds: float = 0.0


class Champion(msgspec.Struct, frozen=True):
    """The version that a run compared the candidate with."""

    number: str
    digest: str


class GateReport(msgspec.Struct, frozen=True):
    """The outcomes of all gates of a version in one run."""

    model: str
    number: str
    digest: str  # digest of the version's content
    policy: int  # revision of the release policy
    verdict: GateVerdict
    gates: list[GateOutcome]
    champion: Champion | None
    started: int  # microseconds since the epoch
    ended: int
    actor: str

    @property
    def compared_with(self) -> str:
        """Return the champion's digest, NO_CHAMPION without champion, or "" without comparison."""
        if not any(gate.against_champion for gate in self.gates):
            return ""
        return NO_CHAMPION if self.champion is None else self.champion.digest


def verdict_of(outcomes: Collection[GateOutcome], required: Mapping[str, bool]) -> GateVerdict:
    """Return the verdict of a run; `required` states by name whether each gate is blocking.

    A blocking gate without outcome counts as failed, because its run was interrupted.
    """
    by_name = {outcome.name: outcome.outcome for outcome in outcomes}
    return worst([by_name.get(name, "failed") for name, blocking in required.items() if blocking])


def worst(outcomes: Sequence[GateVerdict]) -> GateVerdict:
    """Return the worst outcome, or `passed` if there is no outcome."""
    order: tuple[GateVerdict, ...] = ("failed", "not enough data")
    return next((outcome for outcome in order if outcome in outcomes), "passed")


def of_figures(figures: Sequence[GateFigure]) -> GateVerdict:
    """Return the outcome of a gate from its figures.

    Groups with too few rows are ignored if other groups have enough rows. Without any judged
    figure, the outcome is "not enough data".
    """
    judged = [
        figure.outcome
        for figure in figures
        if not (figure.group and figure.outcome == "not enough data" and figure.value is None)
    ]
    return worst(judged) if judged else "not enough data"


def at_most(
    name: str, value: float | None, limit: float | None, *, note: str = "", **more: Any
) -> GateFigure:
    """Judge a figure by its upper limit."""
    outcome: GateVerdict = "passed"
    if value is None or value != value:  # noqa: PLR0124  # true for NaN
        value, outcome = None, "not enough data"
    elif limit is not None and value > limit:
        outcome = "failed"
    return GateFigure(name, value, outcome, at_most=limit, note=note, **more)


def encode_report(report: GateReport) -> bytes:
    """Encode a report for storage."""
    return msgspec.json.format(msgspec.json.encode(report), indent=1)


def report_digest(stored: bytes) -> str:
    """Return the digest of a stored report, in hex."""
    return hashlib.sha256(stored).hexdigest()
