"""Measure false alarms of unchanged streams, and detection of planted changes."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
from scipy.stats import binom

from benchmarks.accuracy.changes import Planted
from benchmarks.accuracy.monitor import StreamMonitor, WindowOutcome, numbered
from benchmarks.accuracy.populations import Population, baseline, flights
from monitoring.alarms.budget import false_alarms, rule_budget
from monitoring.results import Rule
from registry.manifest import AlarmPolicy, FalseAlarms, Monitoring, WindowPolicy

BAND = 0.95  # probability that a count is within its band if the alarm rate equals the budget
_BLOCKS = 20  # contiguous blocks of rows in a window of flights


class DriftlessStream(msgspec.Struct, frozen=True):
    """One stream without drift."""

    # "fresh": new rows of the population; "reference": rows drawn from the reference;
    # "flights": blocks of consecutive flights
    source: str
    columns: int
    rows: int  # rows per window
    floor: float  # the policy's `smallest_drift`
    labels: bool = False
    limited: bool = False  # set `min_score` to 1.0, which no model reaches
    references: int = 5
    windows: int = 120  # windows per reference
    reference_rows: int = 5_000
    one_in: int = 20  # false-alarm budget: one alarm in this number of windows


class DriftlessResults(msgspec.Struct, frozen=True):
    """Results of streams without drift."""

    windows: int
    reference: int  # rows of the reference
    alarms: int  # alarms of all rules
    by_rule: dict[Rule, int]
    columns: float  # share of columns beyond their threshold
    budget: tuple[int, int]  # expected band of `alarms`
    rule_budget: tuple[int, int]  # expected band of the alarms of one rule
    evidently: float  # share of windows that Evidently's preset reports as drifted
    evidently_columns: float
    evidently_some: float  # share of windows with a column that Evidently reports as drifted


class DetectionResults(msgspec.Struct, frozen=True):
    """Results of streams with a planted change."""

    power: float  # share of streams with an alarm
    delay: float  # mean number of windows until the alarm, over streams with an alarm
    rules: str  # rules that fired first, most frequent first
    evidently: float  # share of streams with a window that Evidently's preset reports as drifted
    evidently_delay: float


def without_drift(setting: DriftlessStream, seed: int) -> DriftlessResults:
    """Monitor unchanged streams and count their alarms."""
    budget = FalseAlarms(days=1e-6, windows=setting.one_in)
    policy = _policy(setting.floor, budget, min_score=1.0 if setting.limited else None)
    outcomes: list[WindowOutcome] = []
    for number in range(setting.references):
        chance = np.random.default_rng((seed, number))
        reference = _reference(setting, chance)
        with tempfile.TemporaryDirectory() as folder:
            monitor = StreamMonitor(
                baseline(Path(folder), reference, policy), labels=setting.labels
            )
            stream = _stream(setting, reference, chance)
            outcomes += monitor.outcomes(numbered(stream), evidently=setting.source != "reference")
            allowed = false_alarms(policy), rule_budget(monitor.manifest)
    fired = [rule for window in outcomes for rule in window.fired]
    return DriftlessResults(
        windows=len(outcomes),
        reference=len(reference),
        alarms=len(fired),
        by_rule={rule: fired.count(rule) for rule in monitor.judged},
        columns=_mean([window.drifted / window.columns for window in outcomes]),
        budget=_band(len(outcomes), allowed[0]),
        rule_budget=_band(len(outcomes), allowed[1]),
        evidently=_mean([window.preset for window in outcomes]),
        evidently_columns=_mean([window.evidently / window.columns for window in outcomes]),
        evidently_some=_mean([window.evidently > 0 for window in outcomes]),
    )


class Trial(msgspec.Struct, frozen=True):
    """Size and number of the streams with planted changes."""

    rows: int  # rows per window
    columns: int = 10
    streams: int = 8
    windows: int = 8
    seed: int = 20260101


def with_drift(changes: list[Planted], trial: Trial) -> Iterator[tuple[Planted, DetectionResults]]:
    """Monitor streams that contain each change from the start, with the default policy."""
    population, chance = Population(trial.columns), np.random.default_rng(trial.seed)
    with tempfile.TemporaryDirectory() as folder:
        monitors = [
            StreamMonitor(baseline(Path(folder), population.draw(chance, 5_000), _policy(0.1)))
            for _ in range(2)
        ]
        for change in changes:
            streams = [
                _until_alarm(monitors[number % len(monitors)], change, trial, number)
                for number in range(trial.streams)
            ]
            yield change, _detection_results(streams)


def _until_alarm(
    monitor: StreamMonitor, planted: Planted, trial: Trial, number: int
) -> tuple[int, str, int]:
    """Return the first alarm's window and rule, and the first window that Evidently reports.

    Windows count from 1. Without an alarm or report, the values are 0 and "".
    """
    population, chance = Population(trial.columns), np.random.default_rng((trial.seed, number))
    stream = (
        population.draw(chance, trial.rows, planted.change, planted.flipped, planted.lift)
        for _ in range(trial.windows)
    )
    preset = 0
    for window, outcome in enumerate(monitor.outcomes(numbered(stream), evidently=True), 1):
        preset = preset or window * outcome.preset
        if outcome.fired:
            return window, outcome.fired[0], preset
    return 0, "", preset


def _detection_results(streams: list[tuple[int, str, int]]) -> DetectionResults:
    alarms = [alarm for alarm, _, _ in streams if alarm]
    rules = [rule for _, rule, _ in streams if rule]
    called = [preset for _, _, preset in streams if preset]
    return DetectionResults(
        power=len(alarms) / len(streams),
        delay=_mean(alarms),
        rules=", ".join(sorted(set(rules), key=lambda rule: -rules.count(rule))),
        evidently=len(called) / len(streams),
        evidently_delay=_mean(called),
    )


def _policy(
    floor: float, budget: FalseAlarms | None = None, min_score: float | None = None
) -> Monitoring:
    return Monitoring(
        window=WindowPolicy(length=86_400),
        alarms=AlarmPolicy(
            min_rows=1,
            smallest_drift=floor,
            false_alarms=budget or FalseAlarms(),
            min_score=min_score,
        ),
    )


def _reference(setting: DriftlessStream, chance: np.random.Generator) -> pd.DataFrame:
    if setting.source == "flights":
        return flights()
    return Population(setting.columns).draw(chance, setting.reference_rows)


def _stream(
    setting: DriftlessStream, reference: pd.DataFrame, chance: np.random.Generator
) -> Iterator[pd.DataFrame]:
    for _ in range(setting.windows):
        if setting.source == "fresh":
            yield Population(setting.columns).draw(chance, setting.rows)
        elif setting.source == "reference":
            yield reference.iloc[chance.integers(0, len(reference), setting.rows)]
        else:
            size = setting.rows // _BLOCKS
            starts = chance.integers(0, len(reference) - size, _BLOCKS)
            yield reference.iloc[(starts[:, None] + np.arange(size)).ravel()]


def _band(windows: int, chance: float) -> tuple[int, int]:
    low, high = binom.interval(BAND, windows, chance)
    return int(low), int(high)


def _mean(values: list[float] | list[int] | list[bool]) -> float:
    return float(np.mean(values)) if values else float("nan")
