"""Alarm states compared with a simple reference state machine, for random histories."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from monitoring.alarms.alarm_lifecycle import RuleState, judge
from monitoring.alarms.decision import judgement, verdict
from monitoring.results import Alarm, Result, Score, Window
from registry.manifest import AlarmPolicy

HOUR = 3_600_000_000


def _result(hour: int, *, drifted: bool, rows: int = 100) -> Result:
    scores = [
        Score(name="drift", column="x", value=0.4, threshold=0.2, breached=drifted),
        Score(name="drifted_share", value=1.0, threshold=0.5, breached=drifted),
    ]
    return Result(
        model="tiny",
        version="1",
        window=Window(hour * HOUR, (hour + 1) * HOUR),
        rows=rows,
        scores=scores,
    )


def _states(history: list[str], consecutive: int) -> list[tuple[str, str]]:
    """Return the reported state and the open alarm after each window."""
    policy = AlarmPolicy(min_rows=100, consecutive=consecutive)
    streak, alarms = RuleState(), dict[str, Alarm]()
    reported: list[tuple[str, str]] = []
    for hour, kind in enumerate(history):
        result = _result(hour, drifted=kind != "kept", rows=99 if kind == "few" else 100)
        streak, alarm = judge(streak, alarms.get(streak.open_alarm), "drift", result, policy)
        if alarm is not None:
            alarms[alarm.alarm_id] = alarm
        reported.append((alarm.state if alarm else "", streak.open_alarm))
    return reported


def _expected(history: list[str], consecutive: int) -> list[str]:
    """Return the expected state after each window, from the run of equal windows before it."""
    reported, run, last, is_open = list[str](), 0, "", False
    for kind in history:
        if kind == "few":
            reported.append("")
            continue
        run, last = (run + 1 if kind == last else 1), kind
        if kind == "broken" and (is_open or run >= consecutive):
            reported.append("firing")
            is_open = True
        elif kind == "kept" and is_open and run >= consecutive:
            reported.append("resolved")
            is_open = False
        else:
            reported.append("")
    return reported


@given(st.lists(st.sampled_from(["broken", "kept", "few"]), max_size=30), st.integers(1, 4))
def test_alarm_states_equal_the_reference_state_machine_for_every_history(
    history: list[str], consecutive: int
) -> None:
    assert [state for state, _ in _states(history, consecutive)] == _expected(history, consecutive)


@given(st.lists(st.sampled_from(["broken", "kept"]), max_size=12), st.integers(1, 3), st.data())
def test_windows_with_too_few_rows_do_not_change_alarm_states(
    history: list[str], consecutive: int, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(history)))
    mixed = [*history[:place], "few", *history[place:]]
    states = [state for state, _ in _states(mixed, consecutive)]
    assert states.pop(place) == ""
    assert states == [state for state, _ in _states(history, consecutive)]


@given(st.lists(st.sampled_from(["broken", "kept"]), max_size=30))
def test_alarm_keeps_its_id_until_it_resolves_and_no_other_alarm_reuses_it(
    history: list[str],
) -> None:
    spans: list[str] = []
    for _, name in _states(history, consecutive=2):
        if not spans or spans[-1] != name:
            spans.append(name)
    names = [name for name in spans if name]
    assert len(names) == len(set(names))


def test_acknowledged_alarm_resolves_and_the_next_alarm_has_a_new_id() -> None:
    policy = AlarmPolicy(min_rows=1, consecutive=1)
    streak, first = judge(RuleState(), None, "drift", _result(0, drifted=True), policy)
    assert first is not None
    acknowledged = replace(first, state="acknowledged")
    streak, resolved = judge(streak, acknowledged, "drift", _result(1, drifted=False), policy)
    assert resolved is not None
    assert (resolved.state, streak.open_alarm) == ("resolved", "")
    _, second = judge(streak, None, "drift", _result(2, drifted=True), policy)
    assert second is not None
    assert second.state == "firing"
    assert second.alarm_id != first.alarm_id


def test_alarm_id_differs_by_model_version_and_rule() -> None:
    policy = AlarmPolicy(min_rows=1, consecutive=1)
    bad = _result(0, drifted=True)
    auc = Score(name="roc_auc", value=0.5, threshold=0.6, breached=True)
    both = replace(bad, labelled=100, scores=[*bad.scores, auc])
    ids = {
        judge(RuleState(), None, rule, result, policy)[1].alarm_id  # type: ignore[union-attr]
        for rule, result in [
            ("drift", both),
            ("performance", both),
            ("drift", replace(both, version="2")),
            ("drift", replace(both, model="other")),
        ]
    }
    assert len(ids) == 4


def test_window_with_too_few_rows_is_never_judged() -> None:
    policy = AlarmPolicy(min_rows=100)
    few = replace(_result(0, drifted=True, rows=99), labelled=99)
    assert verdict(few, policy) == "not enough data"
    assert judgement("drift", few, policy) == "not enough data"
    assert judgement("drift", replace(few, rows=100), policy) == "broken"
