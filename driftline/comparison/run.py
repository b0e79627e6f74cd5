"""Compare two versions of a model: find their rows, measure them, and report missing data."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from driftline.comparison.logged_pairs import (
    LoggedSides,
    answered_rows,
    read_sides,
    shadow_pairs,
)
from driftline.comparison.measure import (
    FEWEST,
    Sides,
    agreement_of,
    answers_of,
    calibration_of,
    cost_of,
    groups_of,
    scores_of,
)
from driftline.gates.context import GateContext, NotEnoughData
from driftline.gates.logged_rows import read_logged_rows
from driftline.gates.paired_rows import PairedRows, evaluate
from driftline.logged_events import LogPlace, log_place
from driftline.logged_periods import Period
from eventlog.settings import Home
from monitoring.comparisons import Origin, StoredComparisons, VersionComparison
from registry.errors import UnknownVersion
from registry.gates.specification import CostGate, Costs, ReplayGate
from registry.gates.stated_gates import read_gates
from registry.manifest import Manifest, Version
from registry.outputs import label_output
from registry.settings import open_history
from registry.store import Registry
from telemetry.clock import DAY, now_us

Source = Literal["auto", "shadow", "replay", "canary"]


class ComparisonRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The options of `driftline compare`."""

    model: str
    first: str
    second: str
    source: Source = "auto"
    period: Period = Period(30)
    most: int = 10_000  # maximum number of rows per version


def compare_versions(
    request: ComparisonRequest, progress: Callable[[str], None] = lambda _: None
) -> VersionComparison:
    """Compare two versions and store the result; raises NotEnoughData and RegistryError."""
    home = Home.from_environment()
    registry = Registry(home)
    if request.first == request.second:
        raise UnknownVersion(f"--versions: {request.first} twice; expected two different versions")
    first = registry.version(request.model, request.first)
    second = registry.version(request.model, request.second)
    _require_comparable(first, second)
    progress("reading the log")
    place = log_place(home)
    logged = read_sides(place, first, second, request.period, request.most)
    manifests = {version.number: version.manifest for version in registry.versions(request.model)}
    sides, origin, notes = _sides(place, request, (first, second), logged, manifests)
    costs = _costs(open_history(home).state(request.model).policy.gates)
    comparison = _measured(sides, origin, logged, (first, second), costs, notes, progress)
    StoredComparisons(home.comparisons).add(comparison)
    return comparison


def _require_comparable(first: Version, second: Version) -> None:
    """Raise NotEnoughData unless both versions have the same task and a prediction."""
    for version in (first, second):
        if not label_output(version.manifest.prediction):
            raise NotEnoughData(
                f"version {version.number} of {version.model} predicts neither a class nor a "
                "number: there is nothing to compare"
            )
    if first.manifest.task != second.manifest.task:
        raise NotEnoughData(
            f"version {first.number} is a {first.manifest.task} and version {second.number} a "
            f"{second.manifest.task}: their predictions cannot be compared"
        )


def _sides(
    log: LogPlace,
    request: ComparisonRequest,
    versions: tuple[Version, Version],
    logged: LoggedSides,
    manifests: dict[str, Manifest],
) -> tuple[Sides, Origin, list[str]]:
    """Return rows, their source, and notes about sources without enough rows.

    The source is the requested source or, for "auto", the first source with enough rows.
    """
    first, second = versions
    makers: dict[Origin, Callable[[], Sides]] = {
        "shadow": lambda: Sides.pair(shadow_pairs(log, logged, first, second)),
        "canary": lambda: Sides(
            answered_rows(log, logged, first), answered_rows(log, logged, second), paired=False
        ),
        "replay": lambda: Sides.pair(_replayed(log, request, versions, manifests)),
    }
    notes: list[str] = []
    origins = [origin for origin in makers if request.source in {origin, "auto"}]
    for origin in origins:
        try:
            drawn_sides = makers[origin]()
        except NotEnoughData as error:
            notes.append(f"{origin}: {error}")
            continue
        if (
            request.source == "auto"
            and min(len(drawn_sides.first), len(drawn_sides.second)) < FEWEST
        ):
            notes.append(f"{origin}: fewer than {FEWEST} rows")
            continue
        return drawn_sides, origin, notes
    raise NotEnoughData(
        f"versions {first.number} and {second.number} of {first.model} cannot be compared; "
        + "; ".join(notes)
    )


def _replayed(
    log: LogPlace,
    request: ComparisonRequest,
    versions: tuple[Version, Version],
    manifests: dict[str, Manifest],
) -> PairedRows:
    first, second = versions
    rerun_manifests = {"candidate": second.manifest, "champion": first.manifest}
    rows = read_logged_rows(
        log, request.model, manifests, rerun_manifests, period=request.period, most=request.most
    )
    context = GateContext(second, first, Path(), lambda _: None, log, manifests)
    paired = evaluate(context, rows.frame, rows.labels)
    if paired.champion_predictions is None:
        raise NotEnoughData(paired.no_champion_reason)
    return paired


def _measured(  # noqa: PLR0913, PLR0917  # one argument per part of a comparison
    sides: Sides,
    origin: Origin,
    logged: LoggedSides,
    versions: tuple[Version, Version],
    costs: Costs,
    notes: list[str],
    progress: Callable[[str], None],
) -> VersionComparison:
    first, second = versions
    labelled = sides.labelled()
    counts = [len(sides.first), len(sides.second)]
    labelled_counts = [len(labelled.first), len(labelled.second)]
    progress(f"{counts[1]:,} rows, {labelled_counts[1]:,} of them labelled")
    if min(labelled_counts) < FEWEST:
        notes.append(f"fewer than {FEWEST} labelled rows: no scores")
    calibration = {}
    if min(labelled_counts) >= FEWEST:
        values = labelled.values()
        calibrations = {
            v.number: calibration_of(rows) for v, rows in zip(versions, values, strict=True)
        }
        calibration = {number: bins for number, bins in calibrations.items() if bins}
    return VersionComparison(
        model=first.model,
        first=first.number,
        second=second.number,
        origin=origin,
        created=now_us(),
        period=" to ".join(dict.fromkeys(map(_day, logged.days))),
        rows=counts,
        labelled=labelled_counts,
        agreement=agreement_of(sides.second) if sides.paired else None,
        answers=answers_of(sides.second) if sides.paired else [],
        scores=scores_of(labelled),
        cost=cost_of(labelled, costs),
        groups=list(groups_of(sides)),
        calibration=calibration,
        traffic=logged.traffic,
        notes=notes,
    )


def _costs(fields: dict[str, object]) -> Costs:
    """Return the costs in the release policy's gates, {} if no gate has costs."""
    for gate in read_gates(fields).values():
        if isinstance(gate, CostGate | ReplayGate) and gate.costs:
            return gate.costs
    return {}


def _day(number: int) -> str:
    return f"{datetime.fromtimestamp(number * DAY / 1e6, UTC):%Y-%m-%d}"
