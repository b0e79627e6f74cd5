"""Figures of a window's groups, gaps between groups, and the reasons for missing figures."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, roc_auc_score

from monitoring.counters.plain_values import category
from monitoring.results import Score
from monitoring.scoring.feature_values import categories
from monitoring.scoring.performance.metrics import (
    LabelledRows,
    classification,
    roc_auc,
    single_metric,
)
from monitoring.scoring.performance.scores import PerformanceScorer
from monitoring.scoring.reference import Baseline
from monitoring.scoring.segments.fairness import Proportion, difference
from monitoring.scoring.segments.scores import SegmentScorer
from registry.errors import InvalidManifest
from registry.manifest import SegmentPolicy
from registry.validation import check_segments

pytestmark = pytest.mark.untraced

Draw = Callable[..., pd.DataFrame]


def _watched(baseline: Baseline, *segments: str | SegmentPolicy, **changes: Any) -> Baseline:
    manifest = baseline.manifest
    monitoring = replace(manifest.monitoring, segments=list(segments))
    manifest = replace(manifest, monitoring=monitoring, **changes)
    return Baseline(replace(baseline.version, manifest=manifest))


def _scored(
    baseline: Baseline, frame: pd.DataFrame, *segments: str | SegmentPolicy
) -> dict[tuple[str, str], Score]:
    watched = _watched(baseline, *segments)
    scores = SegmentScorer(watched, PerformanceScorer(watched)).score(frame, drift=True)
    found = {(score.segment, score.name): score for score in scores}
    assert len(found) == len(scores)
    return found


def test_the_figures_of_a_group_equal_figures_of_its_rows(baseline: Baseline, window: Draw) -> None:
    frame = window()
    found = _scored(baseline, frame, "colour")
    red = frame[frame["colour"] == "red"]
    assert found["colour=red", "rows"].value == len(red)
    assert found["colour=red", "selection_rate"].value == pytest.approx(
        (red["prediction"] == 1).mean()
    )
    mean = red["probability_1"].astype(float).mean()
    assert found["colour=red", "mean_prediction"].value == pytest.approx(mean)
    truth, reported = red["label"].astype(int), red["probability_1"].astype(float)
    score = found["colour=red", "roc_auc"]
    assert score.value == pytest.approx(roc_auc_score(truth, reported))
    assert score.low is not None
    assert score.high is not None
    assert score.low < score.value < score.high  # type: ignore[operator]
    accuracy = found["colour=red", "accuracy"]
    assert accuracy.value == pytest.approx((truth == red["prediction"].astype(int)).mean())
    assert accuracy.threshold is None, "only the policy's score is limited"
    assert {"f1", "log_loss", "brier"} <= {name for group, name in found if group == "colour=red"}
    estimate = found["colour=red", "estimated_roc_auc"]
    assert estimate.value == pytest.approx(score.value, abs=0.05)
    hits = red[truth == 1]["prediction"] == 1
    assert found["colour=red", "true_positive_rate"].value == pytest.approx(hits.mean())
    nothing = found["colour=(missing)", "rows"]
    assert nothing.value == frame["colour"].isna().sum()
    assert ("colour=(other)", "rows") not in found


def test_a_groups_accuracy_differs_from_the_whole_windows(baseline: Baseline, window: Draw) -> None:
    frame = window()
    wrong = frame["label"].where(frame["colour"] != "blue", 1 - frame["prediction"].astype(int))
    alarms = replace(baseline.manifest.monitoring.alarms, score="accuracy", min_score=None)
    monitoring = replace(baseline.manifest.monitoring, alarms=alarms, segments=["colour"])
    watched = _watched(baseline)
    watched.manifest = replace(watched.manifest, monitoring=monitoring)
    scores = SegmentScorer(watched, PerformanceScorer(watched)).score(
        frame.assign(label=wrong), drift=False
    )
    reported = {score.segment: score.value for score in scores if score.name == "accuracy"}
    red = frame[frame["colour"] == "red"]
    assert reported["colour=blue"] == 0
    assert reported["colour=red"] == pytest.approx(
        accuracy_score(red["label"].astype(int), red["prediction"].astype(int))
    )


def test_the_gap_is_between_the_extremes_with_an_interval_and_the_references_own(
    baseline: Baseline, window: Draw
) -> None:
    frame = window()
    found = _scored(baseline, frame, "colour")
    rates = {
        colour: (frame[frame["colour"] == colour]["prediction"] == 1).mean()
        for colour in ("red", "blue")
    }
    gap = found["colour", "selection_rate_gap"]
    assert gap.value == pytest.approx(rates["red"] - rates["blue"])
    assert gap.low is not None
    assert gap.high is not None
    assert gap.low < gap.value < gap.high  # type: ignore[operator]
    assert gap.note.startswith(f"red {rates['red']:.3f}, blue {rates['blue']:.3f}; reference 0.")
    assert found["colour", "true_positive_rate_gap"].value is not None


def test_numbers_are_grouped_at_edges_and_small_groups_are_stated(
    baseline: Baseline, window: Draw
) -> None:
    frame = window(400)
    found = _scored(baseline, frame, SegmentPolicy("price", edges=[-10.0, 0.0, 1.0]))
    price = frame["price"].astype(float)
    assert found["price=-10 to 0", "rows"].value == ((price >= -10) & (price < 0)).sum()
    assert found["price=from 1", "rows"].value == (price >= 1).sum()
    assert found["price=(missing)", "rows"].value == price.isna().sum()
    assert ("price=below -10", "rows") not in found or found["price=below -10", "rows"].value == 0
    few = _scored(baseline, frame[:40], SegmentPolicy("price", edges=[2.5]))
    assert "too few to score, 30 are needed" in few["price=from 2.5", "rows"].note
    assert ("price=from 2.5", "roc_auc") not in few
    gap = few["price", "selection_rate_gap"]
    assert (gap.value, gap.note) == (None, "fewer than two groups have 30 rows")


def test_the_policy_limits_the_number_of_groups(baseline: Baseline, window: Draw) -> None:
    names = [f"client-{n}" for n in range(500)] + ["red"] * 500
    found = _scored(baseline, window(colour=names), SegmentPolicy("colour", values=1))
    groups = {segment for segment, _ in found if "=" in segment}
    assert groups in ({"colour=red", "colour=(other)"}, {"colour=blue", "colour=(other)"})
    assert found["colour=(other)", "rows"].value in {500.0, 1000.0}


def test_drift_within_a_group_is_reported_only_for_the_group(
    baseline: Baseline, window: Draw
) -> None:
    frame = window()
    shifted = frame["price"].where(
        frame["colour"] != "blue", frame["price"].map(lambda one: None if one is None else one + 1)
    )
    found = _scored(baseline, frame.assign(price=shifted), "colour")
    assert found["colour=blue", "drifted_share"].value == 0.5
    assert found["colour=blue", "drifted_share"].note.startswith("price ")
    assert found["colour=red", "drifted_share"].value == 0


def test_groups_without_drift_have_not_drifted(baseline: Baseline) -> None:
    watched = _watched(baseline, "colour")
    segments = SegmentScorer(watched, PerformanceScorer(watched))
    drifted = 0
    for seed in range(15):
        rows = baseline.frame.sample(300, random_state=seed).reset_index(drop=True)
        scores = segments.score(rows.rename(columns={"bought": "label"}), drift=True)
        drifted += sum(bool(s.value) for s in scores if s.name == "drifted_share")
    assert drifted <= 1


def test_a_withheld_or_unknown_segment_states_the_reason(baseline: Baseline, window: Draw) -> None:
    payload = replace(baseline.manifest.payload, fields={"colour": "drop"})
    watched = _watched(baseline, "colour", "size", "price", payload=payload)
    scores = SegmentScorer(watched, PerformanceScorer(watched)).score(window(), drift=True)
    assert [(s.segment, s.value, s.note) for s in scores] == [
        ("colour", None, "not scored: dropped by payload policy"),
        ("size", None, "'size' is not a feature"),
        ("price", None, "a numeric feature needs edges"),
    ]


def test_a_failing_group_leaves_the_other_groups(baseline: Baseline, window: Draw) -> None:
    watched = _watched(baseline, "colour")
    frame = window()
    frame.loc[frame["colour"] == "red", "probability_1"] = "much"
    scores = SegmentScorer(watched, PerformanceScorer(watched)).score(frame, drift=False)
    found = {(score.segment, score.name): score for score in scores}
    assert found["colour=red", "mean_prediction"].note == "no prediction is a number"
    assert found["colour=blue", "mean_prediction"].value is not None


@pytest.mark.parametrize(
    ("segments", "said"),
    [
        (["size"], "'size' is not a feature; expected one of 'colour', 'price'"),
        (["price"], "'price' is numeric; expected edges"),
        ([SegmentPolicy("colour", edges=[1.0])], "'colour' is categorical; expected no edges"),
        ([SegmentPolicy("price", edges=[1.0, 1.0])], "expected ascending edges"),
        (["colour", "colour"], "'colour' is stated twice"),
    ],
)
def test_registration_refuses_segments_without_rows(
    baseline: Baseline, segments: list[str | SegmentPolicy], said: str
) -> None:
    with pytest.raises(InvalidManifest, match=said):
        check_segments(_watched(baseline, *segments).manifest)


@given(st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_of_a_share_is_wilsons(counts: tuple[int, int]) -> None:
    hits, rows = counts
    expected = binomtest(hits, rows).proportion_ci(method="wilson")
    low, high = Proportion(hits, rows).interval
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-5)


def test_the_interval_of_a_difference_is_newcombes() -> None:
    # Newcombe (1998), method 10, for 56 of 70 less 48 of 80.
    low, high = difference(Proportion(56, 70), Proportion(48, 80))
    assert (low, high) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_a_figure_is_the_same_alone_and_among_others() -> None:
    chance = np.random.default_rng(2)
    score = chance.random(200)
    rows = LabelledRows(
        (score + chance.normal(size=200) > 0.5).astype(np.int64),
        (score > 0.5).astype(np.int64),
        {0: 1 - score, 1: score},
        1,
    )
    everything = classification(rows)
    for name, value in everything.items():
        assert single_metric(name, classification)(rows) == {name: value}


@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.9]), st.integers(1, 4)),
        min_size=2,
        max_size=40,
    ).filter(lambda rows: len({is_it for is_it, _, _ in rows}) == 2)
)
def test_the_area_below_the_curve_is_sklearns(rows: list[tuple[bool, float, int]]) -> None:
    is_it, score, weights = (np.array(column) for column in zip(*rows, strict=True))
    assert roc_auc(is_it, score, weights) == pytest.approx(
        roc_auc_score(is_it, score, sample_weight=weights), abs=1e-8
    )
    assert roc_auc(is_it, score) == pytest.approx(roc_auc_score(is_it, score), abs=1e-8)
    assert roc_auc(np.ones(3, dtype=bool), np.array([0.1, 0.2, 0.3])) is None


@given(st.lists(st.sampled_from([None, 1, 1.0, True, "1", "a", 2.5, -0.0, 0, 2**70, False])))
def test_categories_cover_every_value(values: list[object]) -> None:
    reported = categories(pd.Series(values, dtype=object))
    assert [None if value is None else category(value) for value in values] == [
        None if pd.isna(one) else one for one in reported
    ]
