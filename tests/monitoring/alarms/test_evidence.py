"""Evidence for concept drift: lasting gaps are detected within the false-alarm budget."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.alarms.alarm_lifecycle import RuleState
from monitoring.alarms.evidence import FAR, WIDTH, Evidence, weigh
from monitoring.results import ERROR_GAP, GAP, Score, Window

pytestmark = pytest.mark.untraced

USUAL, TOLERATED, ALLOWED = 0.01, 0.005, 1 / 100


def _gap(away: float, name: str = GAP) -> Score:
    """Return a gap so many standard deviations beyond the tolerated gap."""
    value = TOLERATED + away * USUAL
    return Score(
        name=name,
        value=value,
        threshold=TOLERATED + FAR * USUAL,
        low=value - WIDTH * USUAL,
        high=value + WIDTH * USUAL,
        note=f"{away:.1f}",
    )


def _windows_until_evidence(aways: list[float]) -> int | None:
    """Return the number of windows after which the evidence is enough, or None."""
    reported = _weigh_all(aways)[1]
    return next((number for number, score in enumerate(reported, 1) if score.breached), None)


def _weigh_all(aways: list[float]) -> tuple[Evidence, list[Score]]:
    """Return the evidence after one window for each gap, and the score of every window."""
    evidence, reported = Evidence(), list[Score]()
    for number, away in enumerate(aways):
        weighed = weigh([_gap(away)], Window(number, number + 1), evidence, ALLOWED)
        evidence = weighed.evidence
        reported += weighed.newest
    return evidence, reported


@pytest.mark.parametrize(("away", "windows"), [(0.5, 45), (1.0, 14), (2.0, 5), (4.5, 2), (8.0, 2)])
def test_larger_lasting_gap_is_detected_sooner(away: float, windows: int) -> None:
    found = _windows_until_evidence([away] * 100)
    assert found is not None
    assert found <= windows


def test_false_alarm_rate_stays_within_the_budget() -> None:
    chance, found, windows = random.Random(5), 0, 0
    evidence = Evidence()
    for number in range(5_000):
        gaps = [_gap(chance.gauss(0, 1)), _gap(chance.gauss(0, 1), ERROR_GAP)]
        weighed = weigh(gaps, Window(number, number + 1), evidence, ALLOWED)
        evidence, (reported,) = weighed.evidence, weighed.newest
        windows += 1
        if reported.breached:
            found, evidence = found + 1, Evidence()
    assert 0 < found <= ALLOWED * windows


def test_false_alarm_rate_stays_within_the_budget_if_windows_are_revised() -> None:
    """Labels arrive in fifths; each window is weighed with three, four and five fifths."""
    chance, found, windows = random.Random(6), 0, 2_000
    evidence = Evidence()
    for number in range(windows):
        fifths = [chance.gauss(0, 1) for _ in range(5)]
        for known in (3, 4, 5):
            away = sum(fifths[:known]) / known**0.5
            weighed = weigh([_gap(away)], Window(number, number + 1), evidence, ALLOWED)
            evidence = weighed.evidence
            if weighed.newest and weighed.newest[0].breached:
                found, evidence = found + 1, Evidence(start=number + 1)
    assert 0 < found <= ALLOWED * windows


@pytest.mark.parametrize("before", [0, 5, 40])
def test_single_window_is_never_enough_evidence(before: int) -> None:
    calm = [-0.5] * before
    assert _windows_until_evidence([*calm, 500.0, *[-0.5] * 5]) is None
    assert _windows_until_evidence([*calm, 500.0, 500.0]) == before + 2


def test_a_revision_replaces_the_gap_of_its_window() -> None:
    evidence, _ = _weigh_all([3.0, 3.0, 0.0])
    weighed = weigh([_gap(-3.0)], Window(0, 1), evidence, ALLOWED)
    assert weighed.evidence == _weigh_all([-3.0, 3.0, 0.0])[0]
    assert weighed.of_window == _weigh_all([-3.0])[1]
    assert weighed.newest[0].value == _weigh_all([-3.0, 3.0, 0.0])[1][-1].value


def test_evidence_of_an_earlier_release_continues() -> None:
    state = RuleState(evidence={GAP: [90.0, 90.0, 90.0, 90.0]}).concept_evidence
    weighed = weigh([_gap(2.0)], Window(0, 1), state, ALLOWED)
    assert weighed.newest[0].value is not None
    assert weighed.newest[0].value > 90


@given(st.lists(st.floats(-5, 0), min_size=1, max_size=60))
def test_tolerated_gaps_are_no_evidence(aways: list[float]) -> None:
    assert _windows_until_evidence([away - 1 for away in aways]) is None


def test_evidence_fades_when_the_gap_has_closed() -> None:
    assert not _weigh_all([9.0] * 20 + [-0.5] * 60)[1][-1].breached


def test_a_window_without_a_gap_changes_nothing() -> None:
    evidence, _ = _weigh_all([1.0])
    unknown = Score(name=GAP, value=None, note="could not be computed")
    for scores in ([], [unknown], [Score(name="roc_auc", value=0.7)]):
        weighed = weigh(scores, Window(1, 2), evidence, ALLOWED)
        assert (weighed.evidence, weighed.newest) == (evidence, [])


def test_evidence_is_deterministic() -> None:
    first, again = _weigh_all([0.3, -1.2, 2.0]), _weigh_all([0.3, -1.2, 2.0])
    assert first == again
    assert first[1][-1].note == "2.0"


def test_evidence_stores_a_bounded_number_of_windows() -> None:
    evidence, _ = _weigh_all([0.1] * 500)
    assert len(evidence.windows) < 100
    late = weigh([_gap(8.0)], Window(3, 4), evidence, ALLOWED)
    assert (late.evidence, late.of_window) == (evidence, [])
