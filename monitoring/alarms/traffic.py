"""Judge a model's requests in an hour against the same hour of the previous weeks. Pure.

Requests are counted over all versions of a model, so a rollout changes no count. The limits of an
hour follow from the same local hour (`alarms.timezone`) of up to four previous weeks, and from how
much the same hours of different weeks differ in the model's own history:

- The variance of a count's logarithm is `(1 / expected + spread) * (1 + 1 / weeks)`. `1 / expected`
  is the variance of a Poisson count. `spread` is the additional variance found in the history.
- The limit, in standard deviations, follows from the false-alarm budget (budget.py). If the history
  contains enough hours in a row beyond this limit to fire an alarm, the limit is raised to 1.5
  times their smallest deviation (ADR 36).
- A change breaks the rule only if it is also large: at most two thirds of the expected requests,
  or at least twice as many.
- The last 24 hours are judged too, which shows when a model with few requests has stopped. Days
  of 23 or 25 hours are not judged.

Hours that broke their limits are left out of the history. If the same hour broke its limits in two
weeks in a row, it is used again, because it is the model's new normal traffic. If the last 24 hours
are normal, traffic has only moved within the day. An hour that deviates in the same direction on a
fourth day is then compared with the level of the previous three days.
"""

import math
from collections.abc import Iterator, Mapping
from itertools import accumulate
from statistics import NormalDist, median
from typing import Literal, NamedTuple

import msgspec

from monitoring.alarms.budget import hourly_level
from monitoring.alarms.local_hours import LocalHours
from monitoring.results import TRAFFIC, Result, Score, Window
from registry.manifest import AlarmPolicy
from telemetry.clock import HOUR

DAY = 24  # hours
WEEK = 7 * DAY
WEEKS = 4  # weeks of history
_LEAST_WEEKS = 3  # minimum number of previous weeks with a usable count of the hour
_NEW = 2  # an hour that broke its limits in this many weeks in a row is the new normal
_SHIFTED_DAYS = 3  # days in a row with the same deviating hour after which the daily pattern moved
_LESS = 2 / 3  # a decrease is large if at most this share of the expected requests arrived
_MORE = 2.0  # an increase is large if at least this multiple of the expected requests arrived
_MARGIN = 1.5  # ratio of the limit to the largest deviation in the history
_MEDIAN = NormalDist().inv_cdf(0.75) ** 2  # median of the square of a standard normal variable

TrafficState = Literal["learning", "normal", "none", "low", "high"]


class JudgedHour(msgspec.Struct, frozen=True):
    """One hour of a model's requests, with its judgement."""

    requests: int
    state: TrafficState
    expected: float | None = None  # expected requests; None while learning
    low: float | None = None  # requests at or below this limit break the rule; None for no limit
    high: float | None = None  # requests at or above this limit break the rule
    day: bool = False  # whether all numbers refer to the last 24 hours instead of one hour
    minimum: int | None = None  # minimum requests per hour in the policy

    @property
    def broken(self) -> bool:
        """Whether the requests break the rule."""
        return self.state in {"none", "low", "high"}


class TrafficHistory(msgspec.Struct, frozen=True):
    """Requests per hour; an hour is its number since the Unix epoch."""

    first: int  # hour of the first request
    requests: Mapping[int, int]  # hour -> requests; an absent hour had none
    broken: frozenset[int] = frozenset()  # hours that broke their limits


class Calibration(msgspec.Struct, frozen=True):
    """The spread and limit of a model's traffic, for one hour and for 24 hours.

    A spread is the variance in excess of Poisson counts; limits are in standard deviations.
    """

    spread: float
    limit: float
    day_spread: float
    day_limit: float


def calibrate(history: TrafficHistory, hour: int, policy: AlarmPolicy) -> Calibration:
    """Return the calibration from the four weeks before `hour`; it is valid for a day."""
    level, day_level = hourly_level(policy)
    hours = LocalHours(policy.timezone)
    spread, limit = _calibrated(_Series(history, hour, 1, hours), level, policy.consecutive)
    days = _Series(history, hour, DAY, hours)
    return Calibration(spread, limit, *_calibrated(days, day_level, 1))


def is_learning(history: TrafficHistory, hour: int) -> bool:
    """Return whether the history before `hour` is too short for a comparison, in any time zone."""
    return hour - history.first < _NEW * WEEK - DAY


