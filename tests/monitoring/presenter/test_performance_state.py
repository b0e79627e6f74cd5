"""The text for each reason why there is no performance score."""

import pytest

from monitoring.presenter.performance_state import performance_state
from monitoring.results import Result, Window


def _result(labelled: int, confusion: dict[str, dict[str, int]]) -> Result:
    return Result(
        model="m",
        version="1",
        window=Window(0, 1),
        rows=100,
        labelled=labelled,
        confusion=confusion,
    )


@pytest.mark.parametrize(
    ("history", "words"),
    [
        ([], "no labels yet"),
        ([_result(0, {})], "no labels yet"),
        ([_result(12, {"1": {"1": 12}})], "12 of 30 labels"),
        ([_result(100, {"0": {"0": 90, "1": 10}}), _result(0, {})], "labels of one class: 0"),
        ([_result(100, {"0": {"0": 90}, "1": {"0": 10}})], "not defined for these labels"),
    ],
)
def test_performance_state_describes_the_newest_window_with_labels(
    history: list[Result], words: str
) -> None:
    assert performance_state(history) == words
