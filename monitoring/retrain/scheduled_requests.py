"""Add scheduled retraining requests to the webhook outbox.

Only the monitor that owns a model's state adds its requests. It saves the schedule's progress and
the request in one transaction, on the connection that has the monitor's lock. After a crash, the
whole decision is repeated. Monitors with separate databases create the same ids, so a receiver can
drop duplicates.
"""

import logging
import time
from collections.abc import Callable, Mapping
from functools import partial

from msgspec.structs import replace

from eventlog.log import Position
from monitoring.alarms.retrain_request import register_hint
from monitoring.alarms.retrain_schedule import ScheduleProgress, decide
from monitoring.presenter.links import training_path, validation_path
from monitoring.presenter.request_sentence import schedule_reason
from monitoring.results import RetrainRequest
from monitoring.retrain.open_requests import open_request, requests_of
from monitoring.storage.journal import Journal
from monitoring.webhooks.body import envelope
from monitoring.webhooks.outdated_requests import supersede_requests
from registry.errors import RegistryError
from registry.history.lifecycle import LifecycleState
from registry.history.rows import CHAMPION, ScheduleChange
from registry.history.store import History
from registry.schedules import latest_due, next_due

_logger = logging.getLogger(__name__)
_CHECK_EVERY_S = 1.0  # seconds between checks of the registry


class _Schedule:
    """A model's schedule, and the next time at which it is due."""

    def __init__(self, state: LifecycleState, progress: ScheduleProgress) -> None:
        assert state.schedule is not None
        self.revision = state.schedule.revision
        self.since = state.schedule.time
        self.change = state.schedule.decode(ScheduleChange)
        after = max(self.since, progress.until if progress.revision == self.revision else 0)
        self.next = next_due(self.change.cron, self.change.timezone, after)


class ScheduledRequests:
    """The schedules of the models that one consumer owns; use only in the consumer's thread."""

    def __init__(  # noqa: PLR0913  # one argument per port
        self,
        journal: Journal,
        history: History,
        *,
        page: str,
        answer_within: int,
        delivers: bool,
        positions: Callable[[], Mapping[str, Position]],
        clock: Callable[[], int],
        owns: Callable[[str], bool] = lambda _model: True,
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        """`page` is the status page's address; `answer_within` and `clock` are in microseconds.

        `delivers` states whether a receiver of requests is configured.
        """
        self._journal = journal
        self._history = history
        self._page = page
        self._answer_within = answer_within
        self._delivers = delivers
        self._positions = positions
        self._clock = clock
        self._owns = owns
        self._elapsed = elapsed
        self._next_check = 0.0  # time of the next check of the registry, by `elapsed`
        self._revision = -1  # registry revision at which the schedules were read
        self._schedules: dict[str, _Schedule] = {}  # keyed by model
        self._failure = ""  # error of the last check; the same error is logged once

    def step(self) -> None:
        """Process due schedules, or postpone them while the registry cannot be read."""
        if self._elapsed() < self._next_check:
            return
        self._next_check = self._elapsed() + _CHECK_EVERY_S
        try:
            self._read_schedules()
            now = self._clock()
            for model, schedule in self._schedules.items():
                if self._owns(model) and schedule.next <= now:
                    self._process(model, schedule, now)
        except RegistryError as error:
            if str(error) != self._failure:
                _logger.warning("%s; schedules are postponed", error)
            self._failure = str(error)
        else:
            self._failure = ""

    def _read_schedules(self) -> None:
        revision = self._history.revision()
        if revision == self._revision:
            return
        schedules = {}
        for model in sorted(self._history.models("schedule")):
            state = self._history.state(model)
            if state.schedule is not None:
                schedules[model] = _Schedule(state, self._journal.schedule_progress(model))
        self._schedules, self._revision = schedules, revision

    def _process(self, model: str, schedule: _Schedule, now: int) -> None:
        state = self._history.state(model)
        change = schedule.change
        with self._journal.database.transaction():
            before = self._journal.schedule_progress(model)
            after = decide(
                before,
                model=model,
                revision=schedule.revision,
                since=schedule.since,
                catch_up=change.catch_up,
                latest_due=partial(latest_due, change.cron, change.timezone),
                now=now,
                open_request=lambda: self._open_request(model, state, now),
            )
            if after is not before:
                self._journal.save_schedule_progress(model, after)
                self._add_request(model, state, change, before, after)
        schedule.next = next_due(change.cron, change.timezone, now)

    def _add_request(
        self,
        model: str,
        state: LifecycleState,
        change: ScheduleChange,
        before: ScheduleProgress,
        after: ScheduleProgress,
    ) -> None:
        """Add the request of a new decision to the outbox, in the caller's transaction."""
        if after.decisions == before.decisions:
            return
        decision = after.decisions[-1]
        _logger.info(
            "schedule of %s: retraining %s%s",
            model,
            decision.state,
            f": {decision.reason}" * bool(decision.reason),
        )
        if decision.state != "requested":
            return
        request = self._build_request(model, state, decision.request)
        request = replace(request, due=decision.due, reason=schedule_reason(change, decision.due))
        supersede_requests(self._journal, (model, request.version))
        self._journal.add_delivery(
            decision.request,
            envelope(decision.request, decision.decided, request),
            decision.decided,
        )

    def _build_request(self, model: str, state: LifecycleState, webhook_id: str) -> RetrainRequest:
        number = state.aliases.get(CHAMPION) or list(state.registered)[-1]
        return RetrainRequest(
            model=model,
            version=number,
            digest=state.digest_of(number),
            rule="schedule",
            reason="",
            columns=[],
            positions=dict(self._positions()),
            rows_url=self._page + training_path(webhook_id),
            training_url=self._page + training_path(webhook_id),
            validation_url=self._page + validation_path(webhook_id),
            period=self._journal.retained_period((model, number)),
            register_hint=register_hint(model, webhook_id),
        )

    def _open_request(self, model: str, state: LifecycleState, now: int) -> str:
        requests = requests_of(self._journal.deliveries(), self._journal.alarm)
        of_model = (facts for facts in requests if facts.request.model == model)
        return open_request(of_model, state, now, self._answer_within, delivers=self._delivers)
