"""Alarms from window results: states, verdicts, facts and retraining requests."""

from typing import Any

import pytest
from msgspec.structs import replace

from eventlog.log import Position
from monitoring.alarms.alarm_lifecycle import RuleState, judge
from monitoring.alarms.decision import alarm_facts, judgement, verdict
from monitoring.alarms.retrain_request import request, retrain_alarm, webhook_id
from monitoring.alarms.severity import drifted_columns
from monitoring.alarms.silences import silenced
from monitoring.presenter.links import rows_path
from monitoring.results import Alarm, Result, Rule, Score, Silence, Window
from monitoring.webhooks.body import envelope
from registry.manifest import AlarmPolicy

DAY = 86_400_000_000
POLICY = AlarmPolicy(min_rows=100, drifted_share=0.5, consecutive=2, min_score=0.7)
JULY = 1_372_636_800_000_000


def _result(day: int, *, drifted: bool = False, auc: float = 0.8, **changes: Any) -> Result:
    scores = [
        Score(name="drift", column="temp", value=0.9, threshold=0.1, breached=drifted),
        Score(name="drift", column="wind", value=0.2, threshold=0.1, breached=drifted),
        Score(name="drift", column="dest", value=0.01, threshold=0.1),
        Score(name="drifted_share", value=0.67, threshold=0.5, breached=drifted),
        Score(name="roc_auc", value=auc, threshold=0.7, breached=auc < 0.7, note="reference 0.810"),
    ]
    window = Window(JULY + day * DAY, JULY + (day + 1) * DAY)
    fields = {"rows": 1200, "labelled": 1200, "scores": scores} | changes
    return Result(model="tiny", version="1", window=window, **fields)


def _judge_in_order(
    rule: Rule, results: list[Result], policy: AlarmPolicy = POLICY
) -> list[tuple[RuleState, Alarm | None]]:
    """Judge the results in order, as the monitor does."""
    streak, known = RuleState(), dict[str, Alarm]()
    steps: list[tuple[RuleState, Alarm | None]] = []
    for result in results:
        streak, alarm = judge(streak, known.get(streak.open_alarm), rule, result, policy)
        if alarm is not None:
            known[alarm.alarm_id] = alarm
        steps.append((streak, alarm))
    return steps


def test_alarm_fires_and_resolves_after_the_configured_consecutive_windows() -> None:
    days = [True, False, True, True, True, False, False, False]
    steps = _judge_in_order("drift", [_result(n, drifted=bad) for n, bad in enumerate(days)])
    states = [alarm.state if alarm else None for _, alarm in steps]
    assert states == [None, None, None, "firing", "firing", None, "resolved", None]
    alarms = [alarm for _, alarm in steps if alarm]
    assert len({alarm.alarm_id for alarm in alarms}) == 1
    assert alarms[1].since == _result(2).window
    assert alarms[1].latest == _result(4).window


def test_single_window_within_the_limit_does_not_resolve_an_alarm() -> None:
    days = [True, True, False, True, False, False]
    states = [
        alarm.state if alarm else None
        for _, alarm in _judge_in_order(
            "drift", [_result(n, drifted=d) for n, d in enumerate(days)]
        )
    ]
    assert states == [None, "firing", None, "firing", None, "resolved"]


def test_resolved_rule_fires_no_alarm_during_its_cool_down() -> None:
    policy = replace(POLICY, consecutive=1, cool_down=3 * 86_400)
    days = [True, False, True, True, True, True, False, True]
    steps = _judge_in_order(
        "drift", [_result(n, drifted=bad) for n, bad in enumerate(days)], policy
    )
    states = [alarm.state if alarm else None for _, alarm in steps]
    # The rule resolves with day 1 and cools down until the end of day 4. A cause that persists
    # then fires at once.
    assert states == ["firing", "resolved", None, None, None, "firing", "resolved", None]
    fired = steps[5][1]
    assert fired is not None
    assert fired.since == _result(2).window


def test_alarm_severity_follows_from_its_rule() -> None:
    bad = [_result(n, drifted=True, auc=0.5) for n in range(2)]
    policy = replace(POLICY, critical=("drift",))
    severities = {}
    for rule in ("drift", "performance"):
        for name, chosen in (("default", POLICY), ("own", policy)):
            alarm = _judge_in_order(rule, bad, chosen)[-1][1]
            assert alarm is not None
            severities[rule, name] = alarm.severity
    assert severities == {
        ("drift", "default"): "warning",
        ("drift", "own"): "critical",
        ("performance", "default"): "critical",
        ("performance", "own"): "warning",
    }


