"""Counters of parts, merged in any order, equal the counters of the whole."""

import math
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from monitoring.counters.exact_sum import ExactSum, to_integers
from monitoring.counters.plain_values import MISSING, OUTSIDE
from monitoring.counters.reference_domain import Domain, bounds
from monitoring.counters.window_counters import (
    MOST_NAMES,
    ConfusionMatrix,
    ErrorSums,
    InputCounters,
    LabelCounters,
)

DOMAIN = Domain([(-1.0, 1.0), frozenset({"red", "1"}), None])
VALUES = st.tuples(
    st.sampled_from([None, math.nan, 0, 1.0, -1.5, 2**70, 10**400, "Infinity", "-Infinity", True]),
    st.sampled_from([None, "red", "green", 1, 1.0, True, "1", 2.5, ["red"]]),
    st.sampled_from([None, 7]),
)
PARTS = st.lists(st.lists(VALUES), max_size=6)


def _count_inputs(rows: list[Any], withheld: int = 0) -> InputCounters:
    counter = InputCounters(withheld=withheld)
    counter.add(DOMAIN.codes(rows))
    return counter


def _merged(parts: list[InputCounters]) -> InputCounters:
    whole = InputCounters()
    for part in parts:
        whole.merge(part)
    return whole


@given(PARTS, st.randoms(use_true_random=False))
def test_merged_input_counters_equal_the_counters_of_all_rows(
    parts: list[list[Any]], chance: Any
) -> None:
    counters = [_count_inputs(part, withheld=2) for part in parts]
    chance.shuffle(counters)
    cut = chance.randrange(len(parts) + 1)
    together = _merged([_merged(counters[:cut]), _merged(counters[cut:])])
    rows = [row for part in parts for row in part]
    assert together == (_count_inputs(rows, withheld=2 * len(parts)) if parts else InputCounters())


@given(st.lists(VALUES, min_size=1))
def test_ordinary_rows_can_be_counted_by_number(rows: list[Any]) -> None:
    codes = DOMAIN.codes(rows)
    ordinary = ~codes.any(axis=1)
    counter = InputCounters()
    counter.add(codes[~ordinary], inside=int(ordinary.sum()))
    assert counter == _count_inputs(rows)


def test_values_are_coded_as_missing_outside_or_inside_the_reference() -> None:
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
    assert DOMAIN.codes(rows).tolist() == [
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


def test_bounded_category_cache_does_not_change_codes() -> None:
    column = [(0.0, f"new {n}", None) for n in range(25_000)] + [(0.0, "red", None)]
    codes = np.concatenate([DOMAIN.codes(column[at : at + 999]) for at in range(0, 25_001, 999)])
    assert codes[:, 1].tolist() == [OUTSIDE] * 25_000 + [0]


def test_range_uses_finite_numbers_and_is_unlimited_without_them() -> None:
    parts = [np.array([np.nan, 2.0]), np.array([]), np.array([np.inf, -3.0])]
    assert bounds(parts) == (-3.0, 2.0)
    assert bounds([np.array([np.nan])]) == (-math.inf, math.inf)
    assert Domain([bounds([])]).codes([(math.inf,)]).tolist() == [[0]]


def test_merge_does_not_change_the_merged_counters() -> None:
    part = _count_inputs([(None, "green", None)])
    before = replace(part)
    _merged([part, part])
    assert part == before


LABELS = st.sampled_from(["yes", "no", 1, 1.0, True, "1", 0, None, "x" * 101])
PAIRS = st.lists(st.tuples(LABELS, LABELS), max_size=20)
NAMES = st.integers(0, 60)
NUMBERS = st.floats(allow_nan=False) | st.integers() | st.sampled_from(["2.5", "Infinity", "cheap"])


def _confusion(pairs: Iterable[tuple[Any, Any]]) -> ConfusionMatrix:
    confusion = ConfusionMatrix()
    confusion.add(pairs)
    return confusion


def _errors(pairs: Iterable[tuple[Any, Any]]) -> ErrorSums:
    errors = ErrorSums()
    errors.add(pairs)
    return errors


def _check_parts_add_up(
    parts: list[Any], count: Callable[[Iterable[Any]], Any], chance: Any
) -> None:
    """Check that parts merged in any order and groups equal the whole to the byte."""
    everything = [pair for part in parts for pair in part]
    chance.shuffle(parts)
    cut = chance.randrange(len(parts) + 1)
    halves = count([]), count([])
    for half, some in zip(halves, (parts[:cut], parts[cut:]), strict=True):
        for part in some:
            half.merge(count(part))
    halves[0].merge(halves[1])
    assert _bytes(halves[0]) == _bytes(count(everything))


def _bytes(counter: ConfusionMatrix | ErrorSums) -> bytes:
    both = LabelCounters()
    both.merge(
        LabelCounters(confusion=counter)
        if isinstance(counter, ConfusionMatrix)
        else LabelCounters(errors=counter)
    )
    return msgspec.json.encode(both.in_order())


@given(st.lists(PAIRS, max_size=5), st.randoms(use_true_random=False))
def test_merged_confusion_matrices_equal_the_matrix_of_all_pairs(
    parts: list[Any], chance: Any
) -> None:
    _check_parts_add_up(parts, _confusion, chance)


@given(st.lists(st.lists(st.tuples(NAMES, NAMES), max_size=60), max_size=3), st.randoms())
def test_merged_confusion_matrices_with_too_many_classes_equal_the_whole(
    parts: list[Any], chance: Any
) -> None:
    _check_parts_add_up(parts, _confusion, chance)


@given(st.lists(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=9), max_size=5), st.randoms())
def test_merged_error_sums_equal_the_sums_of_all_pairs(parts: list[Any], chance: Any) -> None:
    _check_parts_add_up(parts, _errors, chance)


