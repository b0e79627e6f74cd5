"""Three monitors on one PostgreSQL database share the topics, and find what one alone finds."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from eventlog import wire
from eventlog.events import Event, FeedbackEvent, PredictionEvent, Tensor
from eventlog.kafka import KafkaSettings, KafkaSink, message
from eventlog.log import Record
from eventlog.settings import Home
from monitoring.storage.database import Database, Where
from monitoring.storage.store import Store
from registry.store import Registry
from tests.crash import kill_session
from tests.postgres_server import PostgresServer
from tests.tiny_model import BINARY, register_tiny

HOUR = 3_600_000_000
T0 = 1_372_636_800_000_000
HOURS = 6
AN_HOUR = 400  # predictions
TABLES = ("results", "alarms", "totals", "windows", "dead_letters", "streaks", "ledger")


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A home whose registry knows `tiny`."""
    stores = {
        "DRIFTLINE_HOME": str(tmp_path / "home"),
        "BENTOML_HOME": str(tmp_path / "bentoml"),
        "DO_NOT_TRACK": "1",
    }
    for name, value in stores.items():
        monkeypatch.setenv(name, value)
    register_tiny(
        Registry(Home(tmp_path / "home")),
        tmp_path / "files",
        rows=1500,
        prediction=BINARY,
        monitoring={
            "window": {"length": 3600, "grace": 900, "label_wait": 3 * 3600, "max_rows": 120},
            "alarms": {"min_rows": 50, "drifted_share": 0.5, "consecutive": 2, "min_score": 0.6},
        },
    )
    return {**os.environ, **stores}


def _story() -> list[Event]:
    """Two workers; out of order within the grace; the truth of most an hour later."""
    chance = np.random.default_rng(7)
    sent: list[tuple[int, dict[str, Any]]] = []
    for n in range(HOURS * AN_HOUR):
        at = T0 + n * HOUR // AN_HOUR
        hour = n // AN_HOUR
        price = float(chance.normal()) + (2.0 if hour >= 2 else 0.0)
        yes = float(1 / (1 + np.exp(-price)))
        truth = int(chance.random() < (1 - yes if hour >= 2 else yes))
        sent.append((at, _prediction(n, at - int(chance.integers(HOUR // 6)), price, yes)))
        if n % 20:
            sent.append((at + HOUR, {"prediction_id": f"p{n}", "label": truth, "time": at + HOUR}))
            if n % 7 == 0:  # said twice, now and then otherwise
                again = {"prediction_id": f"p{n}", "label": n % 2, "time": at + HOUR}
                sent.append((at + HOUR + 1, again))
    sent.sort(key=lambda one: one[0])
    return [_stamped(n, received, facts) for n, (received, facts) in enumerate(sent)]


def _prediction(n: int, time: int, price: float, yes: float) -> dict[str, Any]:
    return {
        "time": time,
        "prediction_id": f"p{n}",
        "model": "tiny",
        "version": "1" if n % 97 else "9",  # which nobody registered
        "protocol": "rest",
        "outcome": "ok",
        "rows": 1,
        "inputs": {
            "price": Tensor("FP32", [1, 1], [price]),
            "colour": Tensor("BYTES", [1, 1], ["red" if n % 2 else "blue"]),
        },
        "outputs": {
            "label": Tensor("INT64", [1], [int(yes > 0.5)]),
            "probabilities": Tensor("FP32", [1, 2], [1 - yes, yes]),
        },
    }


def _stamped(n: int, received: int, facts: dict[str, Any]) -> Event:
    stamp = {"source": f"serving-{n % 2}", "epoch": 1, "sequence": n // 2, "received": received}
    kind = PredictionEvent if "model" in facts else FeedbackEvent
    return kind(**stamp, **facts)


def _send(events: list[Event], topics: KafkaSettings) -> None:
    """A tenth of the records come a second time, a little later."""
    chance = random.Random(3)
    records = [Record(e.source, e.epoch, e.sequence, e, wire.encode(e)) for e in events]
    sink, recent = KafkaSink(topics), list[Record]()
    for begin in range(0, len(records), 500):
        batch = []
        for record in records[begin : begin + 500]:
            batch.append(record)
            recent = [*recent[-50:], record]
            if chance.random() < 0.1:
                batch.append(chance.choice(recent))
        sink.send([message(record, topics) for record in batch])
    sink.close()


class Monitors:
    """Processes that are all ended with the test."""

    def __init__(self, environment: dict[str, str], topics: KafkaSettings) -> None:
        self._environment = {
            **environment,
            "DRIFTLINE_KAFKA_BOOTSTRAP_SERVERS": topics.bootstrap_servers,
            "DRIFTLINE_KAFKA_TOPIC_PREFIX": topics.topic_prefix,
            "DRIFTLINE_MONITOR_SOURCE": "kafka",
            "DRIFTLINE_MONITOR_POLL_RECORDS": "60",
        }
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, group: str, where: str = "") -> subprocess.Popen[bytes]:
        settings = {"DRIFTLINE_MONITOR_GROUP": group, "DRIFTLINE_MONITOR_DATABASE": where}
        process = subprocess.Popen(
            [sys.executable, "-m", "driftline", "monitor", "--until-idle", "--close", "--port=0"],
            env=self._environment | settings,
            start_new_session=True,  # so that its scoring process can be killed with it
        )
        self._running.append(process)
        return process

    def stop(self) -> None:
        for process in self._running:
            kill_session(process)


@pytest.fixture
def monitors(environment: dict[str, str], topics: KafkaSettings) -> Iterator[Monitors]:
    group = Monitors(environment, topics)
    yield group
    group.stop()


def _found(where: Where) -> dict[str, list[tuple[object, ...]]]:
    database = Database(where)
    found = {name: sorted(database.all(f"SELECT * FROM {name}"), key=repr) for name in TABLES}
    outbox = database.all("SELECT webhook_id, body FROM outbox ORDER BY webhook_id")
    found["outbox"] = [(name, _without_time(body)) for name, body in outbox]
    positions = database.all("SELECT source, sequence FROM positions")
    found["positions"] = sorted(positions, key=repr)
    database.close()
    return found


def _without_time(body: object) -> bytes:
    assert isinstance(body, bytes)
    envelope = msgspec.json.decode(body)
    del envelope["time"]
    return msgspec.json.encode(envelope)


def _await(where: Where, events: int) -> None:
    store, deadline = Store(where), time.monotonic() + 180
    while store.totals().get("monitored_events", 0) < events:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    store.close()


def _await_readers(where: str, number: int) -> None:
    """Until so many hold streams: each has locked those that it reads."""
    database, deadline = Database(where), time.monotonic() + 180
    holding = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' GROUP BY pid"
    while len(database.all(holding)) < number:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    database.close()


def test_three_monitors_one_killed_and_one_late_find_what_one_alone_finds(
    monitors: Monitors, topics: KafkaSettings, postgres: PostgresServer, tmp_path: Path
) -> None:
    story, where = _story(), postgres.schema()
    _send(story, topics)
    alone = monitors.start("alone")
    first, second = (monitors.start("shared", where) for _ in range(2))
    _await_readers(where, 2)
    _await(where, 800)
    kill_session(first)
    third = monitors.start("shared", where)
    _await_readers(where, 2)
    for process in (alone, second, third):
        assert process.wait(timeout=150) == 0
    expected = _found(tmp_path / "home" / "monitor.db")
    assert len(expected["results"]) > 8
    assert expected["alarms"]
    assert len(expected["outbox"]) == 1
    assert _found(where) == expected
    assert Database(where).all("SELECT * FROM handed") == []
