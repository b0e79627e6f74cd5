"""Log the events of a batch job: exactly one for each chunk.

A killed process may have logged a chunk without storing its output. The next process reads the
logged events, computes the chunk again and does not log it twice.
"""

import socket
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, Self

import numpy as np
from msgspec.structs import replace

from driftline.batch.checkpoints import Checkpoints, Writer
from driftline.batch.value_counts import ValueCounter
from eventlog.answer_counts import CountingWriter
from eventlog.errors import LogUnavailable
from eventlog.events import PredictionEvent
from eventlog.follower import Follower
from eventlog.heartbeats import Heartbeats
from eventlog.identity import writer_name
from eventlog.log import Position
from eventlog.settings import Home, LogSettings
from eventlog.shards import shard_of
from eventlog.stamps import Stamps
from registry.datatypes import of_array
from registry.manifest import Version
from registry.summaries import Summarizer
from service.payload_policy import PayloadPolicies, without_large_payload
from service.protocol.tensors import to_tensor
from telemetry.clock import now_us

Array = np.ndarray[Any, Any]
_MOST_BYTES = 512 << 10  # maximum payload: Kafka's default limit of a message is 1 MiB
_READ = 256  # records per read


class ChunkRun(NamedTuple):
    """The content of a chunk's event."""

    prediction_id: str
    rows: int  # rows that the model answered
    first: int  # number of the chunk's first row in the file
    file: str
    started: int  # microseconds since the epoch
    run_us: int
    inputs: Mapping[str, Array]
    outputs: Mapping[str, Array]
    reason: str = ""  # reason for the failure if the model answered no row


class ChunkLog:
    """Writes the events of a job, as the only writer of its source of the log."""

    def __init__(  # noqa: PLR0913  # called in one place
        self,
        home: Home,
        settings: LogSettings,
        checkpoints: Checkpoints,
        version: Version,
        *,
        alias: str,
        revision: int,
        key: bytes,
    ) -> None:
        """Claim a source of the log; `key` is the payload policy's key for hashing values.

        Raises SettingError if the policy needs a key and `key` is empty.
        """
        self._version, self._alias, self._revision = version, alias, revision
        self._policies = PayloadPolicies()
        self._policies.add(version, key)
        summarizer = Summarizer(version.manifest)
        self._summarizer = summarizer or None
        self._values = ValueCounter(version)
        name = f"{writer_name(home.log, socket.gethostname())}-batch"
        self._writer = CountingWriter.claim(home.log, name, settings, lambda _: None)
        writer = Writer(self._writer.source, self._writer.epoch)
        self._logged = set(_logged(home, checkpoints.add_writer(writer)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        with suppress(LogUnavailable):  # the chunks are logged already
            Heartbeats(self._writer, now_us).end()
        self._writer.close()

    def prepare(self, run: ChunkRun) -> PredictionEvent:
        """Return the event of a chunk, not yet numbered; may be called in any thread."""
        inputs = {n: to_tensor(of_array(a), a) for n, a in run.inputs.items()}
        outputs = {n: to_tensor(of_array(a), a) for n, a in run.outputs.items()}
        summaries: dict[str, list[float | None]] = {}
        if self._summarizer is not None and run.rows:
            summaries = self._summarizer.summarize({**run.outputs, **run.inputs}, run.rows)
        event = PredictionEvent(
            source=self._writer.source,
            epoch=self._writer.epoch,
            sequence=0,
            time=run.started,
            received=run.started,
            prediction_id=run.prediction_id,
            model=self._version.model,
            protocol="batch",
            outcome="ok" if run.rows else "invalid",
            reason=run.reason,
            version=self._version.number,
            digest=self._version.digest,
            alias=self._alias,
            revision=self._revision,
            request_id=f"{run.file}:{run.first}"[-128:],
            rows=run.rows,
            batch_id=run.prediction_id,
            batch_rows=run.rows,
            run_us=run.run_us,
            total_us=now_us() - run.started,
            inputs=inputs,
            outputs=outputs,
            summaries=summaries,
            counts=self._values.count(run.inputs, run.outputs) if run.rows else {},
        )
        (event,) = self._policies.apply([event])
        return without_large_payload(event, _MOST_BYTES)

    def append(self, event: PredictionEvent) -> None:
        """Log a chunk's event unless an earlier process has logged it; raises LogUnavailable."""
        if event.prediction_id in self._logged:
            return
        stamp = Stamps(self._writer).take(shard_of(event.model))
        self._writer.append([replace(event, **stamp._asdict())])


def _logged(home: Home, writers: Iterable[Writer]) -> Iterable[str]:
    """Yield the prediction ids that earlier processes of the job have logged."""
    for writer in writers:
        follower = Follower(home.log / writer.source, Position(writer.epoch, 0))
        try:
            while records := follower.peek(_READ):
                follower.drop(len(records))
                for record in records:
                    if record.epoch == writer.epoch and isinstance(record.event, PredictionEvent):
                        yield record.event.prediction_id
                if records[-1].epoch > writer.epoch:
                    break
        finally:
            follower.close()
