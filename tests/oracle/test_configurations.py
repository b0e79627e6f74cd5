"""The oracle's promises under settings, commands and faults outside its usual schedule."""

import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.oracle.client import Client
from tests.oracle.frames import logged
from tests.oracle.system import FAKETIME, System

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1800)]
UNPRIVILEGED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")  # though it is root


@pytest.fixture
def system(tmp_path: Path) -> Iterator[Callable[..., System]]:
    made: list[System] = []

    def make(**options: Any) -> System:
        made.append(System(tmp_path, workers=1, **options))
        return made[-1]

    yield make
    for one in made:
        one.stop()
        one.disk.close()


def _client(system: System, root: Path) -> Client:
    return Client(system.port, system.grpc_port, root / "acknowledged.jsonl")


def test_events_dropped_on_a_full_disk_are_counted_although_workers_are_killed(
    system: Callable[..., System], tmp_path: Path
) -> None:
    dropping = system(LOG_WHEN_FULL="drop")
    if not dropping.disk.there:
        pytest.skip("FULL DISK NOT TESTED: this user may not mount a file system")
    dropping.register()
    dropping.start_service()
    client = _client(dropping, tmp_path)
    for fault in (dropping.disk.fill, dropping.kill_worker, dropping.disk.empty):
        for _ in range(20):
            client.round()
        fault()
    for _ in range(20):
        client.round()
    dropping.stop()
    events = [
        (event["prediction_id"], "label" in event)
        for event in logged(dropping.log).values()
        if "prediction_id" in event  # no heartbeat
    ]
    assert len(set(events)) == len(events)
    answered = {(one["prediction_id"], one["kind"] == "label") for one in client.acknowledged}
    missing = answered - set(events)
    assert 0 < len(missing) < len(answered)
    ledger = dropping.run("ledger")
    lines = [line for line in ledger.stdout.splitlines() if "answered but not in the log" in line]
    assert sum(int(line.split()[1].replace(",", "")) for line in lines) == len(missing)
    assert ledger.returncode == 1


def test_a_killed_provision_is_completed_by_the_next(
    system: Callable[..., System], tmp_path: Path
) -> None:
    killed = system()
    for number, operator in enumerate(("Add", "Sub", "Mul"), 1):
        folder = tmp_path / "volume" / "oracle" / str(number)
        folder.mkdir(parents=True)
        shutil.copy(killed.model(operator), folder / "model.onnx")
    chance = random.Random(5)
    command = "provision", str(tmp_path / "volume")
    for _ in range(8):
        killed.kill_command(chance.uniform(1.0, 12.0), *command)
    complete = killed.run(*command)
    assert complete.returncode == 0, complete.stderr
    history = killed.run("history", "oracle").stdout
    assert killed.run(*command).returncode == 0
    assert killed.run("history", "oracle").stdout == history
    assert history.count("registered") == 3
    killed.start_service()
    client = _client(killed, tmp_path)
    client.round()


def test_an_unreadable_version_is_reported_and_served_once_readable(
    system: Callable[..., System], tmp_path: Path
) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("PERMISSIONS NOT TESTED: this machine has no setpriv")
    denied = system(prefix=UNPRIVILEGED)
    denied.register()
    (version,) = (one for one in (denied.models / "oracle").iterdir() if one.is_dir())
    version.chmod(0)
    denied.start_service(wait=False)
    client = _client(denied, tmp_path)
    assert "ermission denied" in client.until_refused()
    version.chmod(0o755)
    denied.await_ready()
    client.round()


def test_a_read_only_store_accepts_no_version(system: Callable[..., System]) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("PERMISSIONS NOT TESTED: this machine has no setpriv")
    denied = system(prefix=UNPRIVILEGED)
    denied.register()
    for folder in (denied.models, denied.models / "oracle"):
        folder.chmod(0o555)
    refused = denied.run("register", str(denied.model("Mul")), "--name", "oracle")
    for folder in (denied.models, denied.models / "oracle"):
        folder.chmod(0o755)
    assert refused.returncode == 1
    assert "ermission denied" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert denied.run("history", "oracle").stdout.count("registered") == 1
    assert denied.run("register", str(denied.model("Mul")), "--name", "oracle").returncode == 0


def test_a_clock_wrong_for_seconds_does_not_move_event_times(
    system: Callable[..., System], tmp_path: Path
) -> None:
    if not FAKETIME.exists():
        pytest.skip("MOVED CLOCK NOT TESTED: this machine has no libfaketime")
    moved = system(own_clock=True)
    moved.register()
    moved.start_service()
    client, began = _client(moved, tmp_path), time.time()
    for seconds in (10_800, -86_400, 30 * 86_400):
        warned, until = moved.said("clock jumped"), time.time() + 50
        moved.move_clock(seconds)
        while moved.said("clock jumped") == warned:
            client.round()
            assert time.time() < until
        client.round()
        moved.move_clock(0)
        client.round()
    received = [event["received"] / 1e6 for event in logged(moved.log).values()]
    assert began - 60 < min(received)
    assert max(received) < time.time() + 60


def test_windows_by_rows_do_not_depend_on_kills(
    system: Callable[..., System], tmp_path: Path
) -> None:
    counting = system()
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text("monitoring: {window: {rows: 40, step: 1}, alarms: {min_rows: 10}}\n")
    counting.register("--manifest", str(manifest))
    counting.start_service()
    counting.start_monitor()
    client, chance = _client(counting, tmp_path), random.Random(3)
    for _ in range(3):
        for _ in range(chance.randrange(15, 40)):
            client.round()
        counting.kill_monitor()
        counting.start_monitor()
        counting.kill_worker()
    counting.kill_monitor()
    counting.stop()
    assert counting.run("monitor", "--until-idle", "--close", "--port", "0").returncode == 0
    again = counting.run("replay", "--into", str(tmp_path / "again"))
    assert again.returncode == 0, again.stdout
    count, *_ = again.stdout.split()
    assert int(count) >= 2
