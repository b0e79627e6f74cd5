"""The share of a model's requests that each version answered, per window. Pure."""

from collections.abc import Iterable

from monitoring.results import Result, Window

RequestShares = dict[str, float]  # share of the requests, by version


def request_shares(results: Iterable[Result]) -> dict[tuple[str, Window], RequestShares]:
    """Return the shares by model and window; only versions with equal windows are combined."""
    requests: dict[tuple[str, Window], dict[str, int]] = {}
    for result in results:
        counts = requests.setdefault((result.model, result.window), {})
        counts[result.version] = sum(result.events.values())
    return {
        key: {version: count / total for version, count in sorted(counts.items())}
        for key, counts in requests.items()
        if (total := sum(counts.values()))
    }
