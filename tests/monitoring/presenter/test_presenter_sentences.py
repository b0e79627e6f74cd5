"""Sentences about alarms and windows; only this file asserts their wording."""

from typing import Any

import pytest
from msgspec.structs import replace

from monitoring.alarms.alarm_lifecycle import JudgedWindow, RuleState
from monitoring.alarms.facts import AlarmFacts
from monitoring.presenter.alarm_sentence import MOST_WORDS, alarm_sentence, alarm_text
from monitoring.presenter.formats import percent_and_limit, value_and_limit
from monitoring.presenter.rule_sentence import awaited_labels, progress_to_alarm, rule_sentence
from monitoring.presenter.window_sentence import window_sentence
from monitoring.results import Alarm, Result, RevisedWindow, Rule, Score, Window
from registry.manifest import AlarmPolicy

JULY = 1_372_636_800_000_000
DAY = 86_400_000_000


def _drift(column: str, value: float = 0.9) -> Score:
    return Score(name="drift", column=column, value=value, threshold=0.1, breached=True)


def _score(name: str, value: float, threshold: float, note: str = "", segment: str = "") -> Score:
    return Score(
        name=name, value=value, threshold=threshold, note=note, breached=True, segment=segment
    )


DRIFTED = [_drift("temp"), _drift("wind", 0.1000004)]
CASES: list[tuple[Rule, Score, list[Score], str]] = [
    (
        "drift",
        _score("drifted_share", 0.67, 0.5),
        DRIFTED,
        (
            "Drift since 1 Jul 2013: 2 of 3 columns differ from the reference. "
            "Largest drift: temp 0.900 (limit 0.100), wind 0.1000004 (limit 0.1)."
        ),
    ),
    (
        "drift",
        _score("strongest_drift", 1.4, 1.0, "temp 30% missing, 10% in the reference"),
        [Score(name="missing_share", column="temp", value=0.3)],
        (
            "Drift in one column since 1 Jul 2013: temp 30% missing, 10% in the reference. "
            "Largest drift: temp."
        ),
    ),
    (
        "drift",
        _score(
            "joint_drift", 3, 1, "the correlation of temp and dewp is 0.10, 0.80 in the reference"
        ),
        [Score(name="joint_change", column=name, value=3.0) for name in ("dewp", "temp")],
        (
            "Feature correlations changed since 1 Jul 2013: the correlation of temp and dewp is "
            "0.10, 0.80 in the reference. Largest drift: dewp, temp."
        ),
    ),
    (
        "performance",
        _score("roc_auc", 0.6, 0.7, "reference 0.810"),
        DRIFTED,
        (
            "Performance degraded since 1 Jul 2013: ROC AUC 0.600 (limit 0.700, reference 0.810, "
            "5,956 labels). Largest drift: temp, wind."
        ),
    ),
    (
        "estimate",
        _score("estimated_roc_auc", 0.6, 0.7, "reference 0.810"),
        [],
        (
            "Estimated performance degraded since 1 Jul 2013: ROC AUC 0.600 (limit 0.700, "
            "reference 0.810, 5,956 labels)."
        ),
    ),
    (
        "concept",
        _score("gap_evidence", 2129, 400, "accuracy 0.682, expected 0.741 from the inputs"),
        [_drift(name) for name in ("dewp", "humid", "wind_speed", "temp")],
        (
            "Concept drift since 1 Jul 2013: accuracy 0.682, expected 0.741 from the inputs "
            "(5,956 labels). Evidence: 1 false alarm in 2,129 windows (limit 400). "
            "Largest drift: dewp, humid, wind_speed."
        ),
    ),
    (
        "parity",
        _score("parity", 0.042, 0.01, "42 of 1,000 answers"),
        [],
        (
            "Served predictions differ from the registered model since 1 Jul 2013: 4% of "
            "predictions cannot be reproduced (42 of 1,000 answers; limit 1%). "
            "The cause is serving, not the data."
        ),
    ),
    (
        "segment",
        _score("roc_auc", 0.41, 0.6, "on 320 labels", "carrier=HA"),
        [],
        (
            "Performance degraded for carrier=HA since 1 Jul 2013: ROC AUC 0.410 (limit 0.600, "
            "on 320 labels)."
        ),
    ),
    (
        "selection_rate_gap",
        _score("selection_rate_gap", 0.362, 0.2, "HA 0.512, UA 0.150", "carrier"),
        [],
        (
            "Unequal treatment by carrier since 1 Jul 2013: selection rates differ by 0.362 "
            "(limit 0.200). Evidence: HA 0.512, UA 0.150."
        ),
    ),
]


