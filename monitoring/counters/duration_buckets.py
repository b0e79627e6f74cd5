"""Count durations in buckets and estimate quantiles from the counts. Durations are microseconds.

The buckets never change: eight for each doubling of the duration. Counts of several consumers
therefore add up to the count of a single consumer, in any order. An estimated quantile is off by
a sixteenth at most.
"""

from collections.abc import Mapping, MutableMapping
from math import ceil
from typing import TypeVar

_Key = TypeVar("_Key")
Counts = Mapping[int, int]  # bucket: number of durations

_FINE = 3  # bits: 2**3 buckets for each doubling
_PARTS = 1 << _FINE


def count(counts: MutableMapping[int, int], duration: int) -> None:
    """Count a duration; a negative duration, from clocks that disagree, counts as 0."""
    number = bucket(duration)
    counts[number] = counts.get(number, 0) + 1


def add(counts: MutableMapping[_Key, int], more: Mapping[_Key, int]) -> None:
    """Add counts to other counts, key by key."""
    for key, number in more.items():
        counts[key] = counts.get(key, 0) + number


def bucket(duration: int) -> int:
    """Return the number of a duration's bucket; a bucket below 16 µs has one duration."""
    if duration < 2 * _PARTS:
        return max(duration, 0)
    shift = duration.bit_length() - _FINE - 1
    return shift * _PARTS + (duration >> shift)


def middle(number: int) -> float:
    """Return the mean of a bucket's shortest and longest duration."""
    if number < 2 * _PARTS:
        return float(number)
    shift, part = divmod(number - _PARTS, _PARTS)
    width = 1 << shift
    return (part + _PARTS) * width + (width - 1) / 2


def quantile(counts: Counts, share: float) -> float | None:
    """Return the duration that `share` of the durations do not exceed, or None without counts."""
    rank = ceil(share * sum(counts.values()))
    for number in sorted(counts):
        rank -= counts[number]
        if rank <= 0:
            return middle(number)
    return None
