"""Requests and answers -> events, in the log before any reply leaves.

Everything that decides what the log says about a request lives here: one event each, whether it
was answered or not. Every method raises LogUnavailable, and then has written nothing.
"""

import asyncio
import itertools
import secrets
import time
from collections.abc import Callable, Sequence
from functools import partial

from eventlog.errors import DriftlineError, LogUnavailable
from eventlog.events import FeedbackEvent, Outcome, PredictionEvent
from eventlog.log import Appender
from registry.datatypes import of_array
from registry.errors import RegistryError
from registry.manifest import Version
from service.batching.job import Share
from service.call import Answer, Call
from service.errors import Expired, InvalidRequest, NotReady, Overloaded, TooLarge, Unsupported
from service.payload_policy import Policies
from service.protocol.feedback import Truth
from service.protocol.tensors import to_tensor

Reply = Callable[[Answer | DriftlineError], None]

_LONGEST_NAME = 128  # of what a client may write into an event that no model stands behind
_OUTCOMES: dict[type[DriftlineError], Outcome] = {
    RegistryError: "invalid",
    InvalidRequest: "invalid",
    TooLarge: "invalid",
    Unsupported: "invalid",
    Overloaded: "refused",
    NotReady: "refused",
    Expired: "expired",
}


def outcome_of(error: DriftlineError) -> Outcome:
    """The outcome that an event and the metrics give to an error."""
    return next((_OUTCOMES[kind] for kind in type(error).__mro__ if kind in _OUTCOMES), "failed")


class Ids:
    """Names nobody else gives: a random prefix for this process's life, then a counter."""

    def __init__(self, prefix: str | None = None) -> None:
        self._prefix = secrets.token_hex(6) if prefix is None else prefix
        self._predictions = itertools.count()
        self._batches = itertools.count()

    def prediction(self) -> str:
        """The next prediction id."""
        return f"{self._prefix}-{next(self._predictions):x}"

    def batch(self) -> str:
        """The next batch id; from any thread."""
        return f"{self._prefix}-b{next(self._batches):x}"


