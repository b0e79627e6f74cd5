"""Run a batch job: read chunks, run them in threads, finish them in order, assemble the output."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import msgspec
import numpy as np
import pyarrow as pa

from driftline.batch.checkpoints import BatchJob, Checkpoints, FinishedChunk
from driftline.batch.chunk_events import ChunkLog, ChunkRun
from driftline.batch.model import BatchModel
from driftline.batch.outputs import OutputColumns
from driftline.batch.rows import read_rows
from driftline.batch.storage import Storage
from driftline.batch.tables import read_tables
from eventlog.events import PredictionEvent
from registry.manifest import Manifest
from telemetry.clock import now_us

_AHEAD = 2  # chunks that are read before a worker thread is free for them


class Place(NamedTuple):
    """The position of a chunk: number of the file, number of the chunk in it, and first row."""

    file: int
    chunk: int
    first: int


class Computed(msgspec.Struct, frozen=True):
    """A computed chunk that is neither logged nor stored yet."""

    place: Place
    finished: FinishedChunk
    event: PredictionEvent

    @property
    def rows(self) -> int:
        """The number of rows of the chunk, including rejected rows."""
        return len(self.finished.table)


class BatchRun(msgspec.Struct, frozen=True):
    """A running job and everything it uses."""

    job: BatchJob
    storage: Storage
    manifest: Manifest
    model: BatchModel
    columns: OutputColumns
    checkpoints: Checkpoints
    log: ChunkLog
    workers: int

    def run(self, progress: Callable[[int], None]) -> None:
        """Finish every remaining chunk; `progress` is called with each number of added rows."""
        waiting: deque[Future[Computed]] = deque()
        with ThreadPoolExecutor(self.workers, thread_name_prefix="batch") as pool:
            try:
                for place, table in self._unfinished(progress):
                    waiting.append(pool.submit(self._compute, place, table))
                    if len(waiting) >= self.workers + _AHEAD:
                        self._finish(waiting.popleft().result(), progress)
                while waiting:
                    self._finish(waiting.popleft().result(), progress)
            finally:
                for future in waiting:
                    future.cancel()

    def finished(self, file: int) -> Iterator[FinishedChunk]:
        """Yield the finished chunks of a file in order."""
        for chunk in range(self.checkpoints.finished(file)):
            yield self.checkpoints.read(file, chunk)

    def finished_rows(self) -> int:
        """Return the number of rows in all finished chunks."""
        every = (chunk for number in range(len(self.job.files)) for chunk in self.finished(number))
        return sum(len(chunk.table) for chunk in every)

    def _unfinished(self, progress: Callable[[int], None]) -> Iterator[tuple[Place, pa.Table]]:
        """Yield the remaining chunks, file after file."""
        job, names = self.job, self._names()
        for number, file in enumerate(job.files):
            chunk = self.checkpoints.finished(number)
            if chunk and len(self.checkpoints.read(number, chunk - 1).table) < job.chunk:
                progress(sum(len(chunk.table) for chunk in self.finished(number)))
                continue  # only the last chunk of a file is smaller
            progress(chunk * job.chunk)
            for table in read_tables(self.storage, file, names, job.chunk, chunk * job.chunk):
                yield Place(number, chunk, chunk * job.chunk), table
                chunk += 1

    def _names(self) -> list[str]:
        names = [feature.name for feature in self.manifest.features]
        return list(dict.fromkeys([*names, *self.job.copied]))

    def _compute(self, place: Place, table: pa.Table) -> Computed:
        started = now_us()
        read = read_rows(self.manifest, table)
        began = time.perf_counter()
        outputs, sound, reason = self.model.run(read.tensors, len(read.places))
        run_us = round((time.perf_counter() - began) * 1e6)
        outputs = self.columns.with_derived(outputs) if len(sound) else {}
        places, tensors, rejects = read.places, read.tensors, read.rejects
        if len(sound) < len(places):
            failed = np.setdiff1d(np.arange(len(places)), sound)
            rejects |= dict.fromkeys(places[failed].tolist(), reason)
            places, tensors = places[sound], {n: a[sound] for n, a in tensors.items()}
        prediction_id = f"{self.job.id}-{place.file:x}-{place.chunk:x}"
        run = ChunkRun(
            prediction_id, len(places), place.first, self.job.files[place.file].name, started,
            run_us, tensors, outputs, "" if len(places) else "every row of the chunk was rejected",
        )  # fmt: skip
        done = self.columns.table(table, places, outputs, prediction_id)
        rejects = {row + place.first: why for row, why in sorted(rejects.items())}
        return Computed(place, FinishedChunk(done, rejects), self.log.prepare(run))

    def _finish(self, computed: Computed, progress: Callable[[int], None]) -> None:
        """Log a chunk, then store it: no prediction may exist without an event."""
        self.log.append(computed.event)
        self.checkpoints.write(computed.place.file, computed.place.chunk, computed.finished)
        progress(computed.rows)
