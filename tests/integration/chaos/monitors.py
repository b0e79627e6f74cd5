"""Monitors that share a database and a cluster's partitions, and their stored results."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from kafka import KafkaAdminClient

from eventlog.kafka import KafkaSettings
from monitoring.storage.database import Database, DatabaseAddress
from monitoring.storage.store import Store
from tests.crash import frozen, kill_session
from tests.integration.chaos.story import Story
from tests.preloaded import Command

PATIENCE = 600  # seconds: the machine may be busy, and a monitor takes seconds to start
COMPARED = {
    "results": "*",
    "alarms": "alarm_id, body",
    "totals": "*",
    "windows": "*",
    "streaks": "*",
    "predictions": "*",
    "traffic": "*",
    "ledger": "*",
    "chains": "*",
    "dead_letters": "origin, reason, body, partition",
    "positions": "source, sequence, partition",
}
Tables = dict[str, list[tuple[object, ...]]]
Process = subprocess.Popen[bytes]


class Monitors:
    """Monitors of one consumer group and database; `stop` kills those that run."""

    def __init__(self, home: Path, topics: KafkaSettings, group: str, where: str) -> None:
        """Monitor the models of `home` from `topics`."""
        self.where = where
        self.running: list[Process] = []
        self._topics = topics
        self._group = group
        self._environment = {
            **os.environ,
            "DRIFTLINE_HOME": str(home),
            "BENTOML_HOME": str(home / "bentoml"),
            "DO_NOT_TRACK": "1",
            "DRIFTLINE_KAFKA_BOOTSTRAP_SERVERS": topics.bootstrap_servers,
            "DRIFTLINE_KAFKA_TOPIC_PREFIX": topics.topic_prefix,
            "DRIFTLINE_MONITOR_SOURCE": "kafka",
            "DRIFTLINE_MONITOR_GROUP": group,
            "DRIFTLINE_MONITOR_DATABASE": where,
            "DRIFTLINE_MONITOR_POLL_RECORDS": "60",
            "DRIFTLINE_MONITOR_SCORERS": "1",
        }

    def join(self, *arguments: str) -> Process:
        """Start one monitor; it has a session, so that its scorer can be killed with it."""
        process = Command(
            [sys.executable, "-m", "driftline", "monitor", "--port=0", *arguments],
            env=self._environment,
            start_new_session=True,
        )
        self.running.append(process)
        return process

    def finish(self, number: int = 1) -> None:
        """Have new monitors read everything that is left and close all windows."""
        for _ in range(number):
            self.join("--until-idle", "--close")
        self.await_end()

    def await_end(self) -> None:
        """Wait until the running monitors have ended by themselves."""
        for process in self.running:
            assert process.wait(timeout=PATIENCE) == 0
        self.running.clear()

    def kill(self) -> None:
        """Kill the longest running monitor."""
        kill_session(self.running.pop(0))

    def leave(self) -> None:
        """Ask the longest running monitor to end, once it has started."""
        process = self.running.pop(0)
        _await(lambda: process.pid in self.holders(), "the monitor holds no partition")
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=PATIENCE) == 0

    @contextmanager
    def excluded(self) -> Iterator[None]:
        """Freeze the longest running monitor; the block runs once its group has excluded it."""
        members = self._members()
        with frozen(self._last_in_line()):
            _await(lambda: self._members() < members, "the group still has the frozen monitor")
            yield

    @contextmanager
    def dispossessed(self) -> Iterator[None]:
        """Freeze it; the block runs once no partition is held by it."""
        pid = self._last_in_line()
        with frozen(pid):
            _await(lambda: pid not in self.holders(), "the frozen monitor still holds partitions")
            yield

    def stop(self) -> None:
        """Kill every monitor that runs."""
        for process in self.running:
            kill_session(process)

    def holders(self) -> set[int]:
        """Return the processes that hold partitions."""
        store = Store(self.where)
        holders = {
            int(part.holder.rpartition(":")[2]) for part in store.partitions() if part.holder
        }
        store.close()
        return holders

    def await_holders(self, number: int) -> None:
        """Wait until so many monitors hold partitions."""
        _await(lambda: len(self.holders()) >= number, f"fewer than {number} hold partitions")

    def await_events(self, number: int) -> None:
        """Wait until so many events are ingested."""
        _await(lambda: self.ingested() >= number, f"fewer than {number} events are ingested")

    def ingested(self) -> int:
        """Return the number of ingested events."""
        store = Store(self.where)
        totals = store.totals()
        store.close()
        return totals.get("monitored_events", 0)

    def _last_in_line(self) -> int:
        """Have the next faults strike other monitors than the longest running one."""
        self.running.append(self.running.pop(0))
        return self.running[-1].pid

    def _members(self) -> int:
        admin = KafkaAdminClient(**self._topics.connection)
        try:
            return len(admin.describe_groups([self._group])[self._group]["members"])
        finally:
            admin.close()


def tables(where: DatabaseAddress) -> Tables:
    """Return the contents of the tables that no rebalance may change."""
    database = Database(where)
    contents = {
        name: sorted(database.all(f"SELECT {columns} FROM {name}"), key=repr)
        for name, columns in COMPARED.items()
    }
    contents["ledger"] = [(*key, _without_duplicates(body)) for *key, body in contents["ledger"]]
    outbox = database.all("SELECT webhook_id, body FROM outbox ORDER BY webhook_id")
    contents["outbox"] = [(name, _without_time(body)) for name, body in outbox]
    database.close()
    return contents


def check(story: Story, expected: Tables, where: DatabaseAddress) -> None:
    """Check that the tables are as expected, and that no event is lost."""
    assert expected["alarms"]
    assert expected["outbox"]
    stored = tables(where)
    assert {name for name in expected if stored[name] != expected[name]} == set()
    store = Store(where)
    assert sum(ledger.events for ledger in store.ledger()) == len(story.events())
    assert sum(ledger.lost + ledger.missing for ledger in store.ledger()) == 0
    store.close()


def _await(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)


def _without_duplicates(body: object) -> dict[str, object]:
    """How many came twice depends on where a monitor died."""
    assert isinstance(body, bytes)
    ledger: dict[str, object] = msgspec.json.decode(body)
    ledger.pop("duplicated", None)
    return ledger


def _without_time(body: object) -> bytes:
    assert isinstance(body, bytes)
    envelope = msgspec.json.decode(body)
    del envelope["time"]
    return msgspec.json.encode(envelope)
