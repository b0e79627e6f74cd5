"""Due deadlines equal the result of a scan over every key."""

from hypothesis import given
from hypothesis import strategies as st

from monitoring.windows.deadlines import Deadlines

times = st.integers(0, 40)
steps = st.lists(st.tuples(st.sampled_from(["set", "pop"]), st.integers(0, 9), times), max_size=400)


@given(steps)
def test_due_keys_equal_the_result_of_a_full_scan(operations: list[tuple[str, int, int]]) -> None:
    deadlines: Deadlines[int] = Deadlines()
    expected: dict[int, int] = {}
    for kind, key, time in operations:
        if kind == "set":
            deadlines.set(key, time)
            expected[key] = time
        else:
            due = {key for key, deadline in expected.items() if deadline <= time}
            assert sorted(deadlines.pop_due(time)) == sorted(due)
            for due_key in due:
                del expected[due_key]


def test_replaced_deadlines_do_not_accumulate() -> None:
    deadlines: Deadlines[str] = Deadlines()
    for time in range(10_000):
        deadlines.set("flights", 1_000_000 + time)
    assert len(deadlines) < 100
    assert deadlines.pop_due(2_000_000) == ["flights"]