@pytest.mark.parametrize(("rule", "score", "columns", "expected"), CASES)
def test_alarm_sentence_states_problem_value_evidence_and_columns(
    rule: Rule, score: Score, columns: list[Score], expected: str
) -> None:
    sentence = alarm_sentence(_facts(rule, score, columns))
    assert sentence == expected
    assert len(sentence.split()) <= MOST_WORDS


def _facts(rule: Rule, score: Score, columns: list[Score], **changes: Any) -> AlarmFacts:
    fields = {"since": Window(JULY, JULY + DAY), "labelled": 5956, "scored": 3, "drifted": 2}
    return AlarmFacts(rule=rule, score=score, columns=columns, **fields | changes)  # type: ignore[arg-type]


def test_alarm_sentence_omits_evidence_beyond_forty_words() -> None:
    note = "; ".join(f"group {n} 0.5" for n in range(20))
    sentence = alarm_sentence(
        _facts("selection_rate_gap", _score("selection_rate_gap", 0.3, 0.2, note, "carrier"), [])
    )
    assert sentence.endswith("selection rates differ by 0.300 (limit 0.200).")


def test_alarm_sentence_states_the_time_if_the_window_starts_within_a_day() -> None:
    window = Window(JULY + DAY // 2, JULY + DAY)
    assert "since 1 Jul 2013, 12:00 UTC:" in alarm_sentence(
        _facts("performance", _score("f1", 0.1, 0.2), [], since=window)
    )


def test_value_beyond_its_limit_is_never_shown_equal_to_the_limit() -> None:
    assert value_and_limit(0.9, 0.1) == ("0.900", "0.100")
    assert value_and_limit(0.10004, 0.1) == ("0.10004", "0.1")
    assert value_and_limit(0.0002, 0.0001) == ("0.0002", "0.0001")
    assert value_and_limit(1.0000000000001, 1.0) == ("just above 1", "1")
    assert value_and_limit(0.5, 0.5) == ("0.500", "0.500")
    assert percent_and_limit(0.0104, 0.01) == ("1.04%", "1%")


def _result(*scores: Score, verdict: Any = "ok") -> Result:
    return Result(
        model="m", version="1", window=Window(0, DAY), rows=10, verdict=verdict, scores=list(scores)
    )


def test_window_sentence_summarizes_drift_and_performance() -> None:
    auc = Score(name="roc_auc", value=0.651, threshold=0.66, breached=True)
    drifted = _result(*(_drift(name) for name in "abcd"), auc, verdict="drifted")
    assert window_sentence(drifted, auc) == (
        "4 columns drifted: a, b, c, …; ROC AUC 0.651 (limit 0.660)."
    )
    assert window_sentence(_result(), None) == "No column drifted."
    early = Score(name="estimated_roc_auc", value=0.612, threshold=0.66, breached=True)
    assert window_sentence(_result(early, verdict="degraded"), None) == (
        "ROC AUC estimated 0.612, no labels yet."
    )
    assert window_sentence(_result(verdict="not enough data"), None) == "Not enough data: 10 rows."
    share = Score(name="drifted_share", value=0.0, threshold=0.3)
    strong = _score("strongest_drift", 1.4, 1.0, "temp 30% missing")
    assert window_sentence(_result(share, strong, verdict="drifted"), None) == (
        "Drift in one column: temp 30% missing."
    )
    counted = Score(name="drifted_share", value=0.5, threshold=0.3, note="2 of 4 features")
    known = _result(counted, *(_drift(name) for name in "abcd"), verdict="drifted")
    assert window_sentence(known, None) == "2 of 4 features drifted; largest drift: a, b, c, …."
    lost = Score(name="drifted_share", value=None, note="no such luck")
    assert window_sentence(_result(lost, verdict="not enough data"), None) == (
        "Drift was not scored: no such luck."
    )
    gap = _score("selection_rate_gap", 0.4, 0.2, segment="origin")
    parity = _score("parity", 0.2, 0.01)
    assert window_sentence(_result(gap, parity, verdict="degraded"), None) == (
        "20% of predictions differ from the registered model; "
        "unequal selection rates by origin (0.400)."
    )


def test_window_sentence_without_answers_counts_requests_by_outcome() -> None:
    refused = replace(_result(verdict="degraded"), rows=0, events={"invalid": 4_999, "failed": 1})
    assert window_sentence(refused, None) == "No request was answered: 4,999 invalid, 1 failed."


def _alarm(*revised: RevisedWindow) -> Alarm:
    window = Window(JULY, JULY + DAY)
    return Alarm(
        alarm_id="a",
        model="m",
        version="1",
        rule="performance",
        state="firing",
        since=window,
        latest=window,
        sentence="Performance degraded.",
        revised=list(revised),
    )


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        ([], "Performance degraded."),
        (
            [True],
            (
                "Performance degraded. "
                "Revised since with later labels: 1 window, still beyond the limit."
            ),
        ),
        (
            [True, False],
            "Performance degraded. Revised since: 2 Jul 2013 is no longer beyond the limit.",
        ),
        (
            [False, False],
            "Performance degraded. Revised since: 2 windows no longer beyond the limit.",
        ),
    ],
)
def test_alarm_text_states_revised_windows(broken: list[bool], text: str) -> None:
    windows = [Window(JULY + n * DAY, JULY + (n + 1) * DAY) for n in range(len(broken))]
    revised = [RevisedWindow(*pair) for pair in zip(windows, broken, strict=True)]
    assert alarm_text(_alarm(*revised)) == text


