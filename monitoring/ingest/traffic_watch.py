"""Judge each model's traffic after every hour of event time.

The consumer calls `update` once per minute of the log's reception time, so a replay judges at the
same positions of the log. Heartbeats advance the reception time when there are no requests.
"""

from collections.abc import Callable, Iterable, Mapping

from monitoring.alarms.traffic import traffic_result
from monitoring.ingest.consumer_state import ConsumerState
from monitoring.ingest.traffic_state import ModelTraffic
from monitoring.ingest.version_state import VersionState
from monitoring.results import Result
from monitoring.windows.grid import SECOND
from monitoring.windows.traffic import RETAINED, alarm_version
from monitoring.windows.watermark import IDLE
from telemetry.clock import HOUR

JudgeTraffic = Callable[[VersionState, Result, str], None]


class TrafficWatch:
    """Judges hours in the consumer's step; it writes in the step's transaction."""

    def __init__(self, state: ConsumerState, judge: JudgeTraffic) -> None:
        """`judge` updates the traffic alarm with the result of an hour.

        The alarm belongs to one version of the model; the last argument of `judge` is the number
        of the version to which it belonged before.
        """
        self._state = state
        self._judge = judge

    def update(self) -> None:
        """Judge the hours that have ended."""
        latest = self._state.latest
        for model, traffic in self._state.traffic.pop_due(latest):
            versions = {state.version.number: state for state in self._state.versions_of(model)}
            if versions:
                self._update(model, traffic, versions)
            else:
                self._state.traffic.wake(model)

    def _update(
        self, model: str, traffic: ModelTraffic, versions: Mapping[str, VersionState]
    ) -> None:
        while True:
            hour = traffic.next_hour
            marks = self._marks(hour, versions)
            if (done := marks.done) <= hour:
                break
            self._state.traffic.changed(model)
            if hour < done - RETAINED:
                traffic.skip_to(done - RETAINED)
                continue
            before = traffic.judged.version
            number = alarm_version(traffic.requests(), before)
            version = versions.get(number) or max(versions.values(), key=lambda state: state.newest)
            period = version.period(hour * HOUR)
            judged = traffic.judge(period.policy.alarms, version.version.number)
            result = traffic_result(*version.key, hour, judged, period.digest)
            self._judge(version, result, before)
        self._state.traffic.wake_at(model, marks.deadline(hour))

    def _marks(self, hour: int, versions: Mapping[str, VersionState]) -> "_Marks":
        active = [state for state in versions.values() if state.newest >= hour * HOUR]
        marks = [
            (self._state.idle_watermark(state), state.policy(hour * HOUR).window.grace * SECOND)
            for state in active or versions.values()
        ]
        return _Marks(marks, min if active else max)


class _Marks:
    """Watermarks and graces of a model's versions, which determine when an hour has ended.

    The lowest watermark applies if versions have had requests since the hour began, otherwise the
    highest watermark of all versions.
    """

    def __init__(
        self, marks: list[tuple[int, int]], combine: Callable[[Iterable[int]], int]
    ) -> None:
        self._marks = marks
        self._combine = combine

    @property
    def done(self) -> int:
        """The hour of event time before which no request is expected."""
        return self._combine(mark - grace for mark, grace in self._marks) // HOUR

    def deadline(self, hour: int) -> int:
        """Return the reception time before which the hour cannot end without further requests.

        A watermark that advances without requests is at least `IDLE` before the newest reception.
        """
        end = (hour + 1) * HOUR
        waits = [0 if mark - grace >= end else end + grace + IDLE for mark, grace in self._marks]
        return max(waits) if self._combine is min else min(waits)
