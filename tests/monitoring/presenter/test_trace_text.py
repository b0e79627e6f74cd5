"""A prediction trace links to the pages of its version, window and alarms."""

from eventlog.events import PredictionEvent
from monitoring.prediction_trace import MonitorTrace, PredictionTrace, TracedWindow
from monitoring.presenter.trace_text import trace_sections
from monitoring.results import Alarm, Window

WINDOW = Window(0, 3_600_000_000)


def _trace(monitor: MonitorTrace | None) -> PredictionTrace:
    event = PredictionEvent(
        source="s", epoch=1, sequence=2, time=5, received=5, prediction_id="p", model="a/b",
        protocol="rest", outcome="ok", version="2", revision=7,
    )  # fmt: skip
    return PredictionTrace(prediction_id="p", event=event, monitor=monitor)


def _paths(trace: PredictionTrace) -> dict[str, str]:
    lines = [line for section in trace_sections(trace) for line in section.lines]
    return {line.name: line.path for line in lines if line.path}


def test_trace_links_to_pages_of_version_window_and_alarm() -> None:
    alarm = Alarm(
        alarm_id="al_1", model="a/b", version="2", rule="drift", state="firing", since=WINDOW,
        latest=WINDOW,
    )  # fmt: skip
    closed = TracedWindow(window=WINDOW, closed=True, verdict="drift", revision=1)
    monitor = MonitorTrace(model="a/b", version="2", windows=[closed], alarms=[alarm])
    assert _paths(_trace(monitor)) == {
        "model": "/models/a%2Fb/2",
        "window": "/models/a%2Fb/2/windows/0",
        "alarm": "/models/a%2Fb/2/windows/0",
    }


def test_open_window_and_unmonitored_prediction_have_no_link() -> None:
    still_open = TracedWindow(window=WINDOW, closed=False)
    monitor = MonitorTrace(model="a/b", version="2", windows=[still_open])
    assert "window" not in _paths(_trace(monitor))
    assert _paths(_trace(None)) == {}
