"""The order of scoring jobs: in order within a model, alternating between models."""

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from monitoring.results import Window
from monitoring.score_jobs import ScoreJob
from monitoring.scoring.lanes import Attempt, Lanes

PAUSE = 5.0


def _job(model: str, key: str = "") -> ScoreJob:
    window = Window(0, 1)
    return ScoreJob(key=key, model=model, version="1", window=window, columns={}, drift=True)


def _taken(lanes: Lanes, now: float = 0.0) -> Attempt:
    attempt = lanes.take(now)
    assert attempt is not None
    return attempt


@given(
    st.lists(st.sampled_from("abc"), max_size=20),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
def test_jobs_of_a_model_finish_in_order_whatever_fails(
    models: list[str], scorers: int, chance: random.Random
) -> None:
    lanes, now = Lanes(), 0.0
    for number, model in enumerate(models):
        lanes.add(_job(model, str(number)))
    running: list[Attempt] = []
    finished: list[ScoreJob] = []
    while len(finished) < len(models):
        while len(running) < scorers and (attempt := lanes.take(now)) is not None:
            running.append(attempt)
        assert len({one.job.model for one in running}) == len(running), "one job of a model"
        if not running:
            due = lanes.next_time()
            assert due is not None
            now = due
            continue
        attempt = running.pop(chance.randrange(len(running)))
        if chance.random() < 0.3:
            lanes.retry(attempt, now + PAUSE)
        else:
            finished.append(attempt.job)
            lanes.finish(attempt)
    assert lanes.take(now + PAUSE) is None
    for model in "abc":
        numbers = [int(job.key) for job in finished if job.model == model]
        assert numbers == sorted(numbers)


def test_a_model_with_many_jobs_does_not_delay_one_with_few() -> None:
    lanes = Lanes()
    for model in "aaaaaaaabc":
        lanes.add(_job(model))
    order = []
    for _ in range(4):
        attempt = _taken(lanes)
        order.append(attempt.job.model)
        lanes.finish(attempt)
    assert Counter(order) == {"a": 2, "b": 1, "c": 1}


def test_a_failed_job_stays_first_of_its_model_while_other_models_proceed() -> None:
    lanes = Lanes()
    for model, key in (("a", "1"), ("a", "2"), ("b", "1")):
        lanes.add(_job(model, key))
    failed = _taken(lanes)
    lanes.retry(failed, PAUSE)
    assert lanes.next_time() == PAUSE
    other = _taken(lanes)
    assert other.job.model == "b"
    lanes.finish(other)
    assert lanes.take(PAUSE - 1) is None
    assert _taken(lanes, PAUSE) is failed
