import math

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from monitoring.alarms.severity import MOST_SEVERE, severity
from monitoring.presenter.headline import late_rows, refused_labels, versioned_alarm
from monitoring.results import (
    Alarm,
    Delivery,
    Result,
    RevisedWindow,
    Score,
    SourceLedger,
    Window,
)
from monitoring.web import window_view
from monitoring.web.charts.version_charts import timeline
from monitoring.web.overview import VersionRow, event_balance, headline
from monitoring.web.traffic_share import request_shares

WINDOW = Window(0, 86_400_000_000)

MANY_LATE = late_rows("flights", "1", 20, 80)
MANY_REFUSED = refused_labels({"labels": 100, "unfit_labels": 20})


def result(*scores: Score, verdict: str = "ok", window: Window = WINDOW) -> Result:
    return Result(
        model="flights",
        version="1",
        window=window,
        rows=10,
        labelled=5,
        verdict=verdict,  # type: ignore[arg-type]
        scores=list(scores),
    )


def drift(value: float | None, threshold: float | None, breached: bool, column: str = "a") -> Score:
    return Score(name="drift", column=column, value=value, threshold=threshold, breached=breached)


def row(latest: Result | None, *alarms: Alarm, model: str = "flights") -> VersionRow:
    return VersionRow(
        model=model,
        version="1",
        aliases=[],
        latest=latest,
        filling=None,
        history=[latest] if latest else [],
        alarms=list(alarms),
    )


def alarm(state: str = "firing") -> Alarm:
    return Alarm(
        alarm_id="a",
        model="flights",
        version="1",
        rule="drift",
        state=state,  # type: ignore[arg-type]
        since=WINDOW,
        latest=WINDOW,
        sentence="9 of 20 columns drifted.",
    )


def test_a_distance_is_severe_in_thresholds() -> None:
    assert severity(drift(0.25, 0.1, breached=True)) == 2.5
    assert severity(drift(0.05, 0.1, breached=False)) == 0.5


def test_a_p_value_is_severe_when_it_is_small() -> None:
    calm = severity(drift(0.5, 0.05, breached=False))
    near = severity(drift(0.06, 0.05, breached=False))
    far = severity(drift(0.05**3, 0.05, breached=True))
    assert calm is not None
    assert near is not None
    assert far is not None
    assert calm < near < 1
    assert math.isclose(far, 3)
    assert severity(drift(0.0, 0.05, breached=True)) == MOST_SEVERE


@given(st.floats(), st.none() | st.floats(), st.booleans())
def test_severity_exceeds_one_exactly_if_the_threshold_is_exceeded(
    value: float, threshold: float | None, breached: bool
) -> None:
    measured = severity(drift(value, threshold, breached))
    if math.isfinite(value):
        assert measured is not None
        assert (measured >= 1) == breached
        assert measured >= 0
    else:
        assert measured is None


def test_columns_are_sorted_worst_first_with_unscored_columns_last() -> None:
    shown = window_view.columns(
        result(
            drift(0.05, 0.1, breached=False, column="calm"),
            drift(None, 0.1, breached=False, column="empty"),
            drift(0.4, 0.1, breached=True, column="worst"),
            Score(name="missing_share", column="worst", value=0.2, note="half of it is missing"),
        )
    )
    assert [column.name for column in shown] == ["worst", "calm", "empty"]
    missing = shown[0].first_of("unseen_share", "missing_share")
    assert missing is not None
    assert missing.value == 0.2
    assert shown[0].remark == "half of it is missing"


def test_the_score_that_raises_alarms_is_the_chief_one() -> None:
    scores = [Score(name="roc_auc", value=0.7), Score(name="f1", value=0.5, threshold=0.4)]
    assert window_view.chief_score([result(*scores), result()]) == "f1"
    assert window_view.chief_score([]) == ""


def test_the_ledger_balances_only_when_every_answer_was_monitored() -> None:
    whole = SourceLedger(source="a", epoch=1, next_sequence=5, events=5)
    holed = SourceLedger(source="b", epoch=1, next_sequence=9, events=6, lost=2, unreadable=1)
    assert event_balance([whole]).balanced
    book = event_balance([whole, holed])
    assert (book.answered, book.logged, book.monitored, book.lost) == (13, 11, 10, 2)
    assert not book.balanced


