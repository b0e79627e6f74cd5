"""Measure false alarms on unchanged streams of data that is hard to calibrate."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from msgspec.structs import replace
from scipy.stats import binom

from benchmarks.accuracy.changes import moved
from benchmarks.accuracy.measurement import BAND
from benchmarks.accuracy.monitor import StreamMonitor, numbered
from benchmarks.accuracy.populations import Population, baseline
from monitoring.alarms.budget import level
from monitoring.results import Window
from registry.manifest import AlarmPolicy, FalseAlarms, Monitoring, WindowPolicy
from registry.own_columns import TIME
from telemetry.clock import DAY

Draw = Callable[[np.random.Generator, int], dict[str, Any]]  # generator, rows -> features


class Kind(msgspec.Struct, frozen=True):
    """One kind of data, with the sizes of reference and windows."""

    name: str
    size: str
    features: Draw
    reference_rows: int = 1_000
    rows: int = 1_000  # rows per window


class Broken(msgspec.Struct, frozen=True):
    """Number of windows that broke the drift rule, and the share that the budget allows."""

    windows: int
    broken: int
    level: float

    @property
    def band(self) -> tuple[int, int]:
        """Return the band that contains `broken` if the rate equals the level."""
        low, high = binom.interval(BAND, self.windows, self.level)
        return int(low), int(high)

    @property
    def share(self) -> float:
        """Return the share of windows that broke the rule."""
        return self.broken / self.windows


def kinds() -> list[Kind]:
    """Return all kinds of data."""
    return [
        *(
            Kind("independent columns", f"{columns} columns", _independent(columns), rows, window)
            for columns, rows, window in (
                (5, 169, 500),
                (20, 1_000, 1_000),
                (30, 169, 500),
                (30, 1_000, 200),
                (60, 2_000, 1_000),
            )
        ),
        *(
            Kind("categories, all alike", f"{levels:,}", _alike(levels), 5_000)
            for levels in (50, 400, 1_000, 10_000)
        ),
        *(
            Kind("categories, few frequent", f"{levels:,}", _few_frequent(levels), 5_000)
            for levels in (400, 10_000)
        ),
        Kind("identifiers", "one a row", _identifiers),
        Kind("weekly season", "weekends + 2 sd", _weekly, 28 * _DAY, _DAY),
        *seasons(),
        *(Kind("units", f"times {scale:g}", _scaled(scale)) for scale in (1e-9, 1e-5, 1e9)),
    ]


class Season(msgspec.Struct, frozen=True):
    """A stream whose values depend on the time. Rows are evenly spaced in time before thinning.

    Amounts are in standard deviations of a row.
    """

    weekend: float = 0.0
    night: float = 0.0
    by_day: float = 0.0  # variation of a level that all rows of a day share
    trend: float = 0.0  # change over the whole reference
    shuffled: bool = False  # whether the reference's rows are in random order
    kept: float = 1.0  # share of the reference's rows that remain after thinning

    def rows(self, chance: np.random.Generator, times: Any) -> dict[str, Any]:
        """Return five features at these times; two of them follow the season."""
        days, at = np.unique(times // DAY, return_inverse=True)
        moved = (
            self.weekend * ((times // DAY + 3) % 7 >= 5)
            + self.night * (times % DAY < DAY // 4)
            + (self.by_day * chance.normal(size=len(days)))[at]
        )
        return {
            f"x{n}": chance.normal(size=len(times)) + (moved if n < 2 else 0.0) for n in range(5)
        } | {TIME: times}


class SeasonKind(Kind, frozen=True, kw_only=True):
    """A kind of data with event times and windows of a fixed length."""

    season: Season
    days: int
    length: int  # length of a window in microseconds

    def reference(self, chance: np.random.Generator) -> dict[str, Any]:
        """Return the rows of a reference, in the order of registration."""
        rows = round(self.days * DAY / self.length) * self.rows
        times = _START + np.arange(rows) * (self.length // self.rows)
        frame = pd.DataFrame(self.season.rows(chance, times))
        frame["x0"] += self.season.trend * np.linspace(0, 1, rows)
        if self.season.kept < 1 or self.season.shuffled:
            frame = frame.sample(frac=self.season.kept, random_state=int(chance.integers(2**31)))
            frame = frame if self.season.shuffled else frame.sort_index()
        return {str(name): frame[name].to_numpy() for name in frame}

    def window(self, chance: np.random.Generator) -> tuple[Window, dict[str, Any]]:
        """Return a random window of the four weeks that begin a week after the reference."""
        count = 28 * DAY // self.length
        start = _START + (self.days + 7) * DAY + int(chance.integers(count)) * self.length
        times = start + np.arange(self.rows) * (self.length // self.rows)
        rows = self.season.rows(chance, times)
        rows["x0"] = rows["x0"] + self.season.trend
        return Window(start, start + self.length), rows


_START = 1_704_067_200_000_000  # Monday, 2024-01-01
_HOUR = DAY // 24


def seasons() -> list[Kind]:
    """Return the kinds of data with seasons in event time."""
    week, hours = Season(weekend=2.0), Season(weekend=1.0, night=2.0)
    of = [
        ("weekends + 2 sd, daily windows", week, 35, DAY, 200),
        ("the same, rows in no order", replace(week, shuffled=True), 35, DAY, 200),
        ("the same, every fourth row kept", replace(week, kept=0.25), 70, DAY, 200),
        ("the same, two weeks", week, 14, DAY, 200),
        ("the same, days differ by 0.5 sd", replace(week, by_day=0.5), 35, DAY, 200),
        ("nights + 2 sd, hourly windows", Season(night=2.0), 21, _HOUR, 60),
        ("nights and weekends, hourly windows", hours, 35, _HOUR, 60),
        ("nights and weekends, 6 hours", hours, 35, 6 * _HOUR, 200),
        ("none", Season(), 35, DAY, 200),
        ("none, but a trend of 1 sd", Season(trend=1.0), 35, DAY, 200),
    ]
    return [
        SeasonKind(
            "season in event time", size, _independent(1), rows=rows, season=season, days=days,
            length=length,
        )
        for size, season, days, length, rows in of
    ]  # fmt: skip


def without_change(
    kind: Kind, seed: int, *, references: int = 100, windows: int = 3, one_in: int = 20
) -> Broken:
    """Monitor unchanged streams of a kind, with `smallest_drift: 0`.

    All windows of one reference share its sampling error, so use many references with few windows.
    """
    budget = FalseAlarms(days=1e-6, windows=one_in)
    alarms = AlarmPolicy(min_rows=1, smallest_drift=0.0, false_alarms=budget, consecutive=1)
    length = kind.length if isinstance(kind, SeasonKind) else DAY
    policy = Monitoring(window=WindowPolicy(length=length // 1_000_000), alarms=alarms)
    broken = 0
    for number in range(references):
        chance = np.random.default_rng((seed, number))
        with tempfile.TemporaryDirectory() as folder:
            monitor = StreamMonitor(
                baseline(Path(folder), _reference(kind, chance), policy), labels=False
            )
            broken += sum(
                outcome.broken for outcome in monitor.outcomes(_stream(kind, chance, windows))
            )
    return Broken(references * windows, broken, level(monitor.manifest))


def moved_inputs(by: float, seed: int, *, streams: int = 4, windows: int = 10) -> int:
    """Count concept alarms if numbers move by `by` deviations but P(label | features) does not.

    Scores are then outside the reference's range, so their calibration is extrapolated.
    """
    population, policy = Population(5), Monitoring(window=WindowPolicy(length=86_400))
    alarms = 0
    for number in range(streams):
        chance = np.random.default_rng((seed, number))
        with tempfile.TemporaryDirectory() as folder:
            monitor = StreamMonitor(baseline(Path(folder), population.draw(chance, 5_000), policy))
            change = moved(by, columns=99)
            stream = (population.draw(chance, 2_000, change) for _ in range(windows))
            alarms += sum(
                "concept" in outcome.fired for outcome in monitor.outcomes(numbered(stream))
            )
    return alarms


def _reference(kind: Kind, chance: np.random.Generator) -> pd.DataFrame:
    if isinstance(kind, SeasonKind):
        return _answered(chance, kind.reference(chance))
    return _answered(chance, kind.features(chance, kind.reference_rows))


def _stream(
    kind: Kind, chance: np.random.Generator, windows: int
) -> Iterator[tuple[Window, pd.DataFrame]]:
    for number in range(windows):
        if isinstance(kind, SeasonKind):
            window, features = kind.window(chance)
            yield window, _answered(chance, features)
        else:
            yield Window(number, number + 1), _answered(chance, kind.features(chance, kind.rows))


def _answered(chance: np.random.Generator, features: dict[str, Any]) -> pd.DataFrame:
    """Add predictions and labels that do not depend on the features."""
    frame = pd.DataFrame(features)
    p = chance.beta(2, 2, len(frame))
    return frame.assign(
        prediction=(p > 0.5).astype(int),
        probability_0=1 - p,
        probability_1=p,
        label=(chance.random(len(frame)) < p).astype(int),
    )


def _independent(columns: int) -> Draw:
    def draw(chance: np.random.Generator, rows: int) -> dict[str, Any]:
        return {f"x{place}": chance.normal(size=rows) for place in range(columns)}

    return draw


def _alike(levels: int) -> Draw:
    def draw(chance: np.random.Generator, rows: int) -> dict[str, Any]:
        return {f"c{n}": chance.integers(0, levels, rows).astype(str) for n in range(3)}

    return draw


def _few_frequent(levels: int) -> Draw:
    weights = 1 / np.arange(1, levels + 1)

    def draw(chance: np.random.Generator, rows: int) -> dict[str, Any]:
        names = chance.choice(levels, (3, rows), p=weights / weights.sum()).astype(str)
        return {f"c{n}": code for n, code in enumerate(names)}

    return draw


def _identifiers(chance: np.random.Generator, rows: int) -> dict[str, Any]:
    return {"id": chance.integers(0, 2**40, rows).astype(str), "x": chance.normal(size=rows)}


_DAY = 200  # rows


def _weekly(chance: np.random.Generator, rows: int) -> dict[str, Any]:
    """Return consecutive days, or one random day of the week; weekends differ."""
    first = chance.integers(7) if rows <= _DAY else 0
    weekend = (first + np.arange(rows) // _DAY) % 7 >= 5
    moved = 2.0 * weekend
    return {f"x{n}": chance.normal(size=rows) + (moved if n < 2 else 0.0) for n in range(5)}


def _scaled(scale: float) -> Draw:
    def draw(chance: np.random.Generator, rows: int) -> dict[str, Any]:
        return {f"x{n}": scale * chance.normal(size=rows) for n in range(5)}

    return draw
