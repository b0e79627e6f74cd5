"""The verdict blames the service only for measurements that the generator could make."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests import shapes
from loadtests.verdict import ClientMeasurements, Generator, Objectives, Outcome, judge, quantile

OBJECTIVES = Objectives(p99_ms=50.0, max_error_share=0.01)
MEASURED = ClientMeasurements(
    requests=1_000, failed=5, refused=100, seconds=10.0, p50_ms=2.0, p99_ms=40.0
)
CALM, BUSY, LATE = Generator(0.3, 1.0), Generator(0.97, 1.0), Generator(0.3, 80.0)


def test_fulfilled_objectives_are_met() -> None:
    verdict = judge(OBJECTIVES, MEASURED, CALM)
    assert verdict.outcome == Outcome.MET == 0
    assert "895 requests answered in 10 s (90/s), 5 failed, 100 refused" in str(verdict)
    assert "BOTTLENECK" not in str(verdict)


@pytest.mark.parametrize("changes", [{"p99_ms": 50.1}, {"failed": 11}])
def test_one_missed_objective_fails_the_load_test(changes: dict[str, float]) -> None:
    verdict = judge(OBJECTIVES, msgspec.structs.replace(MEASURED, **changes), CALM)
    assert verdict.outcome == Outcome.MISSED == 1
    assert str(verdict).count("MISSED") == 1


@pytest.mark.parametrize("generator", [BUSY, LATE])
def test_a_saturated_generator_makes_a_miss_inconclusive(
    generator: Generator,
) -> None:
    slow = msgspec.structs.replace(MEASURED, p99_ms=500.0)
    assert judge(OBJECTIVES, slow, generator).outcome == Outcome.INCONCLUSIVE == 3
    met = judge(OBJECTIVES, MEASURED, generator)
    assert met.outcome == Outcome.MET
    assert "BOTTLENECK" in str(met)


def test_a_service_without_replies_misses_the_objectives() -> None:
    none = ClientMeasurements(requests=0, failed=0, refused=0, seconds=0.0, p50_ms=0.0, p99_ms=0.0)
    assert judge(OBJECTIVES, none, BUSY).outcome == Outcome.MISSED
    refused = msgspec.structs.replace(MEASURED, failed=0, refused=1_000)
    assert judge(OBJECTIVES, refused, CALM).outcome == Outcome.MISSED


@given(st.lists(st.lists(st.integers(1, 500), max_size=50), max_size=4), st.floats(0.01, 1))
def test_a_quantile_over_several_counts_covers_all_latencies(
    parts: list[list[int]], share: float
) -> None:
    latencies = sorted(value for part in parts for value in part)
    counts = [{value: part.count(value) for value in part} for part in parts]
    found = quantile(counts, share)
    if not latencies:
        assert found == 0
        return
    assert sum(value <= found for value in latencies) >= share * len(latencies)
    assert sum(value < found for value in latencies) < share * len(latencies)


@given(st.sampled_from(shapes.NAMES), st.floats(0, 1), st.integers(1, 1_000))
def test_every_shape_stays_between_one_user_and_its_maximum(
    shape: shapes.Name, passed: float, users: int
) -> None:
    height = shapes.OVERLOAD[-1] if shape == "overload" else 1
    assert 1 <= shapes.users_at(shape, passed, users) <= height * users


def test_shapes_run_as_they_are_named() -> None:
    times = (0.0, 0.3, 0.5, 0.8)
    course = {name: [shapes.users_at(name, t, 100) for t in times] for name in shapes.NAMES}
    assert course == {
        "steady": [100, 100, 100, 100],
        "step": [25, 50, 75, 100],
        "spike": [10, 10, 100, 10],
        "soak": [1, 100, 100, 100],
        "overload": [100, 200, 500, 1_000],
        "drift": [100, 100, 100, 100],
    }


def test_drift_grows_through_the_middle_of_its_shape_and_is_there_at_once_in_others() -> None:
    assert [shapes.drift_at("drift", t) for t in (0, 0.3, 0.5, 0.7, 1)] == pytest.approx(
        [0, 0, 0.5, 1, 1]
    )
    assert shapes.drift_at("steady", 0) == 1