def _judged(*broken: bool, **fields: Any) -> RuleState:
    judged = [JudgedWindow(Window(n, n + 1), one) for n, one in enumerate(broken)]
    return RuleState(judged=judged, **fields)


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (_judged(), "Not judged yet."),
        (_judged(False, False), "Within its limit in the newest 2 windows."),
        (
            _judged(True, state="pending"),
            "Beyond its limit in 1 of the 3 windows that fire an alarm.",
        ),
        (
            _judged(True, True, True, state="firing", open_alarm="a"),
            "Beyond its limit in the newest 3 windows. The alarm is open.",
        ),
        (
            _judged(True, True, True, False, state="recovering", open_alarm="a"),
            "Within its limit in 1 of the 3 windows that resolve the alarm.",
        ),
        (
            _judged(True, True, True, state="pending", quiet_until=JULY),
            "Beyond its limit in the newest 3 windows. It cools down until 1 Jul 2013, 00:00 UTC.",
        ),
    ],
)
def test_rule_sentence_states_progress_toward_the_alarm(state: RuleState, text: str) -> None:
    assert rule_sentence("performance", state, AlarmPolicy(consecutive=3)) == text


def test_awaited_labels_are_stated_with_their_deadline() -> None:
    pending = {"drift": _judged(True, state="pending"), "parity": _judged(False)}
    words = progress_to_alarm(pending, AlarmPolicy(consecutive=2))  # type: ignore[arg-type]
    assert words == "drift is beyond its limit in 1 of 2 windows"
    assert awaited_labels([JULY, JULY - DAY], 86_400) == (
        "Labels of 2 windows are awaited until 2 Jul 2013, 00:00 UTC at the latest."
    )
    assert awaited_labels([], 86_400) == ""
