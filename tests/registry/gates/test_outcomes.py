"""The verdict of a gate run, from the outcomes of its gates."""

from hypothesis import given
from hypothesis import strategies as st

from registry.gates.outcomes import (
    Champion,
    GateFigure,
    GateOutcome,
    GateReport,
    at_most,
    encode_report,
    of_figures,
    report_digest,
    verdict_of,
)
from registry.history.rows import NO_CHAMPION

_OUTCOME = st.sampled_from(["passed", "failed", "not enough data"])
_NAMES = st.sampled_from("abcdef")


@given(st.dictionaries(_NAMES, _OUTCOME), st.dictionaries(_NAMES, st.booleans()))
def test_passed_means_that_every_blocking_gate_passed(
    found: dict[str, str], required: dict[str, bool]
) -> None:
    outcomes = [GateOutcome(name, "size", outcome) for name, outcome in found.items()]  # type: ignore[arg-type]
    blocking = [found.get(name) for name, needed in required.items() if needed]
    passed = verdict_of(outcomes, required) == "passed"
    assert passed == all(outcome == "passed" for outcome in blocking)


def test_a_gate_without_outcome_has_failed() -> None:
    assert verdict_of([], {"loads": True}) == "failed"


@given(st.lists(st.tuples(_OUTCOME, st.booleans(), st.booleans()), max_size=6))
def test_a_gate_passes_only_if_a_figure_was_judged(found: list[tuple[str, bool, bool]]) -> None:
    figures = [
        GateFigure("f", 1.0 if known else None, outcome, group="g" if group else "")  # type: ignore[arg-type]
        for outcome, known, group in found
    ]
    outcome = of_figures(figures)
    assert (outcome == "failed") == any(figure.outcome == "failed" for figure in figures)
    if outcome == "passed":
        assert any(figure.outcome == "passed" for figure in figures)


@given(st.none() | st.floats(), st.floats(allow_nan=False))
def test_a_missing_number_is_never_within_a_limit(value: float | None, limit: float) -> None:
    figure = at_most("f", value, limit)
    within = value is not None and value <= limit
    assert (figure.outcome == "passed") == within


def _report(champion: Champion | None, *gates: GateOutcome) -> GateReport:
    return GateReport("m", "1", "d1", 3, "passed", list(gates), champion, 1, 2, "ann")


def test_a_report_names_the_champion_that_it_compared_with() -> None:
    alone = GateOutcome("a", "size", "passed")
    compared = GateOutcome("b", "size", "passed", against_champion=True)
    champion = Champion("2", "d2")
    assert not _report(champion, alone).compared_with
    assert _report(champion, alone, compared).compared_with == "d2"
    assert _report(None, compared).compared_with == NO_CHAMPION


def test_the_digest_is_of_the_stored_bytes() -> None:
    one, other = _report(None), _report(Champion("2", "d2"))
    assert report_digest(encode_report(one)) == report_digest(encode_report(_report(None)))
    assert report_digest(encode_report(one)) != report_digest(encode_report(other))
