"""Backtest of a rollout from its log, with its own and with another policy."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from driftline.logged_events import logged_events
from monitoring.rollouts.backtest import StepResult, backtest_steps, steps_of
from registry.history.rows import VerdictPolicy
from tests.monitoring.rollouts.test_follower import Stage


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    for judge in stage.judges:
        judge.close()


def judged(stage: Stage, **changes: float) -> list[StepResult]:
    steps = steps_of(list(stage.history.rows("m")), stage.rollout.id)
    policy = replace(steps[0].policy or VerdictPolicy(), **changes)
    return list(backtest_steps(steps, policy, "label", logged_events(stage.log)))


def test_backtest_reproduces_the_recorded_verdicts(stage: Stage) -> None:
    stage.start(0.5, 0.75, 1.0, patience=1e6)
    judge = stage.judge()
    for _ in range(30):
        stage.ask(200)
        while judge.step():
            pass
    results = judged(stage)
    assert [result.judgement.verdict for result in results] == stage.verdicts()
    assert stage.verdicts() == ["promote", "promote"]
    assert [result.rollout.step for result in results] == list(range(len(results)))


def test_backtest_rolls_back_a_bad_version(stage: Stage) -> None:
    stage.start(0.5, 1.0)
    judge = stage.judge()
    for _ in range(10):
        stage.ask(200, failing=True)
        while judge.step():
            pass
    (result,) = judged(stage)
    assert stage.verdicts() == ["roll back"]
    assert (result.judgement.verdict, result.judgement.metric) == ("roll back", "errors")


def test_backtest_with_another_policy_gives_another_verdict(stage: Stage) -> None:
    stage.start(0.5, 1.0, patience=1e6)
    for _ in range(3):
        stage.ask(20)
    (result,) = judged(stage)
    assert (result.judgement.verdict, result.requests) == ("continue", 60)
    (result,) = judged(stage, patience=1.0)
    assert result.judgement.verdict == "pause"
