"""Monitor a stream of windows in memory and return its alarms.

Windows are scored and alarms raised by the monitor's own code, without reports and confidence
intervals. All labels are available when their window closes.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import pandas as pd

from monitoring.alarms.alarm_lifecycle import RuleState, judge
from monitoring.alarms.budget import rule_budget, rules
from monitoring.alarms.decision import with_evidence
from monitoring.alarms.evidence import weigh
from monitoring.results import PERFORMANCE, Alarm, Result, Rule, Score, Window
from monitoring.scoring.drift.columns import score_drift
from monitoring.scoring.drift.evidently_adapter import measure
from monitoring.scoring.drift.like_times import LikeTimes
from monitoring.scoring.drift.thresholds import DriftThresholds
from monitoring.scoring.performance.scores import PerformanceScorer
from monitoring.scoring.reference import Baseline, Column

_LARGE = 1_000  # reference rows above which Evidently uses distances
_FEW = 5  # up to this number of distinct values, Evidently treats numbers as categories
_LIMIT = 0.1  # Evidently's threshold of both distances
EVIDENTLY_SHARE = 0.5  # share of drifted columns: default of DataDriftPreset


class WindowOutcome(msgspec.Struct, frozen=True):
    """Results of one window."""

    fired: list[Rule]  # rules whose alarm fired in this window
    broken: bool  # whether this window by itself breaks the drift rule
    drifted: int  # number of columns beyond their threshold
    columns: int
    evidently: int  # number of columns that Evidently reports as drifted by its defaults

    @property
    def preset(self) -> bool:
        """Whether Evidently's preset reports the window as drifted."""
        return self.evidently >= EVIDENTLY_SHARE * self.columns


class StreamMonitor:
    """Monitor of one model version's streams, calibrated once for all streams."""

    def __init__(self, baseline: Baseline, *, labels: bool = True) -> None:
        """Calibrate on the baseline; without `labels`, monitor only drift."""
        self.manifest = baseline.manifest
        self._baseline = baseline
        self._like = LikeTimes(baseline)
        self._performance = PerformanceScorer(baseline) if labels else None
        self.judged: list[Rule] = rules(baseline.manifest) if labels else ["drift"]
        self._policy = baseline.manifest.monitoring.alarms

    def outcomes(
        self, windows: Iterable[tuple[Window, pd.DataFrame]], *, evidently: bool = False
    ) -> Iterator[WindowOutcome]:
        """Yield the result of each window; no alarm is open at the start.

        If `evidently` is true, also compute Evidently's defaults.
        """
        states: dict[Rule, RuleState] = {rule: RuleState() for rule in self.judged}
        alarms_by_id: dict[str, Alarm] = {}
        for times, window in windows:
            result = self._result(times, window)
            if "concept" in states:
                result = self._weighed(result, states)
            fired: list[Rule] = []
            for rule in self.judged:
                before = states[rule]
                shown = _without_label_scores(result) if rule == "estimate" else result
                after, alarm = judge(
                    before, alarms_by_id.get(before.open_alarm), rule, shown, self._policy
                )
                if alarm is not None:
                    alarms_by_id[alarm.alarm_id] = alarm
                if after.open_alarm and not before.open_alarm:
                    fired.append(rule)
                states[rule] = after
            yield self._outcome(window if evidently else None, result.scores, fired)

    def _weighed(self, result: Result, states: dict[Rule, RuleState]) -> Result:
        concept, allowed = states["concept"], rule_budget(self._baseline.manifest)
        weighed = weigh(result.scores, result.window, concept.concept_evidence, allowed)
        states["concept"] = concept.with_evidence(weighed.evidence)
        return with_evidence(result, weighed.newest)

    def _result(self, times: Window, window: pd.DataFrame) -> Result:
        against, thresholds, _ = self._like.of(times)
        scores = score_drift(against, thresholds, window, None)
        if self._performance is not None:
            scores += self._performance.score(window, bands=False)
        return Result(
            model="m",
            version="1",
            window=times,
            rows=len(window),
            labelled=len(window),
            scores=scores,
        )

    @property
    def _whole(self) -> DriftThresholds:
        return self._like.of(Window(0, 1)).thresholds

    def _outcome(
        self, window: pd.DataFrame | None, scores: list[Score], fired: list[Rule]
    ) -> WindowOutcome:
        drift = [score for score in scores if score.name == "drift"]
        whole = ("drifted_share", "strongest_drift", "joint_drift")
        return WindowOutcome(
            fired,
            any(score.breached for score in scores if score.name in whole and score.of_whole),
            sum(score.breached for score in drift),
            len(drift),
            0
            if window is None
            else sum(evidently_drifted(self._baseline, self._whole, window, drift).values()),
        )


def numbered(windows: Iterable[pd.DataFrame]) -> Iterator[tuple[Window, pd.DataFrame]]:
    """Yield windows with consecutive numbers instead of event times."""
    for number, window in enumerate(windows):
        yield Window(number, number + 1), window


def _without_label_scores(result: Result) -> Result:
    """Drop scores that need labels, because the estimate is judged before labels arrive."""
    estimated = [score for score in result.scores if score.name not in PERFORMANCE]
    return msgspec.structs.replace(result, scores=estimated)


def evidently_drifted(
    baseline: Baseline,
    thresholds: DriftThresholds,
    window: pd.DataFrame,
    scores: Sequence[Score] = (),
) -> dict[str, bool]:
    """Return for each column whether DataDriftPreset reports drift by its defaults.

    If Evidently's method equals the method of `scores`, their values are reused.
    """
    found_scores = {score.column: score.value for score in scores if score.name == "drift"}
    return {
        column.name: value >= _LIMIT
        if (value := found_scores.get(column.name)) is not None and _same(thresholds, column)
        else _default(thresholds, column, window)
        for column in baseline.columns
    }


def _same(thresholds: DriftThresholds, column: Column) -> bool:
    """Return whether Evidently would also use a distance, as it does for large references."""
    reference = thresholds.values(column).expected
    return reference.count() > _LARGE and (column.kind == "categorical" or _many(reference))


def _many(values: "pd.Series[Any]") -> bool:
    return values.iloc[: 10 * _FEW].nunique() > _FEW or values.nunique() > _FEW


def _default(thresholds: DriftThresholds, column: Column, window: pd.DataFrame) -> bool:
    categorical = column.kind == "categorical"
    values = thresholds.values(column)
    current, reference = values.current(window[column.stored]).dropna(), values.expected.dropna()
    return measure(None, reference, current, categorical=categorical).drifted
