"""Selection of rows for review, and the weights of their labels."""

import random
from statistics import mean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.reviews.selection import (
    STRATA,
    Choice,
    PeriodSelection,
    ReviewCandidate,
    Sizes,
    uniforms,
)
from monitoring.reviews.weights import label_weights
from registry.manifest import ReviewPolicy

pytestmark = pytest.mark.untraced

_SIZES = Sizes(uncertain=10, diverse=6, random=4)
Row = tuple[int, float | None, int]  # number, margin, stratum


def _candidate(row: Row, seed: int = 0) -> ReviewCandidate:
    number, margin, stratum = row
    return ReviewCandidate(
        (f"id{number}", 0), uniforms(f"source:{seed}:{number}", 0), margin, stratum
    )


def _chosen(rows: list[Row], seed: int = 0, sizes: Sizes = _SIZES) -> list[Choice]:
    period = PeriodSelection(sizes)
    for row in rows:
        period.count(row[2], row[1])
        period.offer(_candidate(row, seed))
    return period.choose(sizes)


_rows = st.lists(
    st.tuples(
        st.integers(0, 10_000),
        st.none() | st.floats(0, 1),
        st.integers(0, STRATA - 1),
    ),
    max_size=120,
    unique_by=lambda row: row[0],
)


@given(_rows, st.randoms())
def test_selection_does_not_depend_on_the_order_of_rows(
    rows: list[Row], chance: random.Random
) -> None:
    shuffled = list(rows)
    chance.shuffle(shuffled)
    assert _chosen(shuffled) == _chosen(rows)


@given(_rows, st.integers(0, 120))
def test_selection_does_not_depend_on_restarts(rows: list[Row], at: int) -> None:
    before, kept = PeriodSelection(_SIZES), {}
    for row in rows[:at]:
        before.count(row[2], row[1])
        held, dropped = before.offer(_candidate(row))
        if held:
            kept[f"id{row[0]}", 0] = _candidate(row)
        for place in dropped:
            del kept[place]
    after = PeriodSelection(_SIZES)
    after.resume(before.strata, before.scored, kept.values())
    for row in rows[at:]:
        after.count(row[2], row[1])
        after.offer(_candidate(row))
    assert after.choose(_SIZES) == _chosen(rows)


@given(_rows)
def test_every_picked_row_has_an_inclusion_probability(rows: list[Row]) -> None:
    chosen = _chosen(rows)
    assert len(chosen) <= _SIZES.budget
    assert len(chosen) >= min(len(rows), _SIZES.uncertain + _SIZES.random) - _SIZES.diverse
    assert all(0 < one.inclusion <= 1 and one.parts for one in chosen)


def test_rows_without_a_score_do_not_empty_the_queue() -> None:
    rows: list[Row] = [(n, None, n % STRATA) for n in range(500)]
    chosen = _chosen(rows)
    assert len(chosen) >= _SIZES.budget - _SIZES.diverse
    assert {part for one in chosen for part in one.parts} == {"diverse", "random"}


def test_budget_is_split_by_policy_with_at_least_one_random_row() -> None:
    assert Sizes.of(ReviewPolicy(), 86_400) == Sizes(25, 15, 10)
    one = ReviewPolicy(per_day=1, uncertain=0.9, diverse=0.05, random=0.05)
    assert Sizes.of(one, 86_400) == Sizes(0, 0, 1)
    assert Sizes.of(ReviewPolicy(per_day=48), 21_600) == Sizes(6, 4, 2)


def test_weighted_accuracy_of_queue_labels_is_unbiased() -> None:
    """600 rows, wrong with probability (1 - margin) / 2; 300 independent draws of the queue."""
    chance = random.Random(7)
    rows: list[Row] = [(n, chance.random() ** 0.5, int(n**0.5) % STRATA) for n in range(600)]
    right = {f"id{n}": chance.random() > (1 - (margin or 0)) / 2 for n, margin, _ in rows}
    truth = mean(right.values())
    totals, weighted, plain, uncertain = [], [], [], []
    for seed in range(300):
        chosen = _chosen(rows, seed)
        hits = [right[one.place[0]] for one in chosen]
        raw = [1 / one.inclusion for one in chosen]
        weights = label_weights([one.inclusion for one in chosen])
        totals.append(sum(w * hit for w, hit in zip(raw, hits, strict=True)) / len(rows))
        weighted.append(sum(w * h for w, h in zip(weights, hits, strict=True)) / sum(weights))
        plain.append(mean(hits))
        picked = [h for h, one in zip(hits, chosen, strict=True) if "uncertain" in one.parts]
        uncertain.append(mean(picked))

    def errors(found: list[float]) -> float:
        """Return the bias in standard errors of the mean of all draws."""
        return abs(mean(found) - truth) / (stdev(found) / len(found) ** 0.5)

    assert errors(totals) < 3  # Horvitz and Thompson: unbiased
    assert abs(mean(weighted) - truth) < 0.02  # Hajek: its bias vanishes with the number of labels
    assert errors(plain) > 10
    assert errors(uncertain) > 10
    assert truth - mean(uncertain) > 0.1


def test_label_weights_never_exceed_the_number_of_labels() -> None:
    assert label_weights([0.5] * 4) == pytest.approx([1.0] * 4)
    assert sum(label_weights([1.0, 1.0, 0.001])) < 1.01
    assert sum(label_weights([])) == 0
