"""Append one event per request to the log before the reply is sent.

If a method raises LogUnavailable, it has written nothing.
"""

import asyncio
import itertools
import logging
import secrets
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

import msgspec

from eventlog.errors import DriftlineError, LogUnavailable
from eventlog.events import FeedbackEvent, Outcome, PredictionEvent
from eventlog.log import Appender
from eventlog.shards import NO_MODEL, shard_of, shard_of_label
from eventlog.stamps import Stamps
from registry.datatypes import of_array
from registry.errors import RegistryError
from registry.manifest import Version
from registry.scores import derive
from registry.summaries import Summarizer
from service.batching.job import RunResult
from service.call import NO_ARM, Call, InferenceResponse
from service.errors import Expired, InvalidRequest, NotReady, Overloaded, TooLarge, Unsupported
from service.payload_policy import PayloadPolicies
from service.protocol.feedback import FeedbackLabel
from service.protocol.messages import Array
from service.protocol.prediction_ids import PredictionIds
from service.protocol.tensors import to_tensor
from telemetry.clock import now_us

_logger = logging.getLogger(__name__)

Reply = Callable[[InferenceResponse | DriftlineError], None]

_LONGEST_NAME = 128  # maximum length of model names and request ids of clients in an event
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
    """Return the outcome of an error, for the event and the metrics."""
    return next((_OUTCOMES[kind] for kind in type(error).__mro__ if kind in _OUTCOMES), "failed")


class IdGenerator:
    """A generator of unique ids, which consist of the process's random prefix and a counter."""

    def __init__(self, prefix: str | None = None, keys: Sequence[bytes] = ()) -> None:
        """`keys` sign and verify prediction ids; `prefix` identifies the process.

        Without keys, a random key is used, so that only this process can verify its ids.
        """
        self._prefix = secrets.token_hex(6) if prefix is None else prefix
        self._batches = itertools.count()
        self.predictions = PredictionIds(keys or [secrets.token_bytes(32)], self._prefix)

    def prediction(self, model: str) -> str:
        """Return the next prediction id of a model."""
        return self.predictions.new(model)

    def batch(self) -> str:
        """Return the next batch id; thread-safe."""
        return f"{self._prefix}-b{next(self._batches):x}"


