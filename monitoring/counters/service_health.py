"""Compute error shares, latency and label delay from a window's counters.

A share is a fraction of the window's requests. Durations are in seconds.
"""

from collections.abc import Iterable, Mapping

from monitoring.counters.duration_buckets import Counts, quantile
from monitoring.results import Score

FAULTS = ("failed", "expired", "refused")  # outcomes that are the service's fault
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
LATENCY = tuple(f"latency_{name}" for name in SHARES)
LABEL_DELAY = tuple(f"label_delay_{name}" for name in SHARES)


def health(events: Mapping[str, int], latency: Counts, label_delay: Counts) -> list[Score]:
    """Return the scores, or an empty list if the window has no requests."""
    total = sum(events.values())
    if not total:
        return []
    return [
        _share("error_share", events, FAULTS, total),
        _share("invalid_share", events, ("invalid",), total),
        *_quantiles(LATENCY, latency, "no request was answered"),
        *_quantiles(LABEL_DELAY, label_delay, "no label has arrived"),
    ]


def _share(name: str, events: Mapping[str, int], outcomes: Iterable[str], total: int) -> Score:
    return Score(name=name, value=sum(events.get(outcome, 0) for outcome in outcomes) / total)


def _quantiles(names: Iterable[str], counts: Counts, note_if_none: str) -> list[Score]:
    scores = []
    for name, share in zip(names, SHARES.values(), strict=True):
        duration = quantile(counts, share)
        scores.append(
            Score(name=name, value=None, note=note_if_none)
            if duration is None
            else Score(name=name, value=duration / 1_000_000)
        )
    return scores
