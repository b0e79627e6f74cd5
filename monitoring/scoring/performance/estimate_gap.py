"""How much worse the truth is than was expected of the same rows, window by window.

Two gaps are looked at: that of the score which the policy speaks of, and that of plain errors (the
share of wrong answers, or the mean absolute error). What is expected is the estimate where there is
one (see estimation.py), so that a change of the inputs alone opens no gap; else what the reference
showed. `core/sequential.py` weighs them over windows.
"""

from collections.abc import Callable
from functools import cache

import pandas as pd

from monitoring.alarms.evidence import FAR, WIDTH
from monitoring.results import ERROR_GAP, GAP, Score
from monitoring.scoring.performance.estimator import Estimator, Spread
from monitoring.scoring.performance.metrics import ERRORS, Answers, Figures, answers_of
from monitoring.scoring.reference import Baseline
from monitoring.scoring.score_rules import SMALLEST, significant

# The reference is a sample too: so many times its own error is no change of the world.
_TOLERATED = 2.0


class Gaps:
    """Of the windows of one version."""

    def __init__(
        self,
        baseline: Baseline,
        estimator: Estimator,
        figures: Callable[[Answers], Figures],
        chief: str,
    ) -> None:
        """`chief` is the score that the policy speaks of."""
        self._baseline = baseline
        self._estimator = estimator
        self._figures = figures
        plain = "mae" if baseline.manifest.task == "regression" else "accuracy"
        self._watched = {GAP: chief} if chief == plain else {GAP: chief, ERROR_GAP: plain}
        self._of_reference = cache(self._reference)

    def score(self, labelled: pd.DataFrame) -> list[Score]:
        """`labelled`: the rows whose label is known, with a column `label`."""
        if len(labelled) < SMALLEST:
            return []
        real = self._figures(answers_of(self._baseline, labelled, "label"))
        told = self._estimator.figures(labelled) if self._estimator.possible else {}
        gaps = (self._gap(g, name, real, told, len(labelled)) for g, name in self._watched.items())
        return [gap for gap in gaps if gap is not None]

    def _gap(self, gap: str, name: str, real: Figures, told: Figures, rows: int) -> Score | None:
        estimated = told.get(name) is not None
        found, expected = real.get(name), told.get(name) if estimated else self._of_reference(name)
        of: Spread = "error" if estimated else "truth"
        usual = self._estimator.spread(name, rows, of)
        own = self._estimator.spread(name, len(self._baseline.frame), of)
        if found is None or expected is None or usual is None or own is None:
            return None
        worse = found - expected if name in ERRORS else expected - found
        limit = _TOLERATED * own + FAR * usual
        beside = (
            f"estimated {expected:.3f} for the same rows"
            if estimated
            else f"{expected:.3f} in the reference"
        )
        return Score(
            name=gap,
            value=significant(worse),
            threshold=significant(limit),
            breached=worse > limit,
            low=significant(worse - WIDTH * usual),
            high=significant(worse + WIDTH * usual),
            note=f"{name} {found:.3f}, {beside}",
        )

    def _reference(self, name: str) -> float | None:
        target = self._baseline.manifest.target
        rows = answers_of(self._baseline, self._baseline.frame, target)
        return self._figures(rows).get(name)
