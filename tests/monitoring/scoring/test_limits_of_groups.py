"""Groups break their rules within the budget by chance, and surely if they should."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace

from monitoring.alarms.budget import level
from monitoring.results import Score
from monitoring.scoring.performance.metrics import (
    LabelledRows,
    classification,
    jackknife_intervals,
    single_metric,
)
from monitoring.scoring.performance.scores import PerformanceScorer
from monitoring.scoring.reference import Baseline
from monitoring.scoring.segments.fairness import GroupRates, Proportion, gaps
from monitoring.scoring.segments.scores import GroupLimits, SegmentScorer
from registry.manifest import MaxGap, SegmentPolicy

pytestmark = pytest.mark.untraced

Draw = Callable[..., pd.DataFrame]
SIZES = (400, 300, 60, 35)


def _limits(baseline: Baseline, groups: Sequence[int], **alarms: object) -> GroupLimits:
    return GroupLimits.of(_asking(baseline, **alarms).manifest, groups)


def _asking(baseline: Baseline, **alarms: object) -> Baseline:
    monitoring = baseline.manifest.monitoring
    alarms = {"max_gap": MaxGap(0.2, 0.2), "min_score": None, **alarms}
    monitoring = replace(
        monitoring, segments=["colour"], alarms=replace(monitoring.alarms, **alarms)
    )
    manifest = replace(baseline.manifest, monitoring=monitoring)
    return Baseline(replace(baseline.version, manifest=manifest))


def _breaches(limits: GroupLimits, rates: Sequence[float], draws: int) -> float:
    """How often groups of these true rates break the limit of the gap."""
    chance, broken = np.random.default_rng(3), 0
    for _ in range(draws):
        reported = {
            f"g{n}": Proportion(int(chance.binomial(size, rate)), size)
            for n, (size, rate) in enumerate(zip(SIZES, rates, strict=True))
        }
        (gap, _) = gaps(
            "c", GroupRates(reported, {}, possible=True), GroupRates({}, {}), *limits.gaps
        )
        broken += gap.breached
    return broken / draws


def test_a_gap_at_its_limit_breaks_its_rule_within_the_budget(
    baseline: Baseline,
) -> None:
    limits = _limits(baseline, [4])
    allowed = level(_asking(baseline).manifest)
    assert _breaches(limits, (0.5, 0.3, 0.4, 0.4), 2_000) <= allowed
    assert _breaches(limits, (0.4, 0.4, 0.3, 0.5), 2_000) <= allowed


def test_random_gaps_between_small_groups_break_no_rule(baseline: Baseline) -> None:
    limits, chance = _limits(baseline, [4]), np.random.default_rng(3)
    apart = [
        np.ptp([chance.binomial(size, 0.4) / size for size in SIZES]) > 0.2 for _ in range(500)
    ]
    assert np.mean(apart) > 0.05  # the plain gap would cry wolf
    assert _breaches(limits, (0.4, 0.4, 0.4, 0.4), 500) == 0


def test_a_much_too_wide_gap_is_detected(baseline: Baseline) -> None:
    assert _breaches(_limits(baseline, [4]), (0.65, 0.3, 0.4, 0.4), 200) > 0.9


def test_more_groups_have_a_wider_limit(baseline: Baseline) -> None:
    few, many = _limits(baseline, [3]), _limits(baseline, [3, 50])
    assert few.gaps[0].errors < many.gaps[0].errors
    assert many.chance < few.chance


@pytest.mark.parametrize(("truth", "most"), [(0.7, 0.05), (0.85, 0.005)])
def test_a_group_at_its_limit_breaks_its_rule_within_the_budget(
    baseline: Baseline, truth: float, most: float
) -> None:
    limits = replace(_limits(baseline, [], min_segment_score=0.7), chance=0.05)
    assert _poor(limits, truth) <= most + 0.02
    assert _poor(limits, 0.4) > 0.9


def _poor(limits: GroupLimits, truth: float) -> float:
    chance, figure, broken = np.random.default_rng(5), single_metric("accuracy", classification), 0
    for _ in range(300):
        actual = chance.integers(0, 2, 80)
        reported = np.where(chance.random(80) < truth, actual, 1 - actual)
        rows = LabelledRows(actual, reported, {}, 1)
        whole = figure(rows)
        low, high = jackknife_intervals(rows, figure, whole, 10)["accuracy"]
        score = Score(
            name="accuracy", value=whole["accuracy"], low=low, high=high, segment="colour=red"
        )
        broken += limits.judged(score, 10).breached
    return broken / 300


def test_an_error_above_its_limit_breaks_its_rule(baseline: Baseline) -> None:
    limits = _limits(baseline, [2], min_segment_score=1.0)
    error = Score(name="mae", value=2.0, low=1.9, high=2.1, segment="colour=red")
    assert limits.judged(error, 10).breached
    assert not limits.judged(replace(error, value=0.5, low=0.4, high=0.6), 10).breached
    unsure = limits.judged(replace(error, low=0.1, high=3.9), 10)
    assert (unsure.breached, unsure.threshold) == (False, 1.0)


def _scored(baseline: Baseline, frame: pd.DataFrame) -> dict[tuple[str, str], Score]:
    scores = SegmentScorer(baseline, PerformanceScorer(baseline)).score(frame, drift=False)
    return {(score.segment, score.name): score for score in scores}


def test_the_groups_of_a_window_are_judged_if_the_policy_requires_it(
    baseline: Baseline, window: Draw
) -> None:
    frame = window()
    swapped = frame["prediction"].where(frame["colour"] != "blue", 0)
    asking = _asking(baseline, min_segment_score=0.5)
    found = _scored(asking, frame.assign(prediction=swapped))
    gap = found["colour", "selection_rate_gap"]
    assert (gap.threshold, gap.breached) == (0.2, True)
    assert "; lower bound 0." in gap.note
    assert gap.note.endswith(" between red and blue")
    assert found["colour", "true_positive_rate_gap"].breached
    assert found["colour=red", "roc_auc"].threshold == 0.5
    assert not found["colour=red", "roc_auc"].breached
    upside_down = frame.assign(label=1 - frame["label"].astype(int))
    assert _scored(asking, upside_down)["colour=red", "roc_auc"].breached


def test_groups_without_enough_rows_are_named_as_not_judged(
    baseline: Baseline, window: Draw
) -> None:
    few = window(colour=["red"] * 1_000)
    gap = _scored(_asking(baseline), few)["colour", "selection_rate_gap"]
    assert (gap.value, gap.threshold, gap.breached) == (None, 0.2, False)
    assert gap.note == "fewer than two groups have 30 rows"


def test_without_a_policy_no_group_is_judged(baseline: Baseline, window: Draw) -> None:
    calm = _asking(baseline, max_gap=MaxGap())
    for score in _scored(calm, window()).values():
        assert score.threshold is None
        assert not score.breached


def test_the_groups_of_every_segment_count(baseline: Baseline) -> None:
    monitoring = replace(
        _asking(baseline).manifest.monitoring,
        segments=["colour", SegmentPolicy("price", edges=[0.0, 1.0])],
    )
    manifest = replace(baseline.manifest, monitoring=monitoring)
    watched = Baseline(replace(baseline.version, manifest=manifest))
    segments = SegmentScorer(watched, PerformanceScorer(watched))
    assert segments.limits == GroupLimits.of(manifest, [2, 3])