def test_silence_applies_to_matching_alarms_until_it_ends() -> None:
    alarm = _judge_in_order("drift", [_result(0, drifted=True), _result(1, drifted=True)])[-1][1]
    assert alarm is not None

    def is_silenced(now: int = 5, **names: str) -> bool:
        silence = Silence(
            silence_id="s", until=10, created=0, actor="me", reason="known",
            **names,  # type: ignore[arg-type]
        )  # fmt: skip
        return silenced(alarm, [silence], now) is not None

    assert is_silenced()
    assert is_silenced(model="tiny", version="1", rule="drift")
    assert not is_silenced(now=10)
    assert not any(
        (is_silenced(model="other"), is_silenced(version="2"), is_silenced(rule="performance"))
    )


def test_window_with_too_few_rows_neither_counts_nor_resets_the_run() -> None:
    few = _result(1, drifted=True, rows=99)
    assert verdict(few, POLICY) == "not enough data"
    steps = _judge_in_order("drift", [_result(0, drifted=True), few, _result(2, drifted=True)])
    assert [bool(alarm) for _, alarm in steps] == [False, False, True]


def test_acknowledged_alarm_stays_acknowledged_while_it_continues() -> None:
    streak, alarm = _judge_in_order("drift", [_result(0, drifted=True), _result(1, drifted=True)])[
        -1
    ]
    assert alarm is not None
    acknowledged = replace(alarm, state="acknowledged")
    _, after = judge(streak, acknowledged, "drift", _result(2, drifted=True), POLICY)
    assert after is not None
    assert after.state == "acknowledged"


def test_alarm_id_identifies_its_cause() -> None:
    days = [True, True, False, False, True, True]
    alarms = [
        a for _, a in _judge_in_order("drift", [_result(n, drifted=d) for n, d in enumerate(days)])
    ]
    again = [
        a for _, a in _judge_in_order("drift", [_result(n, drifted=d) for n, d in enumerate(days)])
    ]
    assert alarms == again
    assert alarms[1] is not None
    assert alarms[5] is not None
    assert alarms[1].alarm_id != alarms[5].alarm_id


def test_degraded_takes_precedence_over_drifted() -> None:
    assert verdict(_result(0), POLICY) == "ok"
    assert verdict(_result(0, drifted=True), POLICY) == "drifted"
    assert verdict(_result(0, drifted=True, auc=0.6), POLICY) == "degraded"


def _labelled(auc: float, low: float, high: float, labelled: int, **changes: Any) -> Result:
    """Return a window of 1,200 rows, some labelled, the rest pending or expired."""
    score = Score(name="roc_auc", value=auc, threshold=0.7, breached=auc < 0.7, low=low, high=high)
    waiting = {"labelled": labelled, "pending": 1200 - labelled, "scores": [score]}
    return _result(0, **(waiting | changes))


@pytest.mark.parametrize(
    ("result", "shown"),
    [
        (_labelled(0.69, 0.6, 0.78, 600), "broken"),
        (_labelled(0.71, 0.6, 0.82, 600), "kept"),
        (_labelled(0.0, 0.0, 0.0, 480), "broken"),
        (_labelled(0.6, 0.5, 0.69, 240), "broken"),
        (_labelled(0.6, 0.5, 0.71, 240), "not enough data"),
        (_labelled(0.9, 0.8, 0.95, 240), "not enough data"),
        (_labelled(0.9, 0.8, 0.95, 240, pending=0, expired=960), "kept"),
        (_labelled(0.9, 0.6, 0.95, 240, pending=0, expired=960), "not enough data"),
        (_labelled(0.6, 0.5, 0.69, 240, pending=0, expired=960), "broken"),
        (_labelled(0.6, 0.5, 0.71, 240, pending=0, expired=960), "not enough data"),
    ],
)
def test_few_labels_are_judged_by_the_confidence_interval(result: Result, shown: str) -> None:
    assert judgement("performance", result, POLICY) == shown
    assert (verdict(result, POLICY) == "degraded") == (shown == "broken")


def test_error_metric_of_few_labels_is_judged_by_its_confidence_interval() -> None:
    def error(value: float, low: float, high: float) -> Result:
        score = Score(name="mae", value=value, threshold=5, breached=value > 5, low=low, high=high)
        return _result(0, labelled=240, pending=0, expired=960, scores=[score])

    assert judgement("performance", error(9, 6, 12), POLICY) == "broken"
    assert judgement("performance", error(9, 4, 14), POLICY) == "not enough data"
    assert judgement("performance", error(1, 0.5, 1.5), POLICY) == "kept"


def test_estimate_counts_until_enough_labels_are_known() -> None:
    estimate = Score(name="estimated_roc_auc", value=0.6, threshold=0.7, breached=True)
    real = Score(name="roc_auc", value=0.8, threshold=0.7, low=0.75, high=0.85)
    before = _result(0, labelled=0, pending=1200, scores=[estimate])
    assert judgement("estimate", before, POLICY) == "broken"
    few = _result(0, labelled=240, pending=960, scores=[estimate, real])
    assert judgement("estimate", few, POLICY) == "broken"
    known = _result(0, labelled=600, pending=600, scores=[estimate, real])
    assert judgement("estimate", known, POLICY) == "kept"
    assert verdict(known, POLICY) == "ok"


