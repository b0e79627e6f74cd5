"""Alarms about groups: the scores that break a rule, and the facts that an alarm states."""

import msgspec

from monitoring.alarms.alarm_lifecycle import RuleState, judge
from monitoring.alarms.decision import alarm_facts, breached, verdict
from monitoring.alarms.retrain_request import retrain_alarm
from monitoring.results import Alarm, Result, Rule, Score, Window
from registry.manifest import AlarmPolicy, MaxGap

DAY = 86_400_000_000
T0 = 1_372_636_800_000_000
POLICY = AlarmPolicy(
    min_rows=100, consecutive=2, min_segment_score=0.6, max_gap=MaxGap(selection_rate=0.2)
)


def _gap(value: float | None, *, breached: bool = True, column: str = "carrier") -> Score:
    return Score(
        name="selection_rate_gap", value=value, threshold=0.2, breached=breached, segment=column,
        note="HA 0.512, UA 0.150; lower bound 0.231 between HA and UA",
    )  # fmt: skip


def _group(value: float, *, breached: bool = True, name: str = "UA") -> Score:
    return Score(
        name="roc_auc", value=value, threshold=0.6, breached=breached, segment=f"carrier={name}",
        note="on 320 labels",
    )  # fmt: skip


def _result(day: int, *scores: Score, rows: int = 1_000) -> Result:
    window = Window(T0 + day * DAY, T0 + (day + 1) * DAY)
    return Result(model="tiny", version="1", window=window, rows=rows, scores=list(scores))


def _judged(rule: Rule, *results: Result) -> list[Alarm | None]:
    streak, alarm, reported = RuleState(), None, []
    for result in results:
        streak, alarm = judge(streak, alarm, rule, result, POLICY)
        reported.append(alarm)
    return reported


def test_lasting_gap_raises_an_alarm_that_names_the_segment() -> None:
    first, alarm = _judged("selection_rate_gap", _result(0, _gap(0.362)), _result(1, _gap(0.362)))
    assert first is None
    assert alarm is not None
    assert alarm_facts(alarm, _result(1, _gap(0.362))).score.segment == "carrier"
    assert alarm.severity == "warning"


def test_low_segment_score_raises_an_alarm_and_requests_retraining() -> None:
    scores = [_group(0.55), _group(0.41, name="HA"), _group(0.7, breached=False, name="AA")]
    _, alarm = _judged("segment", _result(0, *scores), _result(1, *scores))
    assert alarm is not None
    score = alarm_facts(alarm, _result(1, *scores)).score
    assert (score.segment, score.value) == ("carrier=HA", 0.41)
    assert retrain_alarm([alarm], 0) == alarm


def test_gap_alarm_requests_no_retraining() -> None:
    _, alarm = _judged("selection_rate_gap", _result(0, _gap(0.4)), _result(1, _gap(0.4)))
    assert alarm is not None
    assert retrain_alarm([alarm], 0) is None


def test_groups_with_too_few_rows_neither_fire_nor_resolve_an_alarm() -> None:
    unknown = _gap(None, breached=False)
    reported = _judged(
        "selection_rate_gap",
        *(_result(day, _gap(0.4)) for day in (0, 1)),
        *(_result(day, unknown) for day in (2, 3, 4)),
        _result(5, _gap(0.1, breached=False)),
    )
    assert [alarm is not None for alarm in reported] == [False, True, False, False, False, False]
    assert verdict(_result(2, unknown), POLICY) == "not enough data"


def test_a_gap_that_closes_resolves_its_alarm() -> None:
    streak, alarm = RuleState(), None
    for day, wide in enumerate([True, True, False, False]):
        before = alarm
        streak, alarm = judge(
            streak, alarm, "selection_rate_gap", _result(day, _gap(0.3, breached=wide)), POLICY
        )
        alarm = alarm or before
    assert alarm is not None
    assert alarm.state == "resolved"


def test_window_with_a_selection_rate_gap_is_degraded() -> None:
    fine = Score(name="roc_auc", value=0.7, threshold=0.6)
    assert verdict(_result(0, fine, _gap(0.4)), POLICY) == "degraded"
    assert verdict(_result(0, fine, _gap(0.1, breached=False)), POLICY) == "ok"
    assert breached("performance", _result(0, _group(0.1))) is None


def test_alarm_names_the_column_furthest_beyond_its_limit() -> None:
    result = _result(0, _gap(0.3, column="origin"), _gap(0.5), _gap(0.4, column="size"))
    worst = breached("selection_rate_gap", result)
    assert worst is not None
    assert worst.segment == "carrier"


def test_gap_without_a_limit_breaks_no_rule() -> None:
    unlimited = msgspec.structs.replace(_gap(0.9), threshold=None)
    assert breached("selection_rate_gap", _result(0, unlimited)) is None
    assert _judged("selection_rate_gap", _result(0, unlimited), _result(1, unlimited)) == [
        None,
        None,
    ]
