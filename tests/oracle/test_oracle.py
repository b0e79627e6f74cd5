"""Acknowledged requests are logged once and monitored, checked without the product's code.

A short schedule in every test run, long ones in `make chaos`.
"""

import ast
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.depth import NIGHTLY, by_depth
from tests.oracle.client import Client
from tests.oracle.frames import Place, damage, logged
from tests.oracle.system import System

pytestmark = pytest.mark.timeout(3600)
Fault = Callable[[], None]
HEARTBEAT = "no request: a heartbeat"
PRODUCT = {"driftline", "service", "monitoring", "registry", "access", "eventlog", "telemetry"}


class Run:
    """A schedule of faults, and what the log was seen to hold."""

    def __init__(self, root: Path, chance: random.Random) -> None:
        self.system = System(root, workers=by_depth(1, 2))
        self.client = Client(self.system.port, self.system.grpc_port, root / "acknowledged.jsonl")
        self.seen: dict[Place, tuple[str, bool]] = {}  # prediction id, whether it is a label
        self.damaged: set[Place] = set()
        self._copy = root / "copy"
        self._chance = chance

    def faults(self) -> list[Fault]:
        """Every fault that this machine can suffer."""
        system = self.system
        faults: list[Fault] = [system.kill_worker, self.freeze_worker, self.damage, self.restore]
        if system.disk.there:
            faults += [self.fill_disk, self.cut_power]
        if NIGHTLY:
            faults += [self.kill_service, self.kill_monitor, self.copy]
            return [self._chance.choice(faults) for _ in range(30)]
        self._chance.shuffle(faults)
        return faults

    def ask(self) -> None:
        for _ in range(self._chance.randrange(3, by_depth(8, 200))):
            self.client.round()

    def freeze_worker(self) -> None:
        """What is asked meanwhile waits, or another worker answers."""
        self.system.freeze_worker(by_depth(1.0, 15.0))
        self.client.round()

    def kill_service(self) -> None:
        self.system.kill_service()
        self.system.start_service()

    def kill_monitor(self) -> None:
        self.system.kill_monitor()
        self.system.start_monitor()

    def fill_disk(self) -> None:
        self.system.disk.fill()
        assert "full" in self.client.until_refused()
        self.system.disk.empty()
        self.client.round()

    def cut_power(self) -> None:
        """What was not flushed is gone, and no process knows."""
        self.system.kill_service()
        self.system.kill_monitor()
        self.system.disk.cut_power()
        self.system.start_service()
        self.system.start_monitor()

    def damage(self) -> None:
        self.look()
        self.damaged |= damage(self.system.log, self._chance)

    def restore(self) -> None:
        """Kill the service, let the monitor read all, and bring an older copy of the log back."""
        self.system.kill_service()
        self.system.kill_monitor()
        assert self.system.run("monitor", "--until-idle", "--port", "0").returncode == 0
        self.look()
        self.system.restore(self._copy)
        self.system.start_service()
        self.system.start_monitor()

    def copy(self) -> None:
        """Take the copy while the service is at work."""
        shutil.rmtree(self._copy, ignore_errors=True)
        shutil.copytree(self.system.log, self._copy, ignore=shutil.ignore_patterns("lost+found"))

    def look(self) -> None:
        """Note what the log holds; no place may ever hold another event."""
        for place, event in logged(self.system.log).items():
            found = event.get("prediction_id", HEARTBEAT), "label" in event
            assert self.seen.setdefault(place, found) == found, f"{place} was used twice"


def test_the_oracle_imports_nothing_of_the_product() -> None:
    for path in Path(__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not PRODUCT & {name.split(".")[0] for name in names}, f"{path}: {names}"


@pytest.mark.parametrize("seed", range(by_depth(1, 3)))
def test_every_acknowledged_request_is_logged_once_and_monitored(tmp_path: Path, seed: int) -> None:
    run = Run(tmp_path, random.Random(seed))
    system = run.system
    system.register()
    system.start_service()
    system.start_monitor()
    try:
        run.ask()
        run.copy()
        for fault in run.faults():
            print(fault.__name__)
            run.ask()
            fault()
        run.ask()
        system.stop()
        run.look()
        assert system.run("monitor", "--until-idle", "--port", "0").returncode == 0
        _check(run, system.run("ledger").stdout)
    finally:
        system.stop()
        run.client.close()
        system.disk.close()


def _check(run: Run, ledger: str) -> None:
    acknowledged = run.client.acknowledged
    predictions = [one["prediction_id"] for one in acknowledged if one["kind"] == "prediction"]
    assert len(set(predictions)) == len(predictions)
    events = Counter(name for name, is_label in run.seen.values() if not is_label)
    assert [name for name in predictions if events[name] != 1] == []
    labels = {name for name, is_label in run.seen.values() if is_label}
    assert {one["prediction_id"] for one in acknowledged if one["kind"] == "label"} <= labels
    numbers: dict[tuple[str, int], set[int]] = {}
    for source, epoch, sequence in run.seen:
        numbers.setdefault((source, epoch), set()).add(sequence)
    for place, found in numbers.items():
        assert found == set(range(len(found))), f"{place} has gaps"
    monitored = {line.split()[0]: int(line.split()[-1].replace(",", "")) for line in _rows(ledger)}
    expected = Counter(place[0] for place, found in run.seen.items() if found[0] != HEARTBEAT)
    damaged = Counter(source for source, _, _ in run.damaged)
    assert monitored.keys() == expected.keys(), ledger
    for source, count in monitored.items():  # damaged before or after the monitor read it
        assert expected[source] - damaged[source] <= count <= expected[source], ledger
    assert "in the log but not monitored" not in ledger
    assert damaged or "counted by the monitor" not in ledger


def _rows(ledger: str) -> list[str]:
    """The lines of sources in the table of `driftline ledger`."""
    return [line for line in ledger.splitlines()[1:] if line.strip() and ": " not in line]
