"""Measure false alarms on unchanged streams of data that are hard to calibrate."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from scipy.stats import binom

from benchmarks.accuracy.changes import moved
from benchmarks.accuracy.measurement import BAND
from benchmarks.accuracy.monitor import Watch
from benchmarks.accuracy.populations import Population, baseline
from monitoring.alarms.budget import level
from registry.manifest import AlarmPolicy, FalseAlarms, Monitoring, WindowPolicy

Draw = Callable[[np.random.Generator, int], dict[str, Any]]  # generator, rows -> features


class Kind(msgspec.Struct, frozen=True):
    """Describe one kind of data and the sizes of reference and windows."""

    name: str
    size: str
    features: Draw
    reference_rows: int = 1_000
    rows: int = 1_000  # rows per window


class Broken(msgspec.Struct, frozen=True):
    """Count the windows that broke the drift rule, with the share that the budget allows."""

    windows: int
    broken: int
    level: float

    @property
    def band(self) -> tuple[int, int]:
        """Return the counts between which `broken` lies if the rate equals the level."""
        low, high = binom.interval(BAND, self.windows, self.level)
        return int(low), int(high)

    @property
    def share(self) -> float:
        """Return the share of windows that broke the rule."""
        return self.broken / self.windows


def kinds() -> list[Kind]:
    """Return every kind of the table."""
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
        *(Kind("units", f"times {scale:g}", _scaled(scale)) for scale in (1e-9, 1e-5, 1e9)),
    ]


def without_change(
    kind: Kind, seed: int, *, references: int = 100, windows: int = 3, one_in: int = 20
) -> Broken:
    """Monitor unchanged streams of a kind, with `smallest_drift: 0`.

    Windows beside one reference share its error: many references with few windows each tell most.
    """
    budget = FalseAlarms(days=1e-6, windows=one_in)
    alarms = AlarmPolicy(min_rows=1, smallest_drift=0.0, false_alarms=budget, consecutive=1)
    policy = Monitoring(window=WindowPolicy(length=86_400), alarms=alarms)
    broken = 0
    for number in range(references):
        chance = np.random.default_rng((seed, number))
        with tempfile.TemporaryDirectory() as folder:
            reference = _answered(chance, kind.features(chance, kind.reference_rows))
            watch = Watch(baseline(Path(folder), reference, policy), labels=False)
            broken += sum(seen.broken for seen in watch.follow(_stream(kind, chance, windows)))
    return Broken(references * windows, broken, level(watch.manifest))


def moved_inputs(by: float, seed: int, *, streams: int = 4, windows: int = 10) -> int:
    """Count concept alarms if numbers move by `by` deviations, but P(label | features) does not.

    Scores then lie outside the range of the reference, so their calibration is extrapolated.
    """
    population, policy = Population(5), Monitoring(window=WindowPolicy(length=86_400))
    alarms = 0
    for number in range(streams):
        chance = np.random.default_rng((seed, number))
        with tempfile.TemporaryDirectory() as folder:
            watch = Watch(baseline(Path(folder), population.draw(chance, 5_000), policy))
            change = moved(by, columns=99)
            stream = (population.draw(chance, 2_000, change) for _ in range(windows))
            alarms += sum("concept" in seen.fired for seen in watch.follow(stream))
    return alarms


def _stream(kind: Kind, chance: np.random.Generator, windows: int) -> Iterator[pd.DataFrame]:
    for _ in range(windows):
        yield _answered(chance, kind.features(chance, kind.rows))


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
        return {f"c{n}": one for n, one in enumerate(names)}

    return draw


def _identifiers(chance: np.random.Generator, rows: int) -> dict[str, Any]:
    return {"id": chance.integers(0, 2**40, rows).astype(str), "x": chance.normal(size=rows)}


_DAY = 200  # rows


def _weekly(chance: np.random.Generator, rows: int) -> dict[str, Any]:
    """Return days in order, or one day of any kind: weekends differ."""
    first = chance.integers(7) if rows <= _DAY else 0
    weekend = (first + np.arange(rows) // _DAY) % 7 >= 5
    moved = 2.0 * weekend
    return {f"x{n}": chance.normal(size=rows) + (moved if n < 2 else 0.0) for n in range(5)}


def _scaled(scale: float) -> Draw:
    def draw(chance: np.random.Generator, rows: int) -> dict[str, Any]:
        return {f"x{n}": scale * chance.normal(size=rows) for n in range(5)}

    return draw
