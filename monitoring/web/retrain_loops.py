"""The retraining requests of every model, with their outcomes."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from monitoring.alarms.retrain_schedule import ScheduleProgress
from monitoring.presenter.retrain_loop import RequestFacts, RetrainLoop, retrain_loop
from monitoring.presenter.schedule_text import ScheduleView, schedule_view
from monitoring.retrain.open_requests import requests_of
from monitoring.web.queries import Queries
from registry.errors import RegistryError
from registry.history.state import LifecycleState
from registry.history.store import History
from telemetry.clock import now_us

LATEST = 8  # loops on the page and in the terminal


class Retraining(NamedTuple):
    """The requests, newest first, and the schedules of all models."""

    loops: Sequence[RetrainLoop] = ()
    schedules: Sequence[ScheduleView] = ()


NO_RETRAINING = Retraining()


class RetrainLoops:
    """Join the monitor's requests with the registry's history; safe across threads."""

    def __init__(
        self, history: History, answer_within: int, clock: Callable[[], int] = now_us
    ) -> None:
        """`answer_within` is in microseconds; 0: no request is overdue."""
        self._history = history
        self._answer_within = answer_within
        self._clock = clock
        self._lock = threading.Lock()
        self._revision = -1
        self._states: dict[str, LifecycleState] = {}

    async def read(self, findings: Queries) -> list[RetrainLoop]:
        """Return every loop, newest first; while the registry is down, as it was last read."""
        facts = list(_requests(findings))
        models = {request_facts.request.model for request_facts in facts}
        states = await asyncio.to_thread(self._read_states, models) if models else {}
        return [
            self._follow(request_facts, states.get(request_facts.request.model))
            for request_facts in facts
        ]

    def now(self, findings: Queries) -> list[RetrainLoop]:
        """Return every loop, newest first, as `read` does; for commands."""
        facts = list(_requests(findings))
        states = (
            self._read_states({request_facts.request.model for request_facts in facts})
            if facts
            else {}
        )
        return [
            self._follow(request_facts, states.get(request_facts.request.model))
            for request_facts in facts
        ]

    async def read_schedules(self, findings: Queries) -> list[ScheduleView]:
        """Return the schedule of every model that has one."""
        return await asyncio.to_thread(self.schedules, findings)

    def schedules(self, findings: Queries) -> list[ScheduleView]:
        """Return the schedules; none while the registry cannot be read."""
        try:
            models = self._history.models("schedule")
        except RegistryError:
            return []
        states = self._read_states(models) if models else {}
        progress = findings.schedules() if models else {}
        views = []
        for model in sorted(states.keys() & models):
            row = states[model].schedule
            if row is not None:
                decisions = progress.get(model, ScheduleProgress())
                views.append(schedule_view(model, row, decisions, self._clock()))
        return [view for view in views if view is not None]

    def _follow(self, facts: RequestFacts, state: LifecycleState | None) -> RetrainLoop:
        now = self._clock()
        try:
            return retrain_loop(facts, state, now, self._answer_within)
        except RegistryError:  # a damaged row: driftline audit verify names it
            return retrain_loop(facts, None, now, self._answer_within)

    def _read_states(self, models: set[str]) -> dict[str, LifecycleState]:
        with self._lock:
            try:
                revision = self._history.revision()
                if revision != self._revision:
                    self._states = {}
                for model in models - self._states.keys():
                    self._states[model] = self._history.state(model)
                self._revision = revision
            except RegistryError:
                self._revision = -1
            return dict(self._states)


def _requests(findings: Queries) -> Iterator[RequestFacts]:
    deliveries = findings.deliveries()
    alarms = {alarm.alarm_id: alarm for alarm in findings.alarms()} if deliveries else {}
    return requests_of(deliveries, alarms.get)
