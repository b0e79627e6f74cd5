"""Scores of the window as a whole: strongest column, joint drift, verdict."""

from types import SimpleNamespace
from typing import Any

from monitoring.results import LateCounts, Result, Score, Window
from monitoring.web import window_view
from monitoring.web.metrics.collector import exposition
from monitoring.windows.totals import add_up

STRONG = Score(
    name="strongest_drift", value=1.4, threshold=1.0, breached=True, note="temp 30% missing"
)
JOINT = Score(name="joint_drift", value=None, note="fewer than two columns that vary")


def _result(verdict: Any, *scores: Score, day: int = 0) -> Result:
    return Result(
        model="m",
        version="1",
        window=Window(day, day + 1),
        rows=10,
        verdict=verdict,
        scores=list(scores),
    )


def test_whole_model_scores_are_shown_if_available() -> None:
    assert window_view.window_drift(_result("drifted", STRONG, JOINT)) == [
        ("Largest drift", STRONG)
    ]
    assert JOINT in window_view.failures(_result("drifted", STRONG, JOINT))


def test_not_enough_data_is_a_state_in_prometheus() -> None:
    windows = [_result("ok", day=0), _result("not enough data", STRONG, day=1)]
    findings: Any = SimpleNamespace(
        monitored_versions=lambda: [("m", "1")],
        live=lambda *_: [],
        late=lambda *_: LateCounts(),
        recent=lambda *_, **_last: windows,
        closed=lambda *_: add_up(windows),
        ledger=list,
        partitions=list,
        newest_traffic=dict,
        newest_batch_days=lambda _start: {},
        totals=dict,
        alarms=list,
        deliveries=list,
    )
    lines = exposition(findings).decode().splitlines()
    about = 'model="m",verdict="not enough data",version="1"'
    assert f"driftline_window_verdict{{{about}}} 1.0" in lines
    assert f"driftline_windows{{{about}}} 1.0" in lines
    assert 'driftline_window_verdict{model="m",verdict="ok",version="1"} 0.0' in lines
    whole = 'driftline_window_drift_whole{measure="strongest_drift",model="m",version="1"} 1.4'
    assert whole in lines
