"""Log the predictions of shadows as events, in a separate source of the log."""

import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from driftline.shadows.answer import Answer
from eventlog.answer_counts import CountingWriter
from eventlog.errors import LogUnavailable
from eventlog.events import PredictionEvent
from eventlog.heartbeats import Heartbeats
from eventlog.identity import writer_name
from eventlog.settings import Home, LogSettings
from eventlog.shards import shard_of
from eventlog.stamps import Stamp, Stamps
from registry.history.shadow_state import Shadow
from telemetry.clock import now_us


class AnswerLog:
    """Appends predictions of shadows to the log, as the only writer of its source."""

    def __init__(self, home: Home, settings: LogSettings) -> None:
        name = f"{writer_name(home.log, socket.gethostname())}-shadow"
        self._writer = CountingWriter.claim(home.log, name, settings, lambda _: None)

    @property
    def full(self) -> bool:
        """Whether the log is short of space, which then is reserved for the service."""
        return self._writer.full

    def append(self, model: str, shadow: Shadow, digest: str, answers: Sequence[Answer]) -> None:
        """Append one event per answer, in a single write; raises LogUnavailable."""
        stamps, shard = Stamps(self._writer), shard_of(model)
        self._writer.append(
            [self._event(stamps.take(shard), model, shadow, digest, answer) for answer in answers]
        )

    def close(self) -> None:
        """Log the end of this epoch and release the source."""
        with suppress(LogUnavailable):
            Heartbeats(self._writer, now_us).end()
        self._writer.close()

    def _event(
        self, stamp: Stamp, model: str, shadow: Shadow, digest: str, answer: Answer
    ) -> PredictionEvent:
        event = answer.event
        failure: dict[str, Any] = {"outcome": "ok"}
        if answer.failed:
            reason = f"the model fails on {answer.failed} of {event.rows} rows"
            failure = {"outcome": "failed", "reason": reason}
        return PredictionEvent(
            source=self._writer.source,
            epoch=self._writer.epoch,
            sequence=stamp.sequence,
            shard=stamp.shard,
            number=stamp.number,
            time=event.time,
            received=now_us(),
            prediction_id=event.prediction_id,
            model=model,
            protocol="shadow",
            version=shadow.number,
            digest=digest,
            revision=shadow.revision,
            request_id=event.request_id,
            rows=event.rows,
            batch_id=shadow.id,
            run_us=answer.run_us,
            total_us=answer.run_us,
            outputs=answer.outputs if not answer.failed else {},
            **failure,
        )