def test_score_without_a_rule_causes_no_bad_verdict() -> None:
    gap = Score(name="estimation_gap", value=0.03, threshold=0.02, breached=True)
    fine = Score(name="roc_auc", value=0.8, threshold=0.7)
    assert verdict(_result(0, scores=[fine, gap]), POLICY) == "ok"


def test_window_in_which_all_requests_were_invalid_is_degraded() -> None:
    nothing = _result(0, rows=0, labelled=0, scores=[])
    assert verdict(nothing, POLICY) == "not enough data"
    assert verdict(replace(nothing, events={"invalid": 5_000}), POLICY) == "degraded"
    assert verdict(replace(nothing, events={"invalid": 29}), POLICY) == "not enough data"
    assert verdict(replace(nothing, events={"cancelled": 90}), POLICY) == "not enough data"
    some = replace(nothing, events={"invalid": 5_000, "ok": 1}, rows=1)
    assert verdict(some, POLICY) == "not enough data"


@pytest.mark.parametrize(
    ("rule", "value", "limit"), [("drift", 0.67, 0.5), ("performance", 0.6, 0.7)]
)
def test_alarm_facts_give_score_counts_and_columns(rule: Rule, value: float, limit: float) -> None:
    bad = [_result(n, drifted=True, auc=0.6) for n in range(2)]
    (_, alarm) = _judge_in_order(rule, bad)[-1]
    assert alarm is not None
    facts = alarm_facts(alarm, bad[-1])
    assert (facts.score.value, facts.score.threshold) == (value, limit)
    assert (facts.scored, facts.drifted, facts.labelled) == (3, 2, 1200)
    assert facts.since == bad[0].window
    assert alarm.columns == [score.column for score in facts.columns] == ["temp", "wind"]


def test_columns_with_p_values_are_ranked_by_smallest_p_value() -> None:
    scores = [
        Score(name="drift", column="a", value=0.04, threshold=0.05, breached=True),
        Score(name="drift", column="b", value=0.0001, threshold=0.05, breached=True),
    ]
    assert [score.column for score in drifted_columns(_result(0, scores=scores))] == ["b", "a"]


def test_open_alarms_cause_only_one_retraining_request() -> None:
    alarms = [
        a for _, a in _judge_in_order("drift", [_result(n, drifted=True) for n in range(2)]) if a
    ]
    assert retrain_alarm(alarms, open_before=0) == alarms[0]
    assert retrain_alarm(alarms, open_before=1) is None
    assert retrain_alarm([], open_before=0) is None


def test_retraining_request_contains_rows_url_columns_and_positions() -> None:
    result = _result(1, drifted=True)
    alarm = _judge_in_order("drift", [_result(0, drifted=True), result])[-1][1]
    assert alarm is not None
    reported = request(
        alarm,
        result,
        digest="d" * 64,
        positions={"s": Position(1, 7)},
        rows_url="http://page:3100" + rows_path("tiny", "1", result.window.start),
    )
    assert reported.rows_url == (
        f"http://page:3100/api/models/tiny/versions/1/windows/{result.window.start}/rows.parquet"
    )
    assert [score.column for score in reported.columns] == ["temp", "wind"]
    assert reported.positions == {"s": Position(1, 7)}
    assert webhook_id(alarm) == webhook_id(replace(alarm, sentence="another sentence"))


def test_informational_score_breaks_no_rule() -> None:
    duplicates = Score(name="duplicate_share", value=0.9, threshold=0.1, breached=True)
    segment = Score(name="roc_auc", value=0.1, breached=True, segment="carrier=UA")
    calm = _result(0)
    result = replace(calm, scores=[*calm.scores, duplicates, segment])
    assert verdict(result, POLICY) == "ok"
    assert _judge_in_order("performance", [result, result, result])[-1][1] is None
    assert verdict(replace(calm, scores=[duplicates, segment]), POLICY) == "not enough data"


def _with_parity(day: int, share: float) -> Result:
    note = f"{share * 1000:.0f} of 1,000 answers"
    score = Score(name="parity", value=share, threshold=0.01, breached=share > 0.01, note=note)
    calm = _result(day)
    return replace(calm, scores=[*calm.scores, score])


