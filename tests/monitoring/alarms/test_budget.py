"""The false-alarm budget of each rule and window."""

import random

import pytest
from msgspec.structs import replace

from monitoring.alarms.alarm_lifecycle import RuleState, judge
from monitoring.alarms.budget import budget_text, false_alarms, level, rule_budget, rules
from monitoring.results import Alarm, Result, Score, Window
from registry.manifest import (
    AlarmPolicy,
    FalseAlarms,
    Feature,
    Manifest,
    MaxGap,
    Monitoring,
    Prediction,
    WindowPolicy,
)
from tests.depth import by_depth


def _manifest(length: int = 86_400, **alarms: object) -> Manifest:
    return Manifest(
        task="classification",
        features=[Feature("x", "numeric", input="x")],
        prediction=Prediction("label", "probabilities", [0, 1], 1),
        target="y",
        held_out=True,
        monitoring=Monitoring(
            window=WindowPolicy(length=length), alarms=replace(AlarmPolicy(), **alarms)
        ),
    )


@pytest.mark.parametrize(
    ("length", "expected"), [(60, 60 / 2_592_000), (3_600, 1 / 720), (604_800, 0.01)]
)
def test_false_alarm_budget_is_the_stricter_of_days_and_windows(
    length: int, expected: float
) -> None:
    assert false_alarms(_manifest(length).monitoring) == pytest.approx(expected)


def test_every_enabled_rule_gets_an_equal_share_of_the_budget() -> None:
    assert rules(_manifest()) == ["drift", "concept"]
    limited = _manifest(min_score=0.7)
    assert rules(limited) == ["drift", "performance", "estimate", "concept"]
    assert rule_budget(limited) * 4 == pytest.approx(false_alarms(limited.monitoring))


def test_group_rules_get_a_share_of_the_budget_if_configured() -> None:
    with_groups = _manifest(max_gap=MaxGap(selection_rate=0.2), min_segment_score=0.6)
    assert rules(with_groups) == ["drift", "concept", "segment", "selection_rate_gap"]
    assert level(with_groups) < level(_manifest())


def test_budget_text_states_days_and_windows() -> None:
    policy = _manifest(false_alarms=FalseAlarms(days=1, windows=1_000)).monitoring
    assert budget_text(policy) == (
        "at most one false alarm in 1 day and in 1,000 windows, all rules together"
    )


@pytest.mark.untraced
@pytest.mark.parametrize("consecutive", [1, 2, 3])
def test_windows_broken_at_the_level_raise_as_many_alarms_as_budgeted(
    consecutive: int,
) -> None:
    manifest = _manifest(consecutive=consecutive, false_alarms=FalseAlarms(days=1, windows=50))
    chance, windows = random.Random(3), by_depth(8_000, 40_000)
    fired = _fired(manifest, [chance.random() < level(manifest) for _ in range(windows)])
    expected = rule_budget(manifest) * windows
    assert abs(fired - expected) < 4 * expected**0.5


def _fired(manifest: Manifest, broken: list[bool]) -> int:
    state, alarms = RuleState(), dict[str, Alarm]()
    for hour, bad in enumerate(broken):
        score = Score(name="drifted_share", value=0.5, threshold=0.3, breached=bad)
        result = Result(
            model="m", version="1", window=Window(hour, hour + 1), rows=1_000, scores=[score]
        )
        policy = manifest.monitoring.alarms
        state, alarm = judge(state, alarms.get(state.open_alarm), "drift", result, policy)
        if alarm is not None:
            alarms[alarm.alarm_id] = alarm
    return len(alarms)
