"""What was acknowledged is in the log, once, and monitored: judged without the product's code.

A short schedule in every test run, long ones in `make chaos`.
"""

import ast
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.depth import by_depth
from tests.oracle.client import Client
from tests.oracle.frames import Place, logged
from tests.oracle.system import System

pytestmark = pytest.mark.timeout(3600)
PRODUCT = {"driftline", "service", "monitoring", "registry", "access", "eventlog", "telemetry"}


class Run:
    """A schedule of faults, and what the log was seen to hold."""

    def __init__(self, root: Path, chance: random.Random) -> None:
        self.system = System(root, workers=by_depth(1, 2))
        self.client = Client(self.system.port, self.system.grpc_port, root / "acknowledged.jsonl")
        self.seen: dict[Place, str] = {}  # prediction ids by place
        self.labels: Counter[str] = Counter()
        self._copy = root / "copy"
        self._chance = chance

    def ask(self) -> None:
        for _ in range(self._chance.randrange(3, by_depth(8, 200))):
            self.client.round()

    def freeze_worker(self) -> None:
        worker = self.system.freeze_worker()
        worker.resume()

    def kill_service(self) -> None:
        self.system.kill_service()
        self.system.start_service()

    def kill_monitor(self) -> None:
        self.system.kill_monitor()
        self.system.start_monitor()

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
        shutil.copytree(self.system.log, self._copy)

    def look(self) -> None:
        """Note what the log holds; no place may ever hold another event."""
        for place, event in logged(self.system.log).items():
            name = event["prediction_id"]
            assert self.seen.setdefault(place, name) == name, f"{place} was used twice"
            self.labels[name] += "label" in event


def test_the_oracle_imports_nothing_of_the_product() -> None:
    for path in Path(__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not PRODUCT & {name.split(".")[0] for name in names}, f"{path}: {names}"


@pytest.mark.parametrize("seed", range(by_depth(1, 3)))
def test_what_was_acknowledged_is_logged_once_and_monitored(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    run = Run(tmp_path, chance)
    system = run.system
    system.register()
    system.start_service()
    system.start_monitor()
    try:
        run.ask()
        run.copy()
        faults = [system.kill_worker, run.freeze_worker, run.kill_monitor, run.restore]
        if by_depth(0, 1):
            faults = [chance.choice([*faults, run.kill_service, run.copy]) for _ in range(20)]
        for fault in faults:
            run.ask()
            fault()
        run.ask()
    finally:
        system.stop()
        run.client.close()
    run.look()
    assert system.run("monitor", "--until-idle", "--port", "0").returncode == 0
    _check(run, system.run("ledger").stdout)


def _check(run: Run, ledger: str) -> None:
    acknowledged = run.client.acknowledged
    predictions = {one["prediction_id"] for one in acknowledged if one["kind"] == "prediction"}
    assert len(predictions) == sum(one["kind"] == "prediction" for one in acknowledged)
    names = Counter(run.seen.values())
    missing = [one for one in acknowledged if one["prediction_id"] not in names]
    assert missing == []
    labelled = {one["prediction_id"] for one in acknowledged if one["kind"] == "label"}
    assert [name for name in labelled if not run.labels[name]] == []
    numbers: dict[tuple[str, int], set[int]] = {}
    for source, epoch, sequence in run.seen:
        numbers.setdefault((source, epoch), set()).add(sequence)
    for place, found in numbers.items():
        assert found == set(range(len(found))), f"{place} has gaps"
    monitored = Counter(
        {line.split()[0]: int(line.split()[-1].replace(",", "")) for line in _rows(ledger)}
    )
    expected = Counter(source for source, _, _ in run.seen)
    assert monitored == expected, ledger
    assert "not monitored" not in ledger
    assert "counted by the monitor" not in ledger


def _rows(ledger: str) -> list[str]:
    """The lines of sources in the table of `driftline ledger`."""
    return [line for line in ledger.splitlines()[1:] if line.strip() and ": " not in line]
