"""Verdicts from the events of the two arms of a rollout step."""

from collections.abc import Callable
from typing import Any, Literal

import pytest

from eventlog.events import FeedbackEvent, PredictionEvent, Tensor
from monitoring.rollouts.verdict import Comparison
from registry.history.rollout_state import Rollout
from registry.history.rows import VerdictPolicy

MINUTE = 60_000_000


class Step:
    """A rollout step for half of the keys with a bake time of one minute, and its events."""

    def __init__(self, **policy: Any) -> None:
        self.rollout = Rollout(
            "r", "champion", "2", "1", steps=[0.5], bake_s=60, step=0, phase="running", since=0,
            started=0, actor="ann", revision=7,
        )  # fmt: skip
        self.comparison = Comparison(self.rollout, VerdictPolicy(**policy), label="label")
        self.number = 0
        self.now = 1 << 62

    def ask(self, arm: Literal["before", "rollout"], key: str = "", **fields: Any) -> str:
        self.number += 1
        outputs = fields.pop("outputs", {"label": Tensor("INT64", [1], [1])})
        event = PredictionEvent(
            **{
                "source": "s", "epoch": 1, "sequence": self.number, "time": 0, "received": 0,
                "prediction_id": f"p{self.number}", "model": "m", "protocol": "rest",
                "outcome": "ok", "version": "2" if arm == "rollout" else "1", "revision": 7,
                "rollout": "r", "arm": arm, "routing_key": key or f"k{self.number}",
                "total_us": 1_000, "outputs": outputs,
            } | fields
        )  # fmt: skip
        self.comparison.include(event)
        return event.prediction_id

    def label(self, name: str, label: int) -> None:
        fields: Any = {"source": "s", "epoch": 1, "sequence": 0, "time": 0, "received": 0}
        self.comparison.label(FeedbackEvent(prediction_id=name, label=label, **fields))

    def calm(self, keys: int, received: int = 2 * MINUTE) -> None:
        for _ in range(keys):
            self.ask("before", received=received)
            self.ask("rollout", received=received)

    def verdict(self) -> tuple[str, str]:
        judgement = self.comparison.judge(self.now)
        return judgement.verdict, judgement.metric


def test_a_version_that_fails_for_more_keys_is_rolled_back() -> None:
    step = Step()
    step.calm(100)
    for _ in range(20):
        step.ask("rollout", outcome="failed")
    assert step.verdict() == ("roll back", "errors")


def test_version_that_refuses_more_requests_is_rolled_back() -> None:
    step = Step()
    step.calm(100)
    for _ in range(20):
        step.ask("rollout", outcome="invalid")
    assert step.verdict() == ("roll back", "errors")


def test_event_times_ahead_of_the_clock_do_not_shorten_the_bake_time() -> None:
    step = Step()
    step.calm(2_000, received=600 * MINUTE)
    step.now = MINUTE // 2
    assert step.verdict() == ("continue", "")
    step.now = MINUTE
    assert step.verdict() == ("promote", "")


def test_cache_hits_of_the_old_version_set_no_latency_objective() -> None:
    step = Step()
    for _ in range(300):
        step.ask("before", cache_hit=True, total_us=10)
        step.ask("before")
        step.ask("rollout")
    assert step.verdict()[0] == "continue"


def test_single_busy_key_sets_no_latency_objective() -> None:
    step = Step()
    for _ in range(300):
        step.ask("before", "one user", total_us=10)
    for _ in range(50):
        step.ask("before")
        step.ask("rollout")
    assert step.verdict()[0] == "continue"


def test_a_load_test_is_no_evidence() -> None:
    step = Step()
    step.calm(100)
    for _ in range(20):
        step.ask("rollout", outcome="failed", load_test=True)
    assert step.verdict()[0] == "continue"


def test_one_key_that_fails_often_counts_once() -> None:
    step = Step()
    step.calm(50)
    for _ in range(1_000):
        step.ask("rollout", "one user", outcome="failed")
    assert step.verdict()[0] == "continue"


def test_equal_failures_of_both_arms_do_not_roll_back() -> None:
    step = Step()
    for _ in range(100):
        step.ask("rollout", outcome="failed")
        step.ask("before", outcome="failed")
    assert step.verdict()[0] != "roll back"