class PredictionLog:
    """Writes this process's events."""

    def __init__(
        self,
        appender: Appender,
        ids: Ids,
        clock: Callable[[], float] = time.perf_counter,
        now: Callable[[], int] = lambda: time.time_ns() // 1_000,
        count: Callable[[str, int], None] = lambda _kind, _number: None,
    ) -> None:
        """`clock` is what `Call.started` was read from, in seconds; `now` microseconds.

        `count` hears how many events of which kind ("prediction", "feedback") were appended.
        """
        self._appender = appender
        self._ids = ids
        self._clock = clock
        self._now = now
        self._count = count
        self._policies = Policies()

    def protect(self, version: Version, key: bytes) -> None:
        """Apply a version's payload policy to its events from now on; raises SettingError."""
        self._policies.add(version, key)

    @property
    def full(self) -> bool:
        """Whether requests must be refused, because their events may find no space."""
        return self._appender.full

    def check_space(self) -> None:
        """Raise LogUnavailable when what is asked for now may find no space in the log."""
        if self._appender.full:
            raise LogUnavailable("the event log's disk is full; try again once it has space")

    @property
    def waits_for_disk(self) -> bool:
        """Whether a reply has to wait until its event is on disk."""
        return self._appender.waits_for_disk

    def once_safe(self, call: Call, reply: Reply) -> Reply:
        """A `reply` that waits until everything logged so far is on disk."""

        def told(outcome: Answer | DriftlineError, error: LogUnavailable | None) -> None:
            if not call.left:
                reply(error or outcome)

        return lambda outcome: self._appender.once_safe(partial(told, outcome))

    async def safe(self) -> None:
        """Return once everything logged so far is as safe as was asked for, or LogUnavailable."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def told(error: LogUnavailable | None) -> None:
            if future.done():  # nobody waits any more
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        self._appender.once_safe(told)
        await future

    def answered(self, batch: Sequence[tuple[Call, Share]]) -> list[Answer]:
        """Append the events of a whole batch in one piece; only then are there answers."""
        answers = [self._answer(call, share) for call, share in batch]
        sequence = self._appender.next_sequence
        events = [
            self._event(sequence + index, call, answer)
            for index, ((call, _), answer) in enumerate(zip(batch, answers, strict=True))
        ]
        self._appender.append(self._policies.apply(events) if self._policies else events)
        self._count("prediction", len(answers))
        for call, _ in batch:
            call.logged = True
        return answers

    def unanswered(self, batch: Sequence[tuple[Call, Outcome, str]]) -> None:
        """Append the events of requests that get no answer, and why, in one piece.

        Those that have their event already are passed over.
        """
        untold = [one for one in batch if not one[0].logged]
        if not untold:
            return
        sequence = self._appender.next_sequence
        events = [
            self._unanswered_event(sequence + index, call, outcome, reason)
            for index, (call, outcome, reason) in enumerate(untold)
        ]
        self._appender.append(self._policies.apply(events) if self._policies else events)
        self._count("prediction", len(events))
        for call, _, _ in untold:
            call.logged = True

    def labelled(self, truths: Sequence[Truth]) -> None:
        """Append one event per label, all in one piece."""
        self.check_space()
        now, first = self._now(), self._appender.next_sequence
        self._appender.append(
            [
                FeedbackEvent(
                    source=self._appender.source,
                    epoch=self._appender.epoch,
                    sequence=first + index,
                    time=now if truth.event_time is None else truth.event_time,
                    received=now,
                    prediction_id=truth.prediction_id,
                    label=truth.label,
                    row=truth.row,
                )
                for index, truth in enumerate(truths)
            ]
        )
        self._count("feedback", len(truths))

    def _answer(self, call: Call, share: Share) -> Answer:
        assert call.version is not None
        assert call.request is not None
        outputs = {name: to_tensor(of_array(a), a) for name, a in share.outputs.items()}
        return Answer(call.version, self._ids.prediction(), call.request, outputs, share)

    def _event(self, sequence: int, call: Call, answer: Answer) -> PredictionEvent:
        assert call.inputs is not None
        version, share = answer.version, answer.share
        return PredictionEvent(
            source=self._appender.source,
            epoch=self._appender.epoch,
            sequence=sequence,
            time=call.received if call.event_time is None else call.event_time,
            received=call.received,
            prediction_id=answer.prediction_id,
            model=call.model,
            protocol=call.protocol,
            outcome="ok",
            version=version.number,
            digest=version.digest,
            alias=call.alias,
            revision=call.revision,
            request_id=answer.request.id[:_LONGEST_NAME],
            rows=call.inputs.rows,
            batch_id=share.batch_id,
            batch_rows=share.batch_rows,
            batch_offset=share.batch_offset,
            queue_us=share.queue_us,
            run_us=share.run_us,
            total_us=self._since(call),
            inputs=call.inputs.tensors,
            outputs=answer.outputs,
            traceparent=call.traceparent,
            cache_hit=share.cached,
        )

    def _unanswered_event(
        self, sequence: int, call: Call, outcome: Outcome, reason: str
    ) -> PredictionEvent:
        call.prediction_id = self._ids.prediction()
        return PredictionEvent(
            source=self._appender.source,
            epoch=self._appender.epoch,
            sequence=sequence,
            time=call.received if call.event_time is None else call.event_time,
            received=call.received,
            prediction_id=call.prediction_id,
            model=call.model[:_LONGEST_NAME],
            protocol=call.protocol,
            outcome=outcome,
            version="" if call.version is None else call.version.number,
            digest="" if call.version is None else call.version.digest,
            alias=call.alias,
            revision=call.revision,
            reason=reason,
            request_id="" if call.request is None else call.request.id[:_LONGEST_NAME],
            rows=0 if call.inputs is None else call.inputs.rows,
            total_us=self._since(call),
            inputs={} if call.inputs is None else call.inputs.tensors,
            traceparent=call.traceparent,
        )

    def _since(self, call: Call) -> int:
        return round((self._clock() - call.started) * 1e6)
