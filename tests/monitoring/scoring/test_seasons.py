"""A season in the reference widens limits, with a note, and hides no larger drift."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.accuracy.populations import baseline
from monitoring.results import Score
from monitoring.scoring.drift.columns import score_drift
from monitoring.scoring.drift.seasons import LEAST_WINDOWS, has_seasons, neighbouring_rows
from monitoring.scoring.drift.thresholds import DriftThresholds
from monitoring.scoring.reference import Baseline
from registry.manifest import Monitoring

DAY = 128  # rows


def _days(first: int, days: int, seed: int, moved: float = 0.0) -> pd.DataFrame:
    """Return days in order, of which the sixth and seventh of each week lie 2 sd higher."""
    chance = np.random.default_rng(seed)
    rows = days * DAY
    weekend = (first + np.arange(rows) // DAY) % 7 >= 5
    p = chance.beta(2, 2, rows)
    return pd.DataFrame(
        {
            "x": chance.normal(size=rows) + 2.0 * weekend + moved,
            "y": chance.normal(size=rows),
            "prediction": (p > 0.5).astype(int),
            "probability_0": 1 - p,
            "probability_1": p,
            "label": (chance.random(rows) < p).astype(int),
        }
    )


def _scores(made: Baseline, thresholds: DriftThresholds, window: pd.DataFrame) -> dict[str, Score]:
    found = score_drift(made, thresholds, window, None)
    return {score.name: score for score in found if score.of_whole}


def test_a_weekend_does_not_drift_from_a_reference_of_weeks(tmp_path: Path) -> None:
    made = baseline(tmp_path, _days(0, 28, 1), Monitoring())
    thresholds = DriftThresholds(made)
    for day in range(7):
        scores = _scores(made, thresholds, _days(day, 1, 100 + day))
        broken = [one.name for one in scores.values() if one.breached]
        assert not broken, day
    assert scores["false_alarms"].note.endswith(
        "the reference varies with time (a season or a trend), so limits are wider"
    )
    assert _scores(made, thresholds, _days(0, 1, 9, moved=5.0))["strongest_drift"].breached


def test_a_shuffled_reference_shows_no_season(tmp_path: Path) -> None:
    shuffled = _days(0, 28, 1).sample(frac=1, random_state=1).reset_index(drop=True)
    made = baseline(tmp_path, shuffled, Monitoring())
    scores = _scores(made, DriftThresholds(made), _days(5, 1, 2))
    assert scores["strongest_drift"].breached
    assert "season" not in scores["false_alarms"].note


def test_a_reference_of_few_windows_is_not_compared_with_itself() -> None:
    assert neighbouring_rows(LEAST_WINDOWS * 100 - 1, 100) == []
    windows = neighbouring_rows(LEAST_WINDOWS * 100, 100)
    assert (windows[0].tolist(), windows[-1].tolist()) == ([*range(100)], [*range(600, 700)])


@pytest.mark.parametrize(("broken", "seasonal"), [(0, False), (3, False), (8, True)])
def test_a_season_means_more_broken_windows_than_chance_explains(
    broken: int, seasonal: bool
) -> None:
    assert has_seasons(np.arange(28) < broken, 0.06) == seasonal


def test_a_reference_without_windows_has_no_season() -> None:
    assert not has_seasons(np.zeros(0, dtype=bool), 0.06)