class PredictionLog:
    """The log of this process's events."""

    def __init__(
        self,
        appender: Appender,
        ids: IdGenerator,
        clock: Callable[[], float] = time.perf_counter,
        now: Callable[[], int] = now_us,
        count: Callable[[str, int], None] = lambda _kind, _number: None,
    ) -> None:
        """`clock` is the clock of `Call.started`, in seconds.

        `now` returns microseconds since the epoch. `count` is called with the kind ("prediction" or
        "feedback") and the number of appended events.
        """
        self._appender = appender
        self._ids = ids
        self._clock = clock
        self._now = now
        self._count = count
        self._policies = PayloadPolicies()
        self._summarizers: dict[str, Summarizer] = {}  # keyed by digest

    def protect(self, version: Version, key: bytes) -> None:
        """Apply a version's payload policy to its events from now on; raises SettingError.

        From now on, its events also contain summaries of tensors that the policy does not hide.
        """
        self._policies.add(version, key)
        summarizer = Summarizer(version.manifest)
        if summarizer:
            self._summarizers[version.digest] = summarizer

    def set_prediction_id(self, call: Call) -> str:
        """Set the call's prediction id if it has none; return the id."""
        call.prediction_id = call.prediction_id or self._ids.prediction(call.model[:_LONGEST_NAME])
        return call.prediction_id

    @property
    def full(self) -> bool:
        """Whether the disk is so full that requests must be refused."""
        return self._appender.full

    def check_space(self) -> None:
        """Raise LogUnavailable if the log may not have space for a request's event."""
        if self._appender.full:
            raise LogUnavailable("the event log's disk is full; retry once it has space")

    @property
    def waits_for_disk(self) -> bool:
        """Whether a reply must wait until its event is on disk."""
        return self._appender.waits_for_disk

    def reply_when_durable(self, call: Call, reply: Reply) -> Reply:
        """Wrap `reply` so that it waits until all events logged so far are on disk."""

        def reply_once_synced(
            outcome: InferenceResponse | DriftlineError, error: LogUnavailable | None
        ) -> None:
            if not call.cancelled:
                reply(error or outcome)

        return lambda outcome: self._appender.once_safe(partial(reply_once_synced, outcome))

    async def wait_until_durable(self) -> None:
        """Wait until all events logged so far are on disk; raises LogUnavailable."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def complete(error: LogUnavailable | None) -> None:
            if future.done():  # the task that waits was cancelled
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)

        self._appender.once_safe(complete)
        await future

    def append_responses(self, batch: Sequence[tuple[Call, RunResult]]) -> list[InferenceResponse]:
        """Append the events of a batch in one write; return the responses."""
        responses = [self._response(call, run) for call, run in batch]
        stamps = Stamps(self._appender)
        events = [
            self._event(stamps, call, response)
            for (call, _), response in zip(batch, responses, strict=True)
        ]
        self._appender.append(self._policies.apply(events) if self._policies else events)
        self._count("prediction", len(responses))
        for call, _ in batch:
            call.logged = True
        return responses

    def append_failures(self, batch: Sequence[tuple[Call, Outcome, str]]) -> None:
        """Append the events of failed requests in one write.

        Requests that already have an event are skipped.
        """
        pending = [failure for failure in batch if not failure[0].logged]
        if not pending:
            return
        stamps = Stamps(self._appender)
        events = [
            self._unanswered_event(stamps, call, outcome, reason)
            for call, outcome, reason in pending
        ]
        self._appender.append(self._policies.apply(events) if self._policies else events)
        self._count("prediction", len(events))
        for call, _, _ in pending:
            call.logged = True

    def append_labels(
        self,
        labels: Sequence[FeedbackLabel],
        actor: str = "",
        verified: Collection[str] = frozenset(),
    ) -> None:
        """Append one event per label in one write.

        `actor` is the caller. `verified` contains the prediction ids that this deployment issued.
        """
        self.check_space()
        now, stamps = self._now(), Stamps(self._appender)
        self._appender.append(
            [
                self._label_event(
                    now, stamps, label, actor, verified=label.prediction_id in verified
                )
                for label in labels
            ]
        )
        self._count("feedback", len(labels))

    def _label_event(
        self, now: int, stamps: Stamps, label: FeedbackLabel, actor: str, *, verified: bool
    ) -> FeedbackEvent:
        stamp = stamps.take(shard_of_label(label.prediction_id, verified=verified))
        return FeedbackEvent(
            source=self._appender.source,
            epoch=self._appender.epoch,
            sequence=stamp.sequence,
            time=now if label.event_time is None else label.event_time,
            received=now,
            prediction_id=label.prediction_id,
            label=label.label,
            row=label.row,
            load_test=label.load_test,
            shard=stamp.shard,
            number=stamp.number,
            actor=actor,
            verified=verified,
        )

    def _response(self, call: Call, run: RunResult) -> InferenceResponse:
        assert call.version is not None
        assert call.request is not None
        prediction = call.version.manifest.prediction
        if prediction.scores:
            derived = derive(prediction, run.outputs[prediction.scores])
            run = msgspec.structs.replace(run, outputs=run.outputs | derived)
        outputs = {name: to_tensor(of_array(a), a) for name, a in run.outputs.items()}
        coerced = "" if call.inputs is None else call.inputs.coerced
        return InferenceResponse(
            call.version,
            call.prediction_id or self._ids.prediction(call.model),
            call.request,
            outputs,
            run,
            coerced,
            call.arm,
        )

    def _event(self, stamps: Stamps, call: Call, response: InferenceResponse) -> PredictionEvent:
        assert call.inputs is not None
        stamp = stamps.take(shard_of(call.model))
        version, run = response.version, response.run
        arm = call.arm or NO_ARM
        return PredictionEvent(
            source=self._appender.source,
            epoch=self._appender.epoch,
            sequence=stamp.sequence,
            shard=stamp.shard,
            number=stamp.number,
            time=call.received if call.event_time is None else call.event_time,
            received=call.received,
            prediction_id=response.prediction_id,
            model=call.model,
            protocol=call.protocol,
            outcome="ok",
            version=version.number,
            digest=version.digest,
            alias=call.alias,
            revision=call.revision,
            request_id=response.request.id[:_LONGEST_NAME],
            rows=call.inputs.rows,
            batch_id=run.batch_id,
            batch_rows=run.batch_rows,
            batch_offset=run.batch_offset,
            queue_us=run.queue_us,
            run_us=run.run_us,
            total_us=self._duration_us(call),
            inputs=call.inputs.tensors,
            outputs=response.outputs,
            traceparent=call.traceparent,
            cache_hit=run.cached,
            load_test=call.load_test,
            rollout=arm.rollout,
            arm=arm.name,
            routing_key=arm.key,
            summaries=self._summarize(call, run.outputs),
        )

    def _unanswered_event(
        self, stamps: Stamps, call: Call, outcome: Outcome, reason: str
    ) -> PredictionEvent:
        self.set_prediction_id(call)
        model = call.model[:_LONGEST_NAME]
        stamp = stamps.take(NO_MODEL if call.version is None else shard_of(model))
        arm = call.arm or NO_ARM
        return PredictionEvent(
            source=self._appender.source,
            epoch=self._appender.epoch,
            sequence=stamp.sequence,
            shard=stamp.shard,
            number=stamp.number,
            time=call.received if call.event_time is None else call.event_time,
            received=call.received,
            prediction_id=call.prediction_id,
            model=model,
            protocol=call.protocol,
            outcome=outcome,
            version="" if call.version is None else call.version.number,
            digest="" if call.version is None else call.version.digest,
            alias=call.alias,
            revision=call.revision,
            reason=reason,
            request_id="" if call.request is None else call.request.id[:_LONGEST_NAME],
            rows=0 if call.inputs is None else call.inputs.rows,
            total_us=self._duration_us(call),
            inputs={} if call.inputs is None else call.inputs.tensors,
            traceparent=call.traceparent,
            load_test=call.load_test,
            rollout=arm.rollout,
            arm=arm.name,
            routing_key=arm.key,
            summaries=self._summarize(call, {}),
        )

    def _summarize(self, call: Call, outputs: Mapping[str, Array]) -> dict[str, list[float | None]]:
        """Return the summaries of a request; an error is logged and results in no summaries."""
        if not self._summarizers or call.version is None or call.inputs is None:
            return {}
        summarizer = self._summarizers.get(call.version.digest)
        if summarizer is None:
            return {}
        try:
            return summarizer.summarize({**outputs, **call.inputs.arrays}, call.inputs.rows)
        except Exception:  # the client must get its response
            _logger.exception("a request of %s has no summaries", call.model)
            return {}

    def _duration_us(self, call: Call) -> int:
        return round((self._clock() - call.started) * 1e6)
