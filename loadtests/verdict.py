"""Judge the results of a load against its objectives. All functions are pure.

If an objective is missed while the generator was overloaded, the result is inconclusive.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum

import msgspec

_BUSY = 0.85  # share of a core above which the generator distorts latencies
_LATE_MS = 10.0  # event-loop delay of the generator above which it distorts latencies


class Outcome(IntEnum):
    """The exit status of a load."""

    MET = 0
    MISSED = 1
    UNUSABLE = 2  # the load could not run
    INCONCLUSIVE = 3  # an objective was missed, but the generator was the bottleneck


class Objectives(msgspec.Struct, frozen=True):
    """The service's objectives."""

    p99_ms: float
    max_error_share: float


class ClientMeasurements(msgspec.Struct, frozen=True):
    """The clients' measurements; the latencies include answered and failed predictions."""

    requests: int  # all requests, including refused ones
    failed: int
    refused: int  # by 429, 503, RESOURCE_EXHAUSTED or UNAVAILABLE; 0 unless the shape is `overload`
    seconds: float
    p50_ms: float  # whole milliseconds
    p99_ms: float  # whole milliseconds
    mean_ms: float = 0.0


class Generator(msgspec.Struct, frozen=True):
    """The load of one generator process, or the maximum of all processes."""

    cpu: float  # share of one core
    late_ms: float  # p95 delay of the process's event loop

    @property
    def bottleneck(self) -> bool:
        """Return whether the generator, not the service, may have limited the results."""
        return self.cpu > _BUSY or self.late_ms > _LATE_MS


class Measurements(msgspec.Struct, frozen=True):
    """All measurements of a load, for `--measurements`."""

    seen: ClientMeasurements
    generators: list[Generator]

    @property
    def per_second(self) -> float:
        """Return the answered requests per second."""
        answered = self.seen.requests - self.seen.failed - self.seen.refused
        return answered / self.seen.seconds if self.seen.seconds else 0.0

    @property
    def bottleneck(self) -> bool:
        """Return whether a generator may have limited the results."""
        return any(generator.bottleneck for generator in self.generators)


class LoadVerdict(msgspec.Struct, frozen=True):
    """The outcome and the lines that explain it."""

    outcome: Outcome
    lines: list[str]

    def __str__(self) -> str:
        """Return the lines as one text."""
        return "\n".join(self.lines)


def judge(objectives: Objectives, results: ClientMeasurements, generator: Generator) -> LoadVerdict:
    """Return the verdict; a load without requests misses every objective."""
    share = results.failed / results.requests if results.requests else 1.0
    met = {
        f"p99 at most {objectives.p99_ms:g} ms: {results.p99_ms:g} ms": (
            results.p99_ms <= objectives.p99_ms
        ),
        f"failed at most {objectives.max_error_share:.2%}: {share:.2%}": (
            share <= objectives.max_error_share
        ),
    }
    answered = results.requests - results.failed - results.refused
    if answered == 0:
        met["at least one request answered: none"] = False
    outcome = Outcome.MET if all(met.values()) else Outcome.MISSED
    if outcome == Outcome.MISSED and generator.bottleneck and answered:
        outcome = Outcome.INCONCLUSIVE
    rate = answered / results.seconds if results.seconds else 0.0
    counted = (
        f"{answered:,} requests answered in {results.seconds:.0f} s ({rate:,.0f}/s), "
        f"{results.failed:,} failed, {results.refused:,} refused; "
        f"predictions p50 {results.p50_ms:g} ms"
    )
    return LoadVerdict(
        outcome,
        [
            counted,
            *(f"{'met   ' if is_met else 'MISSED'}  {text}" for text, is_met in met.items()),
            _describe(generator),
            f"verdict: {outcome.name.lower()}",
        ],
    )


def quantile(counts: Sequence[Mapping[int, int]], share: float) -> float:
    """Return a quantile in milliseconds; `counts` are numbers of requests by milliseconds."""
    merged: dict[int, int] = {}
    for part in counts:
        for latency, count in part.items():
            merged[latency] = merged.get(latency, 0) + count
    rank, passed = share * sum(merged.values()), 0
    for latency in sorted(merged):
        passed += merged[latency]
        if passed >= rank:
            return float(latency)
    return 0.0


def _describe(generator: Generator) -> str:
    summary = (
        f"the generator used {generator.cpu:.0%} of a core; its event loop was late by "
        f"{generator.late_ms:.0f} ms (p95)"
    )
    if not generator.bottleneck:
        return summary
    return (
        f"{summary}: IT WAS THE BOTTLENECK. The service is faster than these figures show; "
        "use fewer users, a lower --rate, or more --processes"
    )