def test_confusion_matrix_limits_number_and_length_of_class_names() -> None:
    enough = _confusion((n, n) for n in range(MOST_NAMES))
    assert (len(enough.cells), enough.crowded) == (MOST_NAMES, False)
    enough.add([(0, "one more")])
    assert (enough.cells, enough.crowded, enough.rows, enough.hits) == ({}, True, 51, 50)
    assert _confusion([("x" * 101, 1)]).crowded
    assert not _confusion([("x" * 100, 1)]).crowded


def test_ordered_label_counters_do_not_change_afterwards() -> None:
    counter = LabelCounters()
    counter.confusion.add([(1, 0)])
    counter.errors.add([(1, 0)])
    before = counter.in_order()
    encoded = msgspec.json.encode(before)
    counter.confusion.add([(1, 0)])
    counter.errors.add([(1, 0)])
    assert msgspec.json.encode(before) == encoded


def test_non_numeric_labels_are_ignored_and_infinite_errors_are_undefined() -> None:
    errors = _errors([("cheap", 1), (1, 2), (None, 1), (2, "Infinity"), (-1e308, 1e308), (3, "2")])
    assert (errors.rows, errors.undefined) == (4, 2)
    assert (errors.errors.mean(2), errors.absolute.mean(2), errors.squares.mean(2)) == (0, 1, 1)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1))
def test_a_sum_of_floats_is_exact(values: list[float]) -> None:
    integers, shift = to_integers(values)
    assert [Fraction(integer, 1 << shift) for integer in integers] == values
    total = sum((ExactSum.of(integer, shift) for integer in integers), ExactSum())
    expected = sum(map(Fraction, values), Fraction(0))
    assert Fraction(total.numerator, 1 << total.shift) == expected
    assert msgspec.json.decode(msgspec.json.encode(total), type=ExactSum) == total
    try:
        mean = float(expected / len(values))
    except OverflowError:
        mean = math.copysign(math.inf, expected)
    assert total.mean(len(values)) == mean
    assert ExactSum.of(sum(integers), shift) == total
    assert total + ExactSum.of(-integers[0], shift) + ExactSum.of(integers[0], shift) == total


def test_numeric_columns_are_coded_the_same_at_any_position() -> None:
    ranges = [(-1.0, 1.0), (0.0, 9.0)]
    rows: list[list[Any]] = [[0.5, 3, "yes"], [7.0, -2, "no"], [True, 10**400, "no"]]
    with_missing = [*rows, [None, math.inf, "no"], ["Infinity", 4.5, "yes"]]
    for sample in (rows[:2], rows, with_missing):
        behind_a_category = [[row[2], *row[:2]] for row in sample]
        elsewhere = Domain(["any", *ranges]).codes(behind_a_category)
        assert Domain(ranges).codes(sample).tolist() == elsewhere[:, 1:].tolist()