def test_the_headline_omits_revised_windows() -> None:
    revised = msgspec.structs.replace(alarm(), revised=[RevisedWindow(Window(0, 1), broken=True)])
    assert "Revised" in versioned_alarm(revised)
    (plain, short) = (
        headline([row(result(), one)], event_balance([]), []) for one in (alarm(), revised)
    )
    assert short == plain


def test_the_headline_states_the_worst_finding() -> None:
    fine, nothing = result(), event_balance([])
    dead = Delivery(webhook_id="m", body=b"{}", created=0, state="dead")
    holed = event_balance([SourceLedger(source="a", epoch=1, next_sequence=5, lost=3)])
    cases = [
        (headline([row(fine, alarm())], holed, [dead]), "alarm", "flights version 1: 9 of 20"),
        (headline([row(fine)], holed, [dead]), "alarm", "3 events"),
        (headline([row(fine)], nothing, [dead]), "warning", "1 retraining webhook"),
        (headline([row(fine)], nothing, [dead], (), [MANY_REFUSED]), "warning", "20 of 100 labels"),
        (
            headline([row(fine)], nothing, [dead], (), ["", MANY_LATE]),
            "warning",
            "flights version 1: 20 of 100 rows came after their windows had closed",
        ),
        (headline([row(result(verdict="drifted"))], nothing, []), "warning", "flights version 1"),
        (headline([row(fine, alarm("acknowledged"))], nothing, []), "warning", "acknowledged"),
        (headline([row(fine)], nothing, []), "ok", "flights version 1"),
        (headline([row(None)], nothing, []), "quiet", "No window has enough data"),
        (headline([], nothing, []), "quiet", "No predictions yet"),
    ]
    for said, tone, words in cases:
        assert said.tone == tone
        assert words in said.text


def test_the_worst_version_is_listed_first() -> None:
    rows = [
        row(result(), model="fine"),
        row(None, model="new"),
        row(result(verdict="not enough data"), model="small"),
        row(result(verdict="drifted"), model="drifted"),
        row(result(), alarm("acknowledged"), model="noted"),
        row(result(), alarm(), model="firing"),
    ]
    order = [r.model for r in sorted(rows, key=lambda r: r.order)]
    assert order == ["firing", "drifted", "noted", "small", "new", "fine"]


@given(st.lists(st.integers(0, 10**6), unique=True, min_size=1, max_size=20))
def test_a_pause_in_traffic_is_a_gap_of_limited_width(
    days: list[int],
) -> None:
    length = WINDOW.end
    windows = [Window(day * length, (day + 1) * length) for day in sorted(days)]
    cells = timeline([result(window=window) for window in windows], []).cells
    assert [found.window for _, found in cells if found] == windows
    assert len(cells) <= 7 * len(windows)
    starts = [slot.window.start for slot, _ in cells]
    assert starts == sorted(set(starts))


def test_missing_scores_are_stated_and_a_segment_does_not_count_as_the_whole() -> None:
    failed = Score(name="estimation_gap", value=None, note="could not be computed: ValueError: x")
    part = Score(name="roc_auc", value=0.9, segment="carrier=UA")
    reported = result(failed, part)
    assert window_view.failures(reported) == [failed]
    assert window_view.performance(reported) == []
    assert window_view.columns(reported) == []


def test_the_versions_of_a_model_share_a_window_of_the_same_length() -> None:
    first = msgspec.structs.replace(result(), events={"ok": 6, "failed": 2})
    second = msgspec.structs.replace(first, version="2", events={"ok": 2})
    elsewhere = msgspec.structs.replace(first, window=Window(0, 7), version="3")
    mixed = request_shares([first, second, elsewhere])
    assert mixed["flights", WINDOW] == {"1": 0.8, "2": 0.2}
    assert mixed["flights", Window(0, 7)] == {"3": 1.0}


def test_a_few_late_rows_do_not_change_the_headline() -> None:
    assert late_rows("flights", "1", 0, 0) == late_rows("flights", "1", 9, 991) == ""
    assert late_rows("flights", "1", 10, 990).startswith("flights version 1: 10 of 1,000 rows")


def test_a_few_refused_labels_do_not_change_the_headline() -> None:
    assert refused_labels({}) == ""
    assert refused_labels({"labels": 10_000, "unfit_labels": 3}) == ""


def test_many_refused_labels_change_the_headline() -> None:
    assert refused_labels({"labels": 60, "refused_labels": 40}) == (
        "40 of 100 labels refused: they are neither classes of the model nor numbers. "
        "Their callers received the reason."
    )
