"""The hourly request counts of every model, between the steps of the consumer."""

from collections.abc import Callable

from monitoring.alarms.traffic import (
    DAY,
    Calibration,
    JudgedHour,
    TrafficHistory,
    calibrate,
    is_learning,
    judge_hour,
)
from monitoring.storage.journal import Journal
from monitoring.windows.deadlines import Deadlines
from monitoring.windows.traffic import JudgedHours, OpenHours
from registry.manifest import AlarmPolicy
from telemetry.clock import HOUR


class ModelTraffic:
    """One model's open hours (still counted) and judged hours (checked for unusual traffic)."""

    def __init__(self, opened: OpenHours, judged: JudgedHours) -> None:
        """Resume with stored hours."""
        self.opened = opened
        self.judged = judged
        self._calibrated: tuple[int, AlarmPolicy, Calibration] | None = None  # by day and policy

    @property
    def next_hour(self) -> int:
        """The first hour that is not judged yet."""
        return self.opened.first

    def skip_to(self, hour: int) -> None:
        """Skip the hours before `hour`, without adding them to the history."""
        self.opened.skip_to(hour)

    def requests(self) -> dict[str, int]:
        """Return the requests of the next hour, by version."""
        return self.opened.requests.get(self.next_hour, {})

    def judge(self, policy: AlarmPolicy, version: str) -> JudgedHour:
        """Judge the next hour and close it; an alarm is raised for `version`."""
        hour = self.next_hour
        requests = sum(self.requests().values())
        history = self.judged.history(hour, requests)
        judgement = judge_hour(history, hour, policy, self._calibration(history, hour, policy))
        self.judged.add(hour, requests, judgement)
        self.judged.version = version
        self.opened.skip_to(hour + 1)
        return judgement

    def _calibration(
        self, history: TrafficHistory, hour: int, policy: AlarmPolicy
    ) -> Calibration | None:
        if is_learning(history, hour):
            return None
        day = hour - hour % DAY
        if self._calibrated is None or self._calibrated[:2] != (day, policy):
            self._calibrated = day, policy, calibrate(history, day, policy)
        return self._calibrated[2]


class TrafficState:
    """The traffic of all models; `save` runs in the step's transaction."""

    def __init__(self, journal: Journal, owns: Callable[[str], bool] = lambda _model: True) -> None:
        """Resume from the journal, with the models of this part of the log (`owns`)."""
        self._journal = journal
        self._models = {
            model: ModelTraffic(opened, judged)
            for model, (opened, judged) in journal.traffic().items()
            if not judged.ended and owns(model)
        }
        self._awake = set(self._models)  # models to check in the next step
        self._deadlines: Deadlines[str] = Deadlines()  # when to check other models
        self._counted: set[str] = set()  # models with requests since the last save
        self._judged: set[str] = set()  # models with judged hours since the last save

    def count(self, model: str, version: str, time: int) -> None:
        """Count a request of a model version by its event time."""
        traffic = self._models.get(model)
        if traffic is None:
            traffic = self._models[model] = ModelTraffic(OpenHours(), JudgedHours())
            self._judged.add(model)  # so that `save` replaces the stored hours of an ended model
        if traffic.opened.count(time, version):
            self._counted.add(model)
        self._awake.add(model)

    def wake(self, model: str) -> None:
        """Let the next `pop_due` check a model, whatever its deadline is."""
        self._awake.add(model)

    def wake_at(self, model: str, time: int) -> None:
        """Set the reception time at which a model without requests is checked."""
        self._deadlines.set(model, time)

    def pop_due(self, latest: int) -> list[tuple[str, ModelTraffic]]:
        """Return the models with an hour that may have ended at reception time `latest`, by name.

        The caller must then call `wake_at` for each returned model.
        """
        models = sorted(self._awake.union(self._deadlines.pop_due(latest)))
        self._awake = set()
        due = []
        for model in models:
            traffic = self._models.get(model)
            if traffic is None:
                continue
            if traffic.next_hour < latest // HOUR:
                due.append((model, traffic))
            else:
                self.wake_at(model, (traffic.next_hour + 1) * HOUR)
        return due

    def changed(self, model: str) -> None:
        """Mark a model whose hours were judged, so that `save` writes it."""
        self._judged.add(model)

    def save(self) -> None:
        """Write the changes, and drop models that had no requests for weeks."""
        models, counted = self._models, sorted(self._counted - self._judged)
        judged = sorted(self._judged)
        self._journal.save_traffic(
            [(model, models[model].opened) for model in counted],
            [(model, models[model].opened, models[model].judged) for model in judged],
        )
        for model in judged:
            if models[model].judged.ended:
                del models[model]
        self._counted.clear()
        self._judged.clear()
