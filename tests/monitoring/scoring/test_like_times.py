"""Windows are compared with the reference's rows of the same time of day or week."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from msgspec.structs import replace

from benchmarks.accuracy.populations import baseline
from monitoring.results import Score, Window
from monitoring.scoring.drift.columns import score_drift
from monitoring.scoring.drift.like_times import LikeTimes
from monitoring.scoring.drift.season_test import WEEK, block_length, full_blocks, season_of
from monitoring.scoring.reference import Baseline
from registry.manifest import Monitoring, WindowPolicy
from telemetry.clock import DAY, HOUR

MONDAY = 1_704_067_200_000_000  # 2024-01-01
PER_DAY = 144  # rows


def times_of(days: int, start: int = MONDAY, per_day: int = PER_DAY) -> Any:
    return start + np.arange(days * per_day) * (DAY // per_day)


def rows_of(times: Any, seed: int, *, weekend: float = 0.0, night: float = 0.0) -> pd.DataFrame:
    """Return rows whose x is higher at weekends, and at night."""
    chance = np.random.default_rng(seed)
    moved = weekend * ((times - MONDAY) // DAY % 7 >= 5) + night * (times % DAY < 6 * HOUR)
    p = chance.beta(2, 2, len(times))
    return pd.DataFrame(
        {
            "x": chance.normal(size=len(times)) + moved,
            "y": chance.normal(size=len(times)),
            "prediction": (p > 0.5).astype(int),
            "probability_0": 1 - p,
            "probability_1": p,
            "label": (chance.random(len(times)) < p).astype(int),
            "event_time": times,
        }
    )


def reference(folder: Path, rows: pd.DataFrame, length: int = DAY) -> Baseline:
    policy = Monitoring(window=WindowPolicy(length=length // 1_000_000))
    return baseline(folder, rows, policy)


def compare(like: LikeTimes, rows: pd.DataFrame, start: int, length: int = DAY) -> dict[str, Score]:
    against, thresholds, _ = like.of(Window(start, start + length))
    found = score_drift(against, thresholds, rows, None)
    return {score.name: score for score in found if score.of_whole}


def broken(scores: dict[str, Score]) -> list[str]:
    return [name for name, score in scores.items() if score.breached]


@pytest.fixture(scope="module")
def weekly(tmp_path_factory: pytest.TempPathFactory) -> LikeTimes:
    """Five weeks whose weekends are 2 sd higher, registered in no order."""
    rows = rows_of(times_of(35), 1, weekend=2.0).sample(frac=1, random_state=3)
    return LikeTimes(reference(tmp_path_factory.mktemp("weekly"), rows))


@pytest.mark.parametrize("day", [2, 5])
def test_a_day_is_compared_with_days_of_its_kind(weekly: LikeTimes, day: int) -> None:
    start = MONDAY + 70 * DAY + day * DAY
    like = weekly.of(Window(start, start + DAY))
    assert len(like.baseline.frame) == 5 * PER_DAY
    assert set((like.baseline.frame["event_time"] - MONDAY) // DAY % 7) == {day}
    name = {2: "Wed 00:00 to Thu 00:00 UTC", 5: "Sat 00:00 to Sun 00:00 UTC"}[day]
    assert like.note.endswith(f"from the same time of the week: {name}, 5 weeks")
    calm = compare(weekly, rows_of(start + np.arange(PER_DAY), 7, weekend=2.0), start)
    assert not broken(calm)
    assert "limits are wider" not in calm["false_alarms"].note


def test_a_day_that_is_like_another_kind_of_day_drifts(weekly: LikeTimes) -> None:
    saturday = MONDAY + 75 * DAY
    like_a_weekday = rows_of(saturday + np.arange(PER_DAY), 8)
    assert "strongest_drift" in broken(compare(weekly, like_a_weekday, saturday))


def test_hours_are_compared_with_hours_of_their_kind(tmp_path: Path) -> None:
    rows = rows_of(times_of(14, per_day=24 * 60), 2, night=3.0)
    like = LikeTimes(reference(tmp_path, rows, HOUR))
    start = MONDAY + 20 * DAY + 3 * HOUR
    found = like.of(Window(start, start + HOUR))
    assert found.note.endswith("from the same time of the day: 03:00 to 04:00 UTC, 14 days")
    assert len(found.baseline.frame) == 14 * 60
    assert not broken(compare(like, rows_of(start + np.arange(60), 3, night=3.0), start, HOUR))
    assert broken(compare(like, rows_of(start + np.arange(60), 4, night=0.0), start, HOUR))


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (rows_of(times_of(35), 5), "no season"),
        (rows_of(times_of(14), 6, weekend=2.0), "two weeks are not several"),
        (rows_of(times_of(35, per_day=12), 6, weekend=2.0), "60 rows of a weekday are too few"),
    ],
    ids=["calm", "short", "thin"],
)
def test_the_whole_reference_is_used_if_no_similar_period_exists(
    tmp_path: Path, rows: pd.DataFrame, why: str
) -> None:
    like = LikeTimes(reference(tmp_path, rows))
    found = like.of(Window(MONDAY + 75 * DAY, MONDAY + 76 * DAY))
    assert (len(found.baseline.frame), found.note) == (len(rows), ""), why
    scores = compare(like, rows_of(times_of(1, MONDAY + 75 * DAY), 9), MONDAY + 75 * DAY)
    assert ("limits are wider" in scores["false_alarms"].note) == (why != "no season")


def test_references_without_times_and_windows_by_rows_have_no_similar_period(
    tmp_path: Path,
) -> None:
    rows = rows_of(times_of(35), 1, weekend=2.0)
    made = reference(tmp_path, rows)
    policy = Monitoring(window=WindowPolicy(length=None, rows=144))
    for one in (
        made.under(policy),
        Baseline(replace(made.version, manifest=replace(made.manifest, event_time=""))),
    ):
        found = LikeTimes(one).of(Window(MONDAY, MONDAY + DAY))
        assert (found.baseline.frame.shape, found.note) == (rows.shape, "")


@pytest.mark.parametrize(
    ("hours", "block"), [(0.25, 1), (1, 1), (5, 6), (12, 12), (24, 24), (30, 84), (84, 84), (85, 0)]
)
def test_blocks_divide_a_day_or_a_week(hours: float, block: int) -> None:
    assert block_length(int(hours * HOUR)) == block * HOUR


def test_blocks_that_are_cut_off_are_left_out() -> None:
    times = times_of(3)[100:-10]
    assert [len(rows) for rows in full_blocks(times, DAY)] == [PER_DAY, PER_DAY - 10]


@pytest.mark.parametrize(
    ("kind", "season"),
    [
        ({"weekend": 1.0}, WEEK),
        ({"night": 1.0}, DAY),
        ({"weekend": 1.0, "night": 1.0}, WEEK),
        ({}, 0),
    ],
    ids=["weekend", "night", "both", "none"],
)
@pytest.mark.parametrize("trend", [0.0, 2.0])
def test_the_season_is_found_whatever_the_trend(
    kind: dict[str, float], season: int, trend: float
) -> None:
    times = times_of(28)
    for seed in range(3):
        x = rows_of(times, seed, **kind)["x"].to_numpy() + trend * np.linspace(0, 1, len(times))
        assert season_of(times, x[:, None], 6 * HOUR) == season


def test_random_differences_between_days_are_not_a_season() -> None:
    times, found = times_of(35), 0
    for seed in range(20):
        chance = np.random.default_rng(seed)
        x = chance.normal(size=len(times)) + np.repeat(chance.normal(size=35), PER_DAY)
        found += season_of(times, x[:, None], DAY) > 0
    assert found <= 2
