"""A small sample is not rated worse because it is small."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from driftline.comparison.measure import Sides, scores_of
from monitoring.scoring.performance.metrics import LabelledRows


class _Answers:
    """Rows of one version whose probabilities are right."""

    manifest = SimpleNamespace(task="classification")

    def __init__(self, rows: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        probability = random.uniform(size=rows)
        actual = (random.uniform(size=rows) < probability).astype(int)
        predicted = (probability > 0.5).astype(int)
        scores = {0: 1 - probability, 1: probability}
        self.candidate = LabelledRows(actual, predicted, scores, 1)

    def __len__(self) -> int:
        return len(self.candidate.actual)


@pytest.mark.parametrize("seed", range(2))
def test_the_same_model_is_as_well_calibrated_on_few_rows(seed: int) -> None:
    many, few = _Answers(5_000, seed), _Answers(100, seed + 100)
    sides: Any = Sides(many, few, paired=False)  # type: ignore[arg-type]
    found = {one.name: one for one in scores_of(sides)}
    assert found["calibration_error"].better == ""
    difference = found["calibration_error"].difference
    assert difference.low is not None
    assert difference.high is not None
    assert difference.low <= (difference.value or 0.0) <= difference.high