def judge_hour(
    history: TrafficHistory, hour: int, policy: AlarmPolicy, calibration: Calibration | None
) -> JudgedHour:
    """Judge an hour, given the history up to it and the calibration of the start of its day.

    The calibration may be None while `is_learning` is true.
    """
    requests = history.requests.get(hour, 0)
    if policy.min_traffic is not None and requests < policy.min_traffic:
        state: TrafficState = "low" if requests else "none"
        return JudgedHour(requests, state, minimum=policy.min_traffic)
    if calibration is None:
        return JudgedHour(requests, "learning", minimum=policy.min_traffic)
    season = _Season(history, LocalHours(policy.timezone), calibration)
    of_hour = season.judge(hour)
    if of_hour.state == "learning":
        return msgspec.structs.replace(of_hour, minimum=policy.min_traffic)
    of_day = season.judge_day(hour)
    if of_hour.broken and of_day.state == "normal":
        of_hour = season.judge(hour, season.shift(hour, of_hour))
    elif of_day.broken and not of_hour.broken:
        return msgspec.structs.replace(of_day, day=True)
    return msgspec.structs.replace(of_hour, minimum=policy.min_traffic)


def traffic_result(model: str, version: str, hour: int, judged: JudgedHour, policy: str) -> Result:
    """Return a judged hour as a result, which updates the rule's state and is not stored."""
    threshold = judged.low if judged.expected is not None else judged.minimum
    unknown = judged.state == "learning" and judged.minimum is None
    score = Score(
        name=TRAFFIC,
        value=None if unknown else float(judged.requests),
        threshold=judged.high if judged.state == "high" else threshold,
        breached=judged.broken,
        low=judged.low,
        high=judged.high,
        method="day" if judged.day else "hour",
        note="" if judged.expected is None else f"{judged.expected:.1f}",
    )
    window = Window(hour * HOUR, (hour + 1) * HOUR)
    return Result(
        model=model,
        version=version,
        window=window,
        rows=judged.requests,
        scores=[score],
        policy=policy,
    )


class _Series:
    """Sums of requests over `length` hours, for each hour of the four weeks before `hour`."""

    def __init__(self, history: TrafficHistory, hour: int, length: int, local: LocalHours) -> None:
        start = hour - WEEKS * WEEK
        hours = range(start - length + 1, hour)
        counts = (history.requests.get(past_hour, 0) for past_hour in hours)
        sums = list(accumulate(counts, initial=0))
        unusable = [past_hour < history.first or past_hour in history.broken for past_hour in hours]
        gaps = list(accumulate(unusable, initial=0))
        self.values = [
            None if gaps[index + length] - gaps[index] else sums[index + length] - sums[index]
            for index in range(WEEKS * WEEK)
        ]
        if length == DAY:
            for index in range(WEEKS * WEEK):
                if not local.ends_whole_day(start + index):
                    self.values[index] = None
        self._hours_of_week = [local.local(start + index) % WEEK for index in range(WEEKS * WEEK)]

    def past(self) -> Iterator["_PastHour"]:
        """Yield each hour of the history, compared with the same hour of the other weeks."""
        values = self.values
        same: list[list[int]] = [[] for _ in range(WEEK)]
        for index, hour_of_week in enumerate(self._hours_of_week):
            same[hour_of_week].append(index)
        for index, value in enumerate(values):
            if value is None:
                continue
            values_of_others = (
                values[other] for other in same[self._hours_of_week[index]] if other != index
            )
            others = [other for other in values_of_others if other is not None]
            if others:
                expected = _center(others)
                residual = math.log((value + 1) / (expected + 1))
                yield _PastHour(index, value, expected, 1 + 1 / len(others), residual)


class _PastHour(NamedTuple):
    position: int  # number of the hour, counted from the start of the history
    value: int  # requests
    expected: float  # expected requests, from the same hour of the other weeks
    factor: float  # factor that adds the uncertainty of `expected` to the variance
    residual: float  # logarithm of the ratio of the value to the expected value

    @property
    def large(self) -> bool:
        """Whether the deviation is large enough to break the rule."""
        return self.value <= _LESS * self.expected or (
            self.value >= _MORE * self.expected and self.value > 0
        )


def _calibrated(series: _Series, level: float, consecutive: int) -> tuple[float, float]:
    past = list(series.past())
    spread = _spread(past)
    reached = _MARGIN * _largest_run_deviation(past, spread, consecutive)
    return spread, max(NormalDist().inv_cdf(1 - level / 2), reached)