@pytest.mark.parametrize("bad", [None, "Infinity"])
def test_non_finite_outputs_roll_back(bad: Any) -> None:
    step = Step()
    step.calm(100)
    for _ in range(20):
        step.ask("rollout", outputs={"y": Tensor("FP32", [1], [bad])})
    assert step.verdict() == ("roll back", "outputs")


def test_higher_latency_than_the_old_version_rolls_back() -> None:
    step = Step()
    step.calm(200)
    for _ in range(30):
        step.ask("rollout", total_us=50_000)
        step.ask("before")
    assert step.verdict() == ("roll back", "latency")


def test_wrong_predictions_roll_back_once_labels_arrive() -> None:
    step = Step()
    for _ in range(60):
        step.label(step.ask("before"), 1)
        step.label(step.ask("rollout"), 0)
    assert step.verdict() == ("roll back", "labels")


def _three_times_slower(step: Step, n: int) -> None:
    step.ask("before", total_us=1_000 + n % 500)
    step.ask("rollout", total_us=3 * (1_000 + n % 500))


def _nan_for_one_key_in_a_hundred(step: Step, n: int) -> None:
    step.ask("before")
    bad = {"outputs": {"y": Tensor("FP32", [1], [None])}} if n % 100 == 50 else {}
    step.ask("rollout", **bad)


def _wrong_on_a_segment(step: Step, n: int) -> None:
    is_segment = n % 5 == 0  # absent from the reference
    step.label(step.ask("before"), 1)
    step.label(step.ask("rollout"), 0 if is_segment else 1)


@pytest.mark.parametrize(
    ("ask", "metric", "within"),
    [
        (_three_times_slower, "latency", 1_000),
        (_nan_for_one_key_in_a_hundred, "outputs", 3_000),
        (_wrong_on_a_segment, "labels", 1_000),
    ],
)
def test_faulty_candidate_is_rolled_back_by_the_metric_of_its_fault(
    ask: Callable[[Step, int], None], metric: str, within: int
) -> None:
    step = Step()
    for n in range(within):
        ask(step, n)
        verdict = step.verdict() if n % 20 == 0 else ("continue", "")
        assert verdict[0] != "promote"
        if verdict[0] == "roll back":
            assert verdict == ("roll back", metric)
            return
    raise AssertionError(f"no verdict after {within} keys of each arm")


def test_version_shown_to_be_no_worse_is_promoted_after_the_bake_time() -> None:
    step = Step()
    step.calm(3_000, received=MINUTE - 1)
    assert step.verdict() == ("continue", "")
    step.calm(1, received=MINUTE)
    assert step.verdict() == ("promote", "")


def test_rollout_with_too_few_keys_pauses_after_its_patience() -> None:
    step = Step(patience=3.0)
    step.calm(20, received=3 * MINUTE - 1)
    assert step.verdict()[0] == "continue"
    step.calm(1, received=3 * MINUTE)
    assert step.verdict()[0] == "pause"


def test_rollout_continues_while_a_worse_rate_is_plausible() -> None:
    step = Step()
    step.calm(300)
    assert step.verdict()[0] == "continue"


def test_requests_of_earlier_steps_and_other_versions_are_not_counted() -> None:
    step = Step()
    step.calm(100)
    for _ in range(50):
        step.ask("rollout", outcome="failed", revision=6)
        step.ask("rollout", outcome="failed", version="1")
    assert step.verdict()[0] != "roll back"


def test_metric_outside_the_policy_neither_rolls_back_nor_delays() -> None:
    step = Step(metrics=["errors", "outputs"])
    for _ in range(2_000):
        step.ask("before", received=2 * MINUTE)
        step.ask("rollout", received=2 * MINUTE, total_us=1_000_000)
    assert step.verdict() == ("promote", "")
    assert set(step.comparison.judge(step.now).counts) == {"errors", "outputs"}


def test_promotion_waits_for_every_metric_of_the_policy() -> None:
    step = Step(metrics=["errors", "labels"])
    step.calm(2_000)
    assert step.verdict() == ("continue", "labels")
    bounds = step.comparison.judge(step.now).bounds
    assert bounds["errors"].holds
    assert bounds["labels"] == (1.0, 0.01)
