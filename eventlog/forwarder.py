"""Brings the local log to Kafka: every event at least once, each source in order.

The rule: the cursor of a source moves only once everything before it is acknowledged, and after any
error everything from the cursor on is sent again. A topic that was made anew holds nothing of what
was acknowledged before, so then everything that the segments still hold is sent again. A broker
that is absent, slow, frozen or wiped therefore costs delay, never data.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from eventlog.errors import NotAcknowledged
from eventlog.kafka import KafkaSettings, Message, message
from eventlog.log import Position, Positions, Reader
from eventlog.process_lock import ProcessLock
from eventlog.retention import read_positions, write_positions
from eventlog.topic_lives import TopicLives
from eventlog.tracing import ForwardTraces

_logger = logging.getLogger(__name__)

BATCH = 2000  # records sent and acknowledged together
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 10.0  # seconds between tries


class Sink(Protocol):
    """Where messages go."""

    def send(self, batch: Sequence[Message]) -> None:
        """Return once every message is safe, or raise NotAcknowledged: any part may have come."""
        ...

    def topics(self) -> Mapping[str, str]:
        """The id of every topic that is known to be there; never waits."""
        ...


class Cursors:
    """The positions up to which everything is acknowledged, in one file that is never half written.

    Holding it locks it: two forwarders of one log would only send everything twice.
    """

    def __init__(self, path: Path) -> None:
        """Read the file, or begin at the oldest records; raise AlreadyRunning if it is in use."""
        self._lock = ProcessLock(path.with_suffix(".lock"), "forwarder")
        self._path = path
        self.lives = TopicLives(path.with_suffix(".topics"))
        self.positions: dict[str, Position] = read_positions(path) if path.exists() else {}

    def advance(self, positions: Positions) -> None:
        """Keep the new positions, on disk before this returns."""
        self.positions.update(positions)
        write_positions(self._path, self.positions)

    def rewind(self) -> None:
        """Begin at the oldest records again."""
        self.positions.clear()
        write_positions(self._path, self.positions)

    def close(self) -> None:
        """Let another forwarder in."""
        self._lock.close()


class Forwarder:
    """Moves records from the log to a sink, one acknowledged batch after the other."""

    def __init__(
        self,
        follow: Callable[[Positions], Reader],
        sink: Sink,
        cursors: Cursors,
        settings: KafkaSettings,
        traces: ForwardTraces | None = None,
    ) -> None:
        """`follow` opens the log at given positions."""
        self._traces = traces
        self._follow = follow
        self._sink = sink
        self._cursors = cursors
        self._settings = settings
        self._reader = follow(cursors.positions)

    def step(self) -> int:
        """Forward what is there, at most one batch; how many records are now acknowledged.

        Raises NotAcknowledged; the next step sends the same records again.
        """
        self._look_at_topics()
        began = time.time_ns()
        records = self._reader.poll(BATCH)
        if not records:
            return 0
        try:
            self._sink.send([message(record, self._settings) for record in records])
        except NotAcknowledged:
            self._follow_anew()
            raise
        self._cursors.advance({record.stream: record.after for record in records})
        if self._traces is not None:
            self._traces.sent(records, began)
        return len(records)

    def run(
        self,
        wait: Callable[[float], bool],
        failed: Callable[[NotAcknowledged, float], None],
        idle_pause: float = 0.1,
    ) -> None:
        """Forward until `wait(seconds)` says that it is time to stop.

        `failed` is told of each error and of the pause before the next try.
        """
        pause = _FIRST_PAUSE
        stop = False
        while not stop:
            try:
                moved = self.step()
            except NotAcknowledged as error:
                failed(error, pause)
                stop = wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)
            else:
                pause = _FIRST_PAUSE
                stop = wait(0 if moved else idle_pause)
        self._reader.close()

    def _look_at_topics(self) -> None:
        """Send everything again if a topic was made anew."""
        topics = self._sink.topics()
        recreated = self._cursors.lives.recreated(topics)
        if recreated:
            names = ", ".join(recreated)
            _logger.warning("made anew: %s; everything in the segments is sent again", names)
            self._cursors.rewind()
            self._follow_anew()
        self._cursors.lives.keep(topics)

    def _follow_anew(self) -> None:
        self._reader.close()
        self._reader = self._follow(self._cursors.positions)
