"""`driftline monitor` as a real process, killed repeatedly while it reads a log on disk."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from eventlog.events import Event, FeedbackEvent, PredictionEvent, Tensor
from eventlog.segments import SegmentWriter
from eventlog.settings import Home, LogSettings
from monitoring.storage.database import Database, DatabaseAddress, exists
from monitoring.storage.store import Store
from registry.policies import PolicyChange
from registry.store import Registry
from tests.crash import kill_session
from tests.depth import by_depth
from tests.postgres_server import PostgresServer
from tests.preloaded import Command, run
from tests.tiny_model import BINARY, register_tiny

HOUR = 3_600_000_000
T0 = 1_372_636_800_000_000
MONITORING: dict[str, Any] = {
    "window": {"length": 3600, "grace": 600, "label_wait": 3 * 3600, "max_rows": 80},
    "alarms": {"min_rows": 50, "drifted_share": 0.5, "consecutive": 2, "min_score": 0.6},
}
# Policy change that applies from the fourth hour on.
CHANGE: dict[str, Any] = {"window": {"max_rows": 90}, "alarms": {"min_rows": 40}}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Return the environment of a home with the registered model `tiny` and five hours of log."""
    tmp_path = tmp_path_factory.mktemp("monitored")
    stores = {
        "DRIFTLINE_HOME": str(tmp_path / "home"),
        "BENTOML_HOME": str(tmp_path / "bentoml"),
        "DO_NOT_TRACK": "1",
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in stores.items():
            patch.setenv(name, value)
        home = Home(tmp_path / "home")
        register_tiny(
            Registry(home),
            tmp_path / "files",
            rows=1500,
            prediction=BINARY,
            monitoring=MONITORING,
        )
        midway = Registry(home, lambda: (T0 + 5 * HOUR // 2) * 1_000)
        midway.change_policy("tiny", "1", PolicyChange(CHANGE, "fewer rows are enough"))
        _write(home.log)
        yield {**os.environ, **stores}


def _write(folder: Path) -> None:
    """Write 100 requests an hour; after two hours prices rise and labels are inverted."""
    chance = np.random.default_rng(4)
    writer = SegmentWriter.claim(folder, "serving", LogSettings(segment_bytes=64 << 10))
    waiting: list[tuple[str, int]] = []
    for n in range(500):
        hour = n // 100
        price = float(chance.normal()) + (2.0 if hour >= 2 else 0.0)
        colour = str(chance.choice(["red", "blue"]))
        yes = 1 / (1 + np.exp(-price - (colour == "red")))
        truth = int(chance.random() < (1 - yes if hour >= 2 else yes))
        _append(writer, _prediction(n, price, colour, float(yes)))
        waiting.append((f"p{n}", truth))
        if n >= 110 and n % 20:  # most get their label an hour later
            name, label = waiting.pop(0)
            fields = {"time": T0, "received": T0 + n, "prediction_id": name, "label": label}
            _append(writer, FeedbackEvent(**_stamp(writer), **fields))
    writer.close()
    assert len(list((folder / "serving-0").glob("*.log"))) > 2


def _prediction(n: int, price: float, colour: str, yes: float) -> dict[str, Any]:
    return {
        "time": T0 + n * HOUR // 100,
        "received": T0 + n * HOUR // 100,
        "prediction_id": f"p{n}",
        "model": "tiny",
        "version": "1",
        "protocol": "rest",
        "outcome": "ok",
        "rows": 1,
        "inputs": {
            "price": Tensor("FP32", [1, 1], [price]),
            "colour": Tensor("BYTES", [1, 1], [colour]),
        },
        "outputs": {
            "label": Tensor("INT64", [1], [int(yes > 0.5)]),
            "probabilities": Tensor("FP32", [1, 2], [1 - yes, yes]),
        },
    }


def _stamp(writer: SegmentWriter) -> dict[str, Any]:
    return {"source": writer.source, "epoch": writer.epoch, "sequence": writer.next_sequence}


def _append(writer: SegmentWriter, event: Event | dict[str, Any]) -> None:
    if isinstance(event, dict):
        event = PredictionEvent(**_stamp(writer), **event)
    writer.append([event])


def _monitor(
    environment: Mapping[str, str], home: Path, where: DatabaseAddress = ""
) -> subprocess.Popen[bytes]:
    """Start a monitor on its own home that shares the registry and the log."""
    fields = {"DRIFTLINE_HOME": str(home), "DRIFTLINE_MONITOR_POLL_RECORDS": "30"}
    fields["DRIFTLINE_MONITOR_DATABASE"] = str(where)
    return Command(
        [sys.executable, "-m", "driftline", "monitor", "--until-idle", "--close", "--port", "0"],
        env={**environment, **fields},
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # so that its scoring process can be killed with it
    )


def _home_like(environment: Mapping[str, str], folder: Path) -> Path:
    folder.mkdir()
    origin = Path(environment["DRIFTLINE_HOME"])
    for name in ("log", "registry.db"):
        (folder / name).symlink_to(origin / name)
    return folder


def _expect_success(process: subprocess.Popen[bytes]) -> None:
    try:
        assert process.wait(timeout=400) == 0
    finally:
        kill_session(process)


def _progress(where: DatabaseAddress) -> tuple[int, int]:
    """Return the number of ingested records and stored results."""
    if not exists(where):
        return 0, 0
    store = Store(where)
    try:
        results = [result for key in store.monitored_versions() for result in store.results(*key)]
        return store.totals().get("monitored_events", 0), len(results)
    finally:
        store.close()


def _killed_at(environment: Mapping[str, str], home: Path, events: int, results: int) -> None:
    """Kill the monitor and its scoring process after so many events and results."""
    process = _monitor(environment, home)
    _await(process, home / "monitor.db", events, results)
    kill_session(process)
    assert process.returncode == -signal.SIGKILL


def _await(
    process: subprocess.Popen[bytes], where: DatabaseAddress, events: int, results: int
) -> None:
    deadline = time.monotonic() + 240
    while (now := _progress(where))[0] < events or now[1] < results:
        assert process.poll() is None, "the monitor ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _contents(where: DatabaseAddress) -> dict[str, list[tuple[object, ...]]]:
    """Return the tables that must be equal, without the creation times of webhooks."""
    database = Database(where)
    tables = ("results", "alarms", "totals", "windows", "dead_letters", "positions")
    found = {name: sorted(database.all(f"SELECT * FROM {name}"), key=repr) for name in tables}
    outbox = database.all("SELECT webhook_id, body FROM outbox ORDER BY webhook_id")
    found["outbox"] = [(name, _without_time(body)) for name, body in outbox]
    database.close()
    return found


def _without_time(body: object) -> bytes:
    assert isinstance(body, bytes)
    envelope = msgspec.json.decode(body)
    del envelope["time"]
    return msgspec.json.encode(envelope)


@pytest.fixture(scope="module")
def calm(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, subprocess.Popen[bytes]]]:
    """Return a home and an uninterrupted monitor on it."""
    home = _home_like(environment, tmp_path_factory.mktemp("homes") / "calm")
    undisturbed = _monitor(environment, home)
    yield home, undisturbed
    kill_session(undisturbed)


def test_repeatedly_killed_monitor_stores_the_same(
    environment: dict[str, str], calm: tuple[Path, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    home, undisturbed = calm
    killed = _home_like(environment, tmp_path / "killed")
    for events, results in [(60, 0), (110, 0), (700, 2)][-by_depth(2, 3) :]:
        _killed_at(environment, killed, events, results)
    _expect_success(_monitor(environment, killed))
    _expect_success(undisturbed)
    expected = _contents(home / "monitor.db")
    assert len(expected["results"]) > 6
    monitored = Store(home / "monitor.db").results("tiny", "1")
    assert [result.sampled for result in monitored] == [80, 80, 80, 90, 90]
    first, last = monitored[0].policy, monitored[-1].policy
    assert [result.policy for result in monitored] == [first] * 3 + [last] * 2
    assert first != last
    rules = {alarm.rule for alarm in Store(home / "monitor.db").alarms()}
    assert rules == {"drift", "performance", "concept"}
    assert len(expected["outbox"]) == 1
    assert _contents(killed / "monitor.db") == expected
    (ledger,) = Store(killed / "monitor.db").ledger()
    assert (ledger.lost, ledger.unreadable) == (0, 0)


def test_restarted_database_server_neither_loses_nor_duplicates_results(
    environment: dict[str, str],
    calm: tuple[Path, subprocess.Popen[bytes]],
    tmp_path: Path,
    postgres: PostgresServer,
) -> None:
    """The server crashes twice while the monitor runs; the monitor is killed once."""
    home, undisturbed = calm
    where = postgres.schema()
    elsewhere = _home_like(environment, tmp_path / "elsewhere")
    process = _monitor(environment, elsewhere, where)
    for events, results in [(60, 0), (500, 2)]:
        _await(process, where, events, results)
        postgres.stop()
        postgres.start()
    _await(process, where, 700, 2)
    kill_session(process)
    _expect_success(_monitor(environment, elsewhere, where))
    _expect_success(undisturbed)
    assert _contents(where) == _contents(home / "monitor.db")
    assert not (elsewhere / "monitor.db").exists()


def test_replay_reproduces_the_results_and_backtest_applies_another_policy(
    environment: dict[str, str], calm: tuple[Path, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    home, undisturbed = calm
    _expect_success(undisturbed)
    here = {**environment, "DRIFTLINE_HOME": str(home), "COLUMNS": "400"}

    def command(*arguments: str, **elsewhere: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "driftline", *arguments]
        return run(command, env={**here, **elsewhere}, timeout=400)

    again = command("replay", "--into", str(tmp_path / "again"))
    assert "recomputed, 0 differ" in again.stdout, again.stderr
    assert again.returncode == 0
    assert (tmp_path / "again" / "monitor.db").exists()
    second = command("replay", "--into", str(tmp_path / "again"))
    assert "expected a folder without this file" in second.stderr

    lenient = tmp_path / "lenient.yaml"
    lenient.write_text(
        "monitoring: {window: {length: 3600, grace: 600}, "
        "alarms: {min_rows: 50, drifted_share: 1.0, consecutive: 99}}"
    )
    trial = command("backtest", "--policy", str(lenient))
    # The concept rule needs no consecutive windows.
    assert "1 alarm by this policy, 3 recorded" in trial.stdout, trial.stderr
    assert "retraining requested 1 time, recorded 1" in trial.stdout
    assert "could not be ingested" not in trial.stderr
    unreadable = command("backtest", "--policy", str(lenient), BENTOML_HOME=str(tmp_path / "none"))
    assert "0 alarms by this policy" in unreadable.stdout
    assert "could not be ingested; the last reason: " in unreadable.stderr
    assert "its folder is missing" in unreadable.stderr
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("alarms: {min_rows: lots}")
    refused = command("backtest", "--policy", str(wrong))
    assert refused.returncode == 1
    assert "policy wrong.yaml: Expected `int`" in refused.stderr
