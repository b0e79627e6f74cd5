"""Sentences about a model's requests in the newest judged hour, and the expected requests."""

from monitoring.alarms.traffic import WEEKS, JudgedHour
from monitoring.presenter.formats import number, several

_STATES = {
    "learning": "learning",
    "normal": "as usual",
    "none": "no traffic",
    "low": "low",
    "high": "high",
}


def traffic_state(judged: JudgedHour) -> str:
    """Return the traffic's state in a few words."""
    if judged.state == "learning" and judged.minimum is not None:
        return "above the minimum"
    return _STATES[judged.state]


def traffic_sentence(judged: JudgedHour) -> str:
    """Return the requests of the newest hour, the expected requests and the limits."""
    span = "24 hours" if judged.day else "hour"
    volume = f"{several(judged.requests, 'request')} in the last {span}"
    limit = judged.minimum
    minimum = "" if limit is None else f" The policy's minimum is {number(limit)}."
    if judged.state == "learning":
        return f"{volume}. The usual traffic is known after 3 of the last {WEEKS} weeks.{minimum}"
    if judged.expected is None:
        return f"{volume}.{minimum}"
    low = "" if judged.low is None else f", {max(0, int(judged.low)):,} or fewer are an alarm"
    high = "" if judged.high is None else f", {int(-(-judged.high // 1)):,} or more are an alarm"
    return f"{volume}; about {judged.expected:,.0f} are expected{low}{high}.{minimum}"
