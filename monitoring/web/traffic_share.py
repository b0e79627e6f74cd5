"""The share of a model's requests that each of its versions answered, window by window. Pure."""

from collections.abc import Iterable

from monitoring.results import Result, Window

Mix = dict[str, float]  # share of the requests, by version


def mixes(results: Iterable[Result]) -> dict[tuple[str, Window], Mix]:
    """Return the shares by model and window, if the versions' windows are equal; open ones too."""
    requests: dict[tuple[str, Window], dict[str, int]] = {}
    for result in results:
        reported = requests.setdefault((result.model, result.window), {})
        reported[result.version] = sum(result.events.values())
    return {
        about: {version: count / total for version, count in sorted(reported.items())}
        for about, reported in requests.items()
        if (total := sum(reported.values()))
    }
