"""A stream of windows under watch: the alarms that come of it, through the monitor's own decisions.

Windows are scored by the monitor's own code, without reports and intervals; every label is known
when its window closes.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import pandas as pd

from monitoring.alarms.budget import part, rules
from monitoring.alarms.decision import with_evidence
from monitoring.alarms.evidence import weigh
from monitoring.alarms.rule_state import RuleState, judge
from monitoring.results import PERFORMANCE, Alarm, Result, Rule, Score, Window
from monitoring.scoring.drift.columns import score_drift
from monitoring.scoring.drift.evidently_adapter import measure
from monitoring.scoring.drift.thresholds import DriftThresholds
from monitoring.scoring.performance.scores import PerformanceScorer
from monitoring.scoring.reference import Baseline, Column

_LARGE = 1_000  # rows, from where on Evidently takes distances
_FEW = 5  # values: such numbers are categories to it
_LIMIT = 0.1  # of both distances
EVIDENTLY_SHARE = 0.5  # of the columns: DataDriftPreset's default


class Seen(msgspec.Struct, frozen=True):
    """What a window brought."""

    fired: list[Rule]  # alarms that fired with it
    broken: bool  # the drift rule, by this window alone
    drifted: int  # columns beyond their threshold
    columns: int
    evidently: int  # columns that Evidently calls drifted by its defaults

    @property
    def preset(self) -> bool:
        """Whether Evidently's preset calls the data set drifted."""
        return self.evidently >= EVIDENTLY_SHARE * self.columns


class Watch:
    """One model version; everything is calibrated once and kept between streams."""

    def __init__(self, baseline: Baseline, *, labels: bool = True) -> None:
        """Without `labels` only drift is looked at."""
        self.manifest = baseline.manifest
        self._baseline = baseline
        self._thresholds = DriftThresholds(baseline)
        self._performance = PerformanceScorer(baseline) if labels else None
        self.judged: list[Rule] = rules(baseline.manifest) if labels else ["drift"]
        self._policy = baseline.manifest.monitoring.alarms

    def follow(self, windows: Iterable[pd.DataFrame], *, evidently: bool = False) -> Iterator[Seen]:
        """From a calm beginning through these windows; `evidently`: beside its defaults."""
        states: dict[Rule, RuleState] = {rule: RuleState() for rule in self.judged}
        known: dict[str, Alarm] = {}
        for number, window in enumerate(windows):
            result = self._result(number, window)
            if "concept" in states:
                result = self._weighed(result, states)
            fired: list[Rule] = []
            for rule in self.judged:
                before = states[rule]
                seen = _without_truth(result) if rule == "estimate" else result
                after, alarm = judge(before, known.get(before.open_alarm), rule, seen, self._policy)
                if alarm is not None:
                    known[alarm.alarm_id] = alarm
                if after.open_alarm and not before.open_alarm:
                    fired.append(rule)
                states[rule] = after
            yield self._seen(window if evidently else None, result.scores, fired)

    def _weighed(self, result: Result, states: dict[Rule, RuleState]) -> Result:
        concept, allowed = states["concept"], part(self._baseline.manifest)
        weighed = weigh(result.scores, result.window, concept.concept_evidence, allowed)
        states["concept"] = concept.with_evidence(weighed.evidence)
        return with_evidence(result, weighed.newest)

    def _result(self, number: int, window: pd.DataFrame) -> Result:
        scores = score_drift(self._baseline, self._thresholds, window, None)
        if self._performance is not None:
            scores += self._performance.score(window, bands=False)
        return Result(
            model="m",
            version="1",
            window=Window(number, number + 1),
            rows=len(window),
            labelled=len(window),
            scores=scores,
        )

    def _seen(self, window: pd.DataFrame | None, scores: list[Score], fired: list[Rule]) -> Seen:
        drift = [score for score in scores if score.name == "drift"]
        whole = ("drifted_share", "strongest_drift", "joint_drift")
        return Seen(
            fired,
            any(score.breached for score in scores if score.name in whole and score.of_whole),
            sum(score.breached for score in drift),
            len(drift),
            0
            if window is None
            else sum(evidently_drifted(self._baseline, self._thresholds, window, drift).values()),
        )


def _without_truth(result: Result) -> Result:
    """As the window closed: the estimate is judged then, before labels come."""
    estimated = [score for score in result.scores if score.name not in PERFORMANCE]
    return msgspec.structs.replace(result, scores=estimated)


def evidently_drifted(
    baseline: Baseline,
    thresholds: DriftThresholds,
    window: pd.DataFrame,
    scores: Sequence[Score] = (),
) -> dict[str, bool]:
    """By column: what DataDriftPreset says by its defaults, without making its report.

    Where its method is the one that `scores` were made by, the value is at hand already.
    """
    found_scores = {score.column: score.value for score in scores if score.name == "drift"}
    return {
        column.name: value >= _LIMIT
        if (value := found_scores.get(column.name)) is not None and _same(thresholds, column)
        else _default(thresholds, column, window)
        for column in baseline.columns
    }


def _same(thresholds: DriftThresholds, column: Column) -> bool:
    """Whether Evidently would choose our method: distances, beside a large reference."""
    reference = thresholds.values(column).expected
    return reference.count() > _LARGE and (column.kind == "categorical" or _many(reference))


def _many(values: "pd.Series[Any]") -> bool:
    return values.iloc[: 10 * _FEW].nunique() > _FEW or values.nunique() > _FEW


def _default(thresholds: DriftThresholds, column: Column, window: pd.DataFrame) -> bool:
    categorical = column.kind == "categorical"
    values = thresholds.values(column)
    current, reference = values.current(window[column.stored]).dropna(), values.expected.dropna()
    return measure(None, reference, current, categorical=categorical).drifted