class _Season:
    """The same local hours of the previous weeks, and the limits that follow from them."""

    def __init__(
        self, history: TrafficHistory, local: LocalHours, calibration: Calibration
    ) -> None:
        self._history = history
        self._local = local
        self._calibration = calibration

    def judge(self, hour: int, level: float = 1.0) -> JudgedHour:
        """Judge an hour; its expected requests (plus one) are multiplied by `level`."""
        calibration = self._calibration
        before, value = self._before(hour, 1), _sum(self._history, hour, 1)
        return _judge(value, before, calibration.spread, calibration.limit, level)

    def judge_day(self, hour: int) -> JudgedHour:
        """Judge the 24 hours that end with `hour`."""
        calibration, value = self._calibration, _sum(self._history, hour, DAY)
        if not self._local.ends_whole_day(hour):
            return JudgedHour(value, "learning")
        before = self._before(hour, DAY)
        return _judge(value, before, calibration.day_spread, calibration.day_limit)

    def shift(self, hour: int, judged: JudgedHour) -> float:
        """Return the median factor by which the same hour deviated on the last three days.

        The factor is 1 unless the hour deviated in the same direction on all of these days.
        """
        factors = []
        for day in range(1, _SHIFTED_DAYS + 1):
            before = self._local.earlier(hour, day * DAY)
            if before is None or before < self._history.first:
                return 1.0
            of_day = self.judge(before)
            if not of_day.broken or (of_day.state == "high") != (judged.state == "high"):
                return 1.0
            assert of_day.expected is not None
            factors.append((of_day.requests + 1) / (of_day.expected + 1))
        return median(factors)

    def _before(self, hour: int, length: int) -> list[int]:
        """Return the requests of the same hours in the previous weeks, as far as usable."""
        history = self._history
        weeks = (self._local.earlier(hour, week * WEEK) for week in range(1, WEEKS + 1))
        ends = [end for end in weeks if end is not None and end - length + 1 >= history.first]
        if length == DAY:
            ends = [end for end in ends if self._local.ends_whole_day(end)]
        usable = [end for end in ends if not _has_broken(history, end, length)]
        newest = ends[:_NEW]
        if len(newest) == _NEW and not any(end in usable for end in newest):
            return [_sum(history, end, length) for end in (*newest, newest[0])]
        return [_sum(history, end, length) for end in usable]


def _judge(
    value: int, before: list[int], spread: float, limit: float, level: float = 1.0
) -> JudgedHour:
    if len(before) < _LEAST_WEEKS:
        return JudgedHour(value, "learning")
    expected = max(0.0, (_center(before) + 1) * level - 1) if level != 1 else _center(before)
    factor = 1 + 1 / len(before)
    deviation = limit * math.sqrt((1 / (expected + 1) + spread) * factor)
    low = min(_LESS * expected, (expected + 1) * math.exp(-deviation) - 1)
    high = max(_MORE * expected, (expected + 1) * math.exp(deviation) - 1)
    state: TrafficState = "normal"
    if value <= low:
        state = "low" if value else "none"
    elif value >= high:
        state = "high"
    return JudgedHour(value, state, expected, low if low >= 0 else None, high)


def _has_broken(history: TrafficHistory, end: int, length: int) -> bool:
    broken = history.broken
    return bool(broken) and any(hour in broken for hour in range(end - length + 1, end + 1))


def _sum(history: TrafficHistory, end: int, length: int) -> int:
    return sum(history.requests.get(hour, 0) for hour in range(end - length + 1, end + 1))


def _center(values: list[int]) -> float:
    """Return the mean of up to two values, else the median, which one odd week does not change."""
    return float(median(values)) if len(values) > 2 else sum(values) / len(values)


def _spread(past: list[_PastHour]) -> float:
    """Return the variance in excess of Poisson counts, from the median of the squared residuals."""
    squares = [(hour.residual**2 / hour.factor, 1 / (hour.expected + 1)) for hour in past]
    if not squares:
        return 0.0
    low, high = 0.0, 4.0
    for _ in range(10):
        middle = (low + high) / 2
        if median(square / (poisson + middle) for square, poisson in squares) <= _MEDIAN:
            high = middle
        else:
            low = middle
    return high


def _largest_run_deviation(past: list[_PastHour], spread: float, consecutive: int) -> float:
    """Return the greatest deviation that `consecutive` large changes in a row all reached."""
    run: list[float] = []
    before, reached = past[0] if past else None, 0.0
    for hour in past:
        assert before is not None
        if hour.position != before.position + 1 or (hour.residual > 0) != (before.residual > 0):
            run = []
        before = hour
        if not hour.large:
            run = []
            continue
        variance = (1 / (hour.expected + 1) + spread) * hour.factor
        run.append(abs(hour.residual) / math.sqrt(variance))
        if len(run) >= consecutive:
            reached = max(reached, min(run[-consecutive:]))
    return reached
