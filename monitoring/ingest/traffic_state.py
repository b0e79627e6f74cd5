"""Hold the hourly request counts of every model between the consumer's steps."""

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
    """The open hours and the judged hours of one model."""

    def __init__(self, opened: OpenHours, judged: JudgedHours) -> None:
        """Resume with what is stored."""
        self.opened = opened
        self.judged = judged
        self._calibrated: tuple[int, AlarmPolicy, Calibration] | None = None  # by day and policy

    @property
    def next_hour(self) -> int:
        """The first hour that is not judged yet."""
        return self.opened.first

    def skip_to(self, hour: int) -> None:
        """Skip the hours before this one; they do not become part of the history."""
        self.opened.skip_to(hour)

    def requests(self) -> dict[str, int]:
        """Return the requests of the next hour, by version."""
        return self.opened.requests.get(self.next_hour, {})

    def judge(self, policy: AlarmPolicy, version: str) -> JudgedHour:
        """Judge the next hour and close it; its alarm is attributed to `version`."""
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
    """The traffic of all models; `save` is part of the step's transaction."""

    def __init__(self, journal: Journal, owns: Callable[[str], bool] = lambda _model: True) -> None:
        """Resume from the journal, with the models that `owns` returns True for."""
        self._journal = journal
        self._models = {
            model: ModelTraffic(opened, judged)
            for model, (opened, judged) in journal.traffic().items()
            if not judged.ended and owns(model)
        }
        self._awake = set(self._models)  # may have an hour to judge
        self._deadlines: Deadlines[str] = Deadlines()  # deadlines of the others
        self._counted: set[str] = set()  # since the last save
        self._judged: set[str] = set()

    def count(self, model: str, version: str, time: int) -> None:
        """Count a request of a model version by its event time."""
        traffic = self._models.get(model)
        if traffic is None:
            traffic = self._models[model] = ModelTraffic(OpenHours(), JudgedHours())
            self._judged.add(model)  # `save` then replaces a stored model that had ended
        if traffic.opened.count(time, version):
            self._counted.add(model)
        self._awake.add(model)

    def wake(self, model: str) -> None:
        """Have a model looked at once, whatever its deadline is."""
        self._awake.add(model)

    def wake_at(self, model: str, time: int) -> None:
        """Have a model without requests looked at no sooner than at this reception time."""
        self._deadlines.set(model, time)

    def pop_due(self, latest: int) -> list[tuple[str, ModelTraffic]]:
        """Return the models, by name, with an hour that may have ended at this reception time.

        Each needs a call of `wake_at` then.
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
        """Note that hours of a model were judged."""
        self._judged.add(model)

    def save(self) -> None:
        """Write the changes, and drop models without requests for weeks."""
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