def test_parity_alarm_degrades_the_window_but_requests_no_retraining() -> None:
    steps = _judge_in_order("parity", [_with_parity(day, 0.042) for day in (0, 1)])
    alarm = steps[-1][1]
    assert alarm is not None
    assert retrain_alarm([alarm], 0) is None
    drift = replace(alarm, rule="drift")
    assert retrain_alarm([alarm, drift], 0) == drift
    assert verdict(_with_parity(0, 0.042), POLICY) == "degraded"
    assert verdict(_with_parity(0, 0.01), POLICY) == "ok"


def test_column_whose_drift_changes_most_predictions_is_named_first() -> None:
    result = _result(0, drifted=True)
    assert [score.column for score in drifted_columns(result)] == ["temp", "wind"]
    effects = [
        Score(name="effect", column="wind", value=0.2),
        Score(name="effect", column="temp", value=0.01),
        Score(name="effect", value=0.9),
    ]
    matters = replace(result, scores=[*result.scores, *effects])
    assert [score.column for score in drifted_columns(matters)] == ["wind", "temp"]


WHOLE_WINDOW: list[tuple[Rule, list[Score], str, list[str]]] = [
    (
        "drift",
        [
            Score(name="drifted_share", value=0.1, threshold=0.5),
            Score(
                name="strongest_drift",
                value=1.4,
                threshold=1,
                breached=True,
                note="temp 0.42 (wasserstein; alone enough from 0.3)",
            ),
            Score(name="drift", column="temp", value=0.42, threshold=0.2, breached=True),
        ],
        "strongest_drift",
        ["temp"],
    ),
    (
        "drift",
        [
            Score(
                name="joint_drift",
                value=3.0,
                threshold=1,
                breached=True,
                note="the correlation of temp and dewp is 0.10, 0.80 in the reference",
            ),
            Score(name="joint_change", column="temp", value=3, threshold=1, breached=True),
            Score(name="joint_change", column="dewp", value=3, threshold=1, breached=True),
        ],
        "joint_drift",
        ["dewp", "temp"],
    ),
    (
        "drift",
        [
            Score(
                name="strongest_drift",
                value=1.4,
                threshold=1,
                breached=True,
                note="temp 30% missing, 10% in the reference",
            ),
            Score(name="missing_share", column="temp", value=0.3),
        ],
        "strongest_drift",
        ["temp"],
    ),
    (
        "estimate",
        [
            Score(
                name="estimated_roc_auc",
                value=0.6,
                threshold=0.7,
                breached=True,
                note="reference 0.810",
            )
        ],
        "estimated_roc_auc",
        [],
    ),
    (
        "concept",
        [
            Score(name="estimation_gap", value=0.03, threshold=0.02, breached=True),
            Score(
                name="gap_evidence",
                value=900.0,
                threshold=200.0,
                breached=True,
                note="accuracy 0.700, estimated 0.730 for the same rows",
            ),
        ],
        "gap_evidence",
        [],
    ),
]


@pytest.mark.parametrize(("rule", "scores", "score", "columns"), WHOLE_WINDOW)
def test_alarm_about_the_whole_window_names_its_score_and_columns(
    rule: Rule, scores: list[Score], score: str, columns: list[str]
) -> None:
    results = [_result(n, scores=scores) for n in range(2)]
    alarm = _judge_in_order(rule, results)[-1][1]
    assert alarm is not None
    assert alarm_facts(alarm, results[-1]).score.name == score
    assert alarm.columns == columns


def test_estimation_gap_breaks_no_rule_without_enough_evidence() -> None:
    gap = Score(name="estimation_gap", value=0.03, threshold=0.02, breached=True)
    calm = Score(name="gap_evidence", value=20.0, threshold=200.0)
    steps = _judge_in_order("concept", [_result(n, scores=[gap, calm]) for n in range(3)])
    assert [alarm for _, alarm in steps] == [None, None, None]
    assert steps[-1][0].run == (0, 3)


def test_window_that_could_not_be_scored_is_not_enough_data() -> None:
    nothing = Score(name="drifted_share", value=None, threshold=0.5, note="could not be scored")
    window = _result(1, scores=[nothing])
    assert verdict(window, POLICY) == "not enough data"
    days = [_result(0, drifted=True), window, _result(2, drifted=True)]
    assert [bool(alarm) for _, alarm in _judge_in_order("drift", days)] == [False, False, True]


def test_retraining_request_stays_small_if_many_columns_drifted() -> None:
    many = [
        Score(name="drift", column=f"c{n}", value=0.2 + n, threshold=0.1, breached=True)
        for n in range(1_000)
    ]
    result = replace(_result(0), scores=many)
    alarm = _judge_in_order("drift", [_result(day, drifted=True) for day in (0, 1)])[-1][1]
    assert alarm is not None
    reported = request(alarm, result, digest="d" * 64, positions={}, rows_url="http://page")
    assert [score.column for score in reported.columns[:2]] == ["c999", "c998"]
    assert len(envelope("rr", 0, reported)) < 64_000
