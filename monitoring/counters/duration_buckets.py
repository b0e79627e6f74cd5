"""Everything that decides how durations are counted lives here.

Buckets are fixed for ever, eight to each doubling, so counts of the same buckets add up: what
several consumers counted of one window is what one of them would have counted of it all, whatever
the order. A quantile read from them is off by a sixteenth at most. Durations are microseconds.
"""

from collections.abc import Mapping, MutableMapping
from math import ceil
from typing import TypeVar

_Key = TypeVar("_Key")
Counts = Mapping[int, int]  # keyed by bucket

_FINE = 3  # bits: eight buckets to a doubling
_PARTS = 1 << _FINE


def count(counts: MutableMapping[int, int], duration: int) -> None:
    """Count one duration; a negative one, of clocks that disagree, counts as none."""
    number = bucket(duration)
    counts[number] = counts.get(number, 0) + 1


def add(counts: MutableMapping[_Key, int], more: Mapping[_Key, int]) -> None:
    """Add counts to other counts, key by key."""
    for key, number in more.items():
        counts[key] = counts.get(key, 0) + number


def bucket(duration: int) -> int:
    """Return the number of the bucket that holds a duration; below 16 µs each has its own."""
    if duration < 2 * _PARTS:
        return max(duration, 0)
    shift = duration.bit_length() - _FINE - 1
    return shift * _PARTS + (duration >> shift)


def middle(number: int) -> float:
    """Return the middle of a bucket; the value itself if it holds one only."""
    if number < 2 * _PARTS:
        return float(number)
    shift, part = divmod(number - _PARTS, _PARTS)
    width = 1 << shift
    return (part + _PARTS) * width + (width - 1) / 2


def quantile(counts: Counts, share: float) -> float | None:
    """Return the duration that `share` of those counted do not exceed; None for none."""
    rank = ceil(share * sum(counts.values()))
    for number in sorted(counts):
        rank -= counts[number]
        if rank <= 0:
            return middle(number)
    return None
