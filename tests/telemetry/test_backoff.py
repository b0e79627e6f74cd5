"""Pauses between failing attempts grow to a limit and start small after a success."""

from hypothesis import given
from hypothesis import strategies as st

from telemetry.backoff import Backoff, pause_after


def test_pauses_grow_to_the_longest_and_begin_again() -> None:
    pauses = Backoff(1.0, 6.0)
    assert [pauses.next() for _ in range(5)] == [1.0, 2.0, 4.0, 6.0, 6.0]
    pauses.reset()
    assert pauses.next() == 1.0


def test_the_caller_chooses_the_factor() -> None:
    assert [pause_after(n, 5, 60, factor=3) for n in (1, 2, 3, 4)] == [5, 15, 45, 60]


@given(st.integers(1, 10**9), st.floats(0.001, 10), st.floats(0.001, 1e6))
def test_no_pause_is_longer_than_the_longest(failures: int, first: float, longest: float) -> None:
    assert 0 < pause_after(failures, first, longest) <= longest
