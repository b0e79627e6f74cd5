"""Compute error shares, latency and label delay from a window's counters.

Shares are of the requests that named a version; durations are in seconds.
"""

from collections.abc import Iterable, Mapping

from monitoring.counters.duration_buckets import Counts, quantile
from monitoring.results import Score

FAULTS = ("failed", "expired", "refused")  # outcomes that the service answers for
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
LATENCY = tuple(f"latency_{name}" for name in SHARES)
LABEL_DELAY = tuple(f"label_delay_{name}" for name in SHARES)


def health(events: Mapping[str, int], latency: Counts, label_delay: Counts) -> list[Score]:
    """Return outcomes of requests and delays of answers and labels; nothing if empty."""
    total = sum(events.values())
    if not total:
        return []
    return [
        _share("error_share", events, FAULTS, total),
        _share("invalid_share", events, ("invalid",), total),
        *_quantiles(LATENCY, latency, "no request was answered"),
        *_quantiles(LABEL_DELAY, label_delay, "no label is known"),
    ]


def _share(name: str, events: Mapping[str, int], outcomes: Iterable[str], total: int) -> Score:
    return Score(name=name, value=sum(events.get(outcome, 0) for outcome in outcomes) / total)


def _quantiles(names: Iterable[str], counts: Counts, without: str) -> list[Score]:
    scores = []
    for name, share in zip(names, SHARES.values(), strict=True):
        at = quantile(counts, share)
        scores.append(
            Score(name=name, value=None, note=without)
            if at is None
            else Score(name=name, value=at / 1_000_000)
        )
    return scores
