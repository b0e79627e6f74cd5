"""The best classes of scores, as text."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from service.errors import InvalidRequest
from service.protocol.classification import best_classes, check_classes
from tests.service.in_process import MANIFEST


def test_the_highest_scores_come_first_with_index_and_label() -> None:
    scores = np.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]], np.float32)
    assert best_classes(scores, 2, ["a", "b", "c"]).tolist() == [
        ["0.5:1:b", "0.3:2:c"],
        ["0.8:2:c", "0.1:0:a"],
    ]
    assert best_classes(scores, 9, []).shape == (2, 3)


def test_one_number_per_row_is_one_class() -> None:
    assert best_classes(np.array([7, -1]), 3, []).tolist() == [["7:0"], ["-1:0"]]


def test_dimensions_beyond_the_rows_count_as_one() -> None:
    scores = np.arange(8).reshape(2, 2, 2)
    assert best_classes(scores, 1, []).tolist() == [["3:3"], ["7:3"]]


_scores = st_numpy.arrays(
    st.sampled_from([np.float32, np.int64, np.uint8, np.float16]),
    st.tuples(st.integers(1, 4), st.integers(1, 6)),
)


@given(_scores, st.integers(1, 8))
def test_each_returned_score_belongs_to_its_index_and_no_omitted_score_is_higher(
    scores: Any, count: int
) -> None:
    reported = best_classes(scores, count, [])
    assert reported.shape == (scores.shape[0], min(count, scores.shape[1]))
    for row, texts in zip(scores, reported, strict=True):
        indices = [int(text.split(":")[1]) for text in texts]
        assert [text.split(":")[0] for text in texts] == [str(row[index]) for index in indices]
        known = [(-np.inf if row[i] != row[i] else row[i], -i) for i in range(len(row))]
        assert [known[index] for index in indices] == sorted(known, reverse=True)[: len(indices)]


def test_an_invalid_count_is_refused() -> None:
    for count in (0, -1, 2**40):
        with pytest.raises(InvalidRequest, match=r"'y'.*classification"):
            check_classes({"y": count}, MANIFEST)
