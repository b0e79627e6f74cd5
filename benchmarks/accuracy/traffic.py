"""Measure false alarms and delays of the traffic rule: `python -m benchmarks.accuracy.traffic`.

Streams of hourly counts have a daily pattern and weekends. The counts are Poisson or more variable.
The monitor's own code judges them. Without a change, every alarm is false. The other streams stop,
halve or triple at a random hour after the history is complete.
"""

import argparse
from collections.abc import Iterator
from math import pi, sin
from statistics import median

import msgspec
import numpy as np

from monitoring.alarms.traffic import DAY, WEEK, Calibration, TrafficHistory, calibrate, judge_hour
from registry.manifest import AlarmPolicy

_HISTORY = 4 * WEEK + 3 * DAY
_WATCHED = 4 * WEEK  # hours after the history
_HOURS_OF_MONTH = 30 * DAY


class RequestRate(msgspec.Struct, frozen=True):
    """The mean number of requests in an hour, and its variation."""

    name: str
    mean: float
    swing: float = 0.9  # amplitude of the daily pattern, as a share of the mean
    weekend: float = 0.4  # traffic of a weekend day, as a share of a weekday
    hours: float = 0.0  # variance of a random factor per hour; 0: Poisson counts
    days: float = 0.0  # variance of a random factor per day


TRAFFIC = [
    RequestRate("steady, Poisson, 2 an hour", 2, swing=0, weekend=1),
    RequestRate("day and night, Poisson, 1 an hour", 1),
    RequestRate("day and night, Poisson, 100 an hour", 100),
    RequestRate("hours vary by 30 %, 100 an hour", 100, hours=0.1),
    RequestRate("days vary by 22 %, 100 an hour", 100, days=0.05),
    RequestRate("hours by 30 %, days by 22 %, 1,000 an hour", 1_000, hours=0.1, days=0.05),
    RequestRate("hours by 58 %, days by 30 %, 50 an hour", 50, hours=1 / 3, days=0.1),
]
CHANGES = {"stopped": 0.0, "halved": 0.5, "tripled": 3.0}


class Onset(msgspec.Struct, frozen=True):
    """An alarm that fires at the end of an hour."""

    hour: int
    state: str


def counts(
    traffic: RequestRate, hours: int, rng: np.random.Generator, *, change: float = 1.0, at: int = 0
) -> Iterator[int]:
    """Yield hourly request counts; from hour `at` on, their mean is multiplied by `change`."""
    day = 1.0
    for hour in range(hours):
        if hour % DAY == 0 and traffic.days:
            day = rng.gamma(1 / traffic.days, traffic.days)
        mean = traffic.mean * (1 + traffic.swing * sin(2 * pi * (hour % DAY - 8) / DAY)) * day
        if hour // DAY % 7 >= 5:  # Saturday and Sunday
            mean *= traffic.weekend
        if traffic.hours:
            mean *= rng.gamma(1 / traffic.hours, traffic.hours)
        yield int(rng.poisson(mean * (change if hour >= at else 1.0)))


def alarms(stream: Iterator[int], policy: AlarmPolicy) -> Iterator[Onset]:
    """Yield the alarms of a stream, with the rule's hysteresis."""
    requests: dict[int, int] = {}
    broken: set[int] = set()
    calibration: Calibration | None = None
    in_a_row = within = 0
    firing = False
    for hour, count in enumerate(stream):
        requests[hour] = count
        requests.pop(hour - _HISTORY, None)
        history = TrafficHistory(0, requests, frozenset(broken))
        if hour % DAY == 0 or calibration is None:
            calibration = calibrate(history, hour, policy)
        judged = judge_hour(history, hour, policy, calibration)
        if judged.state == "learning":
            continue
        if judged.broken:
            broken.add(hour)
        in_a_row, within = (in_a_row + 1, 0) if judged.broken else (0, within + 1)
        if not firing and in_a_row >= policy.consecutive:
            yield Onset(hour, judged.state)
        firing = in_a_row >= policy.consecutive or (firing and within < policy.consecutive)


def false_alarms(traffic: RequestRate, streams: int, weeks: int, seed: int) -> tuple[int, float]:
    """Return the number of alarms and the number of 30-day months."""
    rng = np.random.default_rng(seed)
    policy, hours = AlarmPolicy(), weeks * WEEK
    false_alarms_count = sum(
        1 for _ in range(streams) for _ in alarms(counts(traffic, hours, rng), policy)
    )
    return false_alarms_count, streams * (hours - 2 * WEEK) / _HOURS_OF_MONTH


def delays(traffic: RequestRate, change: float, streams: int, seed: int) -> list[float]:
    """Return the hours from each change to its alarm; infinity if there is none."""
    rng = np.random.default_rng(seed)
    hours_to_alarm = []
    for _ in range(streams):
        at = _HISTORY + int(rng.integers(WEEK))
        stream = counts(traffic, at + WEEK, rng, change=change, at=at)
        onsets = (hour.hour + 1 - at for hour in alarms(stream, AlarmPolicy()) if hour.hour >= at)
        hours_to_alarm.append(float(next(onsets, np.inf)))
    return hours_to_alarm


def main() -> None:
    """Print the tables of docs/accuracy.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--weeks", type=int, default=26)
    parser.add_argument("--seed", type=int, default=20260101)
    options = parser.parse_args()
    print("| traffic | false alarms in 30 days | stopped | halved | tripled |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for number, traffic in enumerate(TRAFFIC):
        alarmed, months = false_alarms(
            traffic, options.streams, options.weeks, options.seed + number
        )
        shown = [f"{alarmed / months:.2f} ({alarmed} in {months:.0f})"]
        for change in CHANGES.values():
            hours_to_alarm = delays(traffic, change, options.streams, options.seed + number)
            late = sum(delay > 0.9 * WEEK for delay in hours_to_alarm)
            shown.append(f"{median(hours_to_alarm):.0f} h" + (f", {late} never" if late else ""))
        print(f"| {traffic.name} | {' | '.join(shown)} |", flush=True)


if __name__ == "__main__":
    main()
