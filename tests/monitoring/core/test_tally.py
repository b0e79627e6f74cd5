"""Counts of parts add up to those of the whole, however it is taken apart."""

import math
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from monitoring.core.domain import MISSING, OUTSIDE, Domain, bounds
from monitoring.core.tally import InputTally

DOMAIN = Domain([(-1.0, 1.0), frozenset({"red", "1"}), None])
VALUES = st.tuples(
    st.sampled_from([None, math.nan, 0, 1.0, -1.5, 2**70, 10**400, "Infinity", "-Infinity", True]),
    st.sampled_from([None, "red", "green", 1, 1.0, True, "1", 2.5, ["red"]]),
    st.sampled_from([None, 7]),
)
PARTS = st.lists(st.lists(VALUES), max_size=6)


def _tally(rows: list[Any], withheld: int = 0) -> InputTally:
    tally = InputTally(withheld=withheld)
    tally.add(DOMAIN.odd(rows))
    return tally


def _merged(parts: list[InputTally]) -> InputTally:
    whole = InputTally()
    for part in parts:
        whole.merge(part)
    return whole


@given(PARTS, st.randoms(use_true_random=False))
def test_parts_add_up_in_any_order_to_what_is_counted_at_once(
    parts: list[list[Any]], chance: Any
) -> None:
    tallies = [_tally(part, withheld=2) for part in parts]
    chance.shuffle(tallies)
    cut = chance.randrange(len(parts) + 1)
    together = _merged([_merged(tallies[:cut]), _merged(tallies[cut:])])
    rows = [row for part in parts for row in part]
    assert together == (_tally(rows, withheld=2 * len(parts)) if parts else InputTally())


@given(st.lists(VALUES, min_size=1))
def test_rows_without_anything_odd_can_be_counted_by_their_number(rows: list[Any]) -> None:
    odd = DOMAIN.odd(rows)
    dull = ~odd.any(axis=1)
    tally = InputTally()
    tally.add(odd[~dull], ordinary=int(dull.sum()))
    assert tally == _tally(rows)


def test_a_value_is_missing_or_outside_of_what_the_reference_has_or_neither() -> None:
    rows = [
        (None, None, None),
        (math.nan, "green", None),
        (-1, "red", None),
        (1.5, 1.0, None),
        ("-Infinity", True, None),
        (10**400, 2, None),
        (-(10**400), ["red"], None),
        ("1", "red", None),
        ([1], "red", None),
    ]
    assert DOMAIN.odd(rows).tolist() == [
        [MISSING, MISSING, 0],
        [MISSING, OUTSIDE, 0],
        [0, 0, 0],
        [OUTSIDE, 0, 0],
        [OUTSIDE, 0, 0],
        [OUTSIDE, OUTSIDE, 0],
        [OUTSIDE, OUTSIDE, 0],
        [0, 0, 0],
        [OUTSIDE, 0, 0],
    ]


def test_what_is_remembered_of_categories_has_an_end_and_changes_nothing() -> None:
    column = [(0.0, f"new {n}", None) for n in range(25_000)] + [(0.0, "red", None)]
    found = np.concatenate([DOMAIN.odd(column[at : at + 999]) for at in range(0, 25_001, 999)])
    assert found[:, 1].tolist() == [OUTSIDE] * 25_000 + [0]


def test_a_range_is_of_finite_numbers_and_without_any_holds_everything() -> None:
    parts = [np.array([np.nan, 2.0]), np.array([]), np.array([np.inf, -3.0])]
    assert bounds(parts) == (-3.0, 2.0)
    assert bounds([np.array([np.nan])]) == (-math.inf, math.inf)
    assert Domain([bounds([])]).odd([(math.inf,)]).tolist() == [[0]]


def test_counting_leaves_what_was_merged_as_it_was() -> None:
    part = _tally([(None, "green", None)])
    before = replace(part)
    _merged([part, part])
    assert part == before
