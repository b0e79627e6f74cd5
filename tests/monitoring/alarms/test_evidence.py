"""Lasting gaps are found, chance is not, and how often chance is found is as allowed."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.alarms.evidence import FAR, WIDTH, Evidence, weigh
from monitoring.results import ERROR_GAP, GAP, Score

USUAL, TOLERATED, ALLOWED = 0.01, 0.005, 1 / 100


def _gap(away: float, name: str = GAP) -> Score:
    """A gap so many usual deviations beyond what is tolerated."""
    value = TOLERATED + away * USUAL
    return Score(
        name=name,
        value=value,
        threshold=TOLERATED + FAR * USUAL,
        low=value - WIDTH * USUAL,
        high=value + WIDTH * USUAL,
        note=f"{away:.1f}",
    )


def _until_found(aways: list[float]) -> int | None:
    """After how many windows the evidence is enough."""
    evidence: Evidence = {}
    for number, away in enumerate(aways, 1):
        evidence, (reported,) = weigh([_gap(away)], evidence, ALLOWED)
        if reported.breached:
            return number
    return None


@pytest.mark.parametrize(("away", "windows"), [(0.5, 45), (1.0, 14), (2.0, 5), (4.5, 1)])
def test_a_lasting_gap_is_found_the_sooner_the_greater_it_is(away: float, windows: int) -> None:
    found = _until_found([away] * 100)
    assert found is not None
    assert found <= windows


def test_false_alarms_come_no_more_often_than_allowed() -> None:
    chance, found, windows = random.Random(5), 0, 0
    evidence: Evidence = {}
    for _ in range(30_000):
        gaps = [_gap(chance.gauss(0, 1)), _gap(chance.gauss(0, 1), ERROR_GAP)]
        evidence, (reported,) = weigh(gaps, evidence, ALLOWED)
        windows += 1
        if reported.breached:
            found, evidence = found + 1, {}
    assert 0 < found <= ALLOWED * windows


@given(st.lists(st.floats(-5, 0), min_size=1, max_size=60))
def test_gaps_that_are_tolerated_are_no_evidence(aways: list[float]) -> None:
    assert _until_found([away - 1 for away in aways]) is None


def test_evidence_fades_when_the_gap_has_closed() -> None:
    evidence: Evidence = {}
    for away in [9.0] * 20 + [-0.5] * 60:
        evidence, (reported,) = weigh([_gap(away)], evidence, ALLOWED)
    assert not reported.breached


def test_a_window_without_a_gap_changes_nothing() -> None:
    evidence, _ = weigh([_gap(1.0)], {}, ALLOWED)
    unknown = Score(name=GAP, value=None, note="could not be computed")
    for scores in ([], [unknown], [Score(name="roc_auc", value=0.7)]):
        assert weigh(scores, evidence, ALLOWED) == (evidence, [])


def test_the_same_gaps_give_the_same_evidence() -> None:
    aways = [0.3, -1.2, 2.0]
    runs = []
    for _ in range(2):
        evidence: Evidence = {}
        for away in aways:
            evidence, reported = weigh([_gap(away)], evidence, ALLOWED)
        runs.append((evidence, reported))
    assert runs[0] == runs[1]
    assert runs[0][1][0].note == "2.0"
