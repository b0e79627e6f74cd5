"""Writing commands killed at random moments leave a legal history and complete files."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventlog.settings import Home
from registry.approvals import Approvals
from registry.history.audit import chain_faults
from registry.history.rows import ApprovalRule, ReleasePolicy
from registry.history.store import History
from registry.store import Registry
from tests.crash import kill_pid
from tests.depth import by_depth
from tests.tiny_model import register_tiny, write_tiny

# Forks for each command, so that a kill costs no imports. A line of JSON asks, one answers.
NURSERY = """
import json, os, sys
from driftline.cli import COMMANDS, driftline, run
import importlib
for name in ("models", "rollback", "limits", "policy", "gates", "golden", "approvals", "audit",
             "schedule", "registry_copy", "mlflow_import"):
    for entry in COMMANDS.values():
        if name in entry.module:
            importlib.import_module(entry.module)
import mlflow
for line in sys.stdin:
    pid = os.fork()
    if not pid:
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        arguments = json.loads(line)
        sys.argv = ["driftline", *arguments]
        try:
            exec(arguments[1]) if arguments[0] == "-c" else run()
        except SystemExit as ended:
            os._exit(int(ended.code or 0))
        os._exit(0)
    print(pid, flush=True)
    _, status = os.waitpid(pid, 0)
    print(os.waitstatus_to_exitcode(status), flush=True)
"""

# A model of MLflow in files that its own library writes.
MLFLOW_MODEL = """
client = mlflow.MlflowClient()
client.create_registered_model("late")
client.create_model_version("late", source=os.environ["MLFLOW_MODEL"])
"""


class Nursery:
    """Runs commands in forks of one process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", NURSERY],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=Path(__file__).parents[2], env=dict(os.environ),
        )  # fmt: skip

    def run(self, arguments: list[str], kill_after: float | None = None) -> tuple[int, float]:
        """Run a command, perhaps not to its end; return its status and its seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(arguments) + "\n")
        self._process.stdin.flush()
        pid, began = int(self._process.stdout.readline()), time.monotonic()
        if kill_after is not None:
            time.sleep(kill_after)  # the moment of the kill, not a wait for something
            kill_pid(pid)
        return int(self._process.stdout.readline()), time.monotonic() - began

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


@pytest.fixture
def nursery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nursery]:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    monkeypatch.setenv("MLFLOW_MODEL", (tmp_path / "mlflow").as_uri())
    started = Nursery()
    yield started
    started.close()


_LONG = 3  # of the last commands, which import ONNX Runtime: at full depth alone


def _commands(root: Path) -> list[list[str]]:
    (root / "requests.json").write_text(
        '{"inputs": {"price": [[1.0]], "colour": [["red"]]}, "outputs": {"label": [1]}}'
    )
    (root / "policy.yaml").write_text("alarms: {min_rows: 77}\n")
    (root / "gates.yaml").write_text(
        "gates: {small: {kind: size, at_most_mb: 1, blocking: false}}\n"
    )
    (root / "release.yaml").write_text("approvals: {blessed: {required: 1}}\n")
    why = ["--why", "a reason"]
    return [
        ["promote", "tiny", "--version", "2", "--no-wait"],
        ["rollback", "tiny", "--no-bar", "--no-wait", *why],
        ["promote", "tiny", "--version", "1", "--no-wait"],
        ["promote", "tiny", "--version", "2", "--no-wait"],
        ["limits", "tiny", "--max-requests", "9", "--no-wait"],
        ["unload", "tiny", "--version", "1", "--no-wait"],
        ["unload", "tiny", "--undo", "--no-wait"],
        ["policy", "tiny", "--file", str(root / "policy.yaml"), *why],
        ["rollout", "start", "tiny", "--version", "1", "--steps", "5", "--no-judge"],
        ["rollout", "abort", "tiny", *why],
        ["approve", "tiny", "--version", "2", "--alias", "blessed", *why],
        ["request", "tiny", "--version", "1", "--alias", "blessed", *why],
        ["gates", "tiny", "--file", str(root / "gates.yaml"), *why],
        ["golden", "tiny", "--add", str(root / "requests.json"), *why],
        ["schedule", "tiny", "0 3 * * MON"],
        ["describe", "tiny", "--owner", "Ann", "--tag", "pii"],
        ["reject", "tiny", "--version", "1", *why],
        ["release-policy", "tiny", "--file", str(root / "release.yaml"), *why],
        ["registry", "copy", "--to", str(root / "copy.db")],
        ["audit", "export", str(root / "history.jsonl"), "--sign"],
        ["import", "mlflow:late/1", "--name", "late-{round}"],
        ["register", str(root / "new" / "model.onnx"), "--name", "new-{round}", "--manifest",
         str(root / "new" / "manifest.yaml")],
        ["provision", str(root / "newer"), "--name", "newer-{round}"],
        ["gate", "tiny", "--version", "2"],
    ]  # fmt: skip


def _check(home: Home, export: Path, before: int) -> int:
    """The history is legal and grew, and what it names is whole; return its revision."""
    rows = list(History(home.registry).all_rows())
    assert list(chain_faults(rows)) == []
    assert len(rows) >= before
    registry = Registry(home)
    for model in registry.models():
        assert registry.damaged(model) == {}
        state = History(home.registry).state(model)
        numbers = {version.number for version in registry.versions(model)}
        assert numbers == set(state.registered), "store and history agree"
        assert set(state.aliases.values()) <= numbers
        assert len([one for one in state.rollouts.values() if one.active]) <= 1
    copy = export.with_name("copy.db")
    if copy.exists():
        copied = list(History(copy).all_rows())
        assert copied == rows[: len(copied)]
    if export.exists():
        for line in export.read_bytes().splitlines():
            json.loads(line)
    return len(rows)


def test_commands_that_are_killed_leave_a_legal_registry(nursery: Nursery, tmp_path: Path) -> None:
    home, moments = Home(tmp_path / "home"), random.Random(16)
    for description in ("one", "two"):
        register_tiny(Registry(home), tmp_path / "files", description=description, promoted=True)
    write_tiny(tmp_path / "new", description="three")
    write_tiny(tmp_path / "newer", description="four")
    write_tiny(tmp_path / "mlflow", description="five")
    (tmp_path / "mlflow" / "MLmodel").write_text("flavors: {onnx: {data: model.onnx}}\n")
    approvals = Approvals(History(home.registry))
    policy = ReleasePolicy(approvals={"blessed": ApprovalRule()})
    approvals.set_policy("tiny", policy, actor="ann", why="agreed")
    approvals.request("tiny", "2", "blessed", actor="ann", why="ready")
    commands, export = _commands(tmp_path), tmp_path / "history.jsonl"
    nursery.run(["audit", "key"])
    assert nursery.run(["-c", MLFLOW_MODEL])[0] == 0
    revision, killed = 0, 0
    commands = commands[: by_depth(len(commands) - _LONG, len(commands))]
    for command in commands:  # a round that registers does so under a name of its own
        arguments = [argument.format(round=0) for argument in command]
        status, seconds = nursery.run(arguments)
        assert status == 0, arguments
        for number in range(1, by_depth(2, 51)):
            arguments = [argument.format(round=number) for argument in command]
            status, _ = nursery.run(arguments, kill_after=moments.uniform(0, 1.1 * seconds))
            killed += status == -signal.SIGKILL
            revision = _check(home, export, revision)
    assert killed >= len(commands) // 3, "many were killed while they ran"
    policy = History(home.registry).state("tiny").policy
    assert policy.approvals.keys() == {"blessed"}
    assert policy.gates.keys() == {"small", "golden"}
    status, _ = nursery.run(["limits", "tiny", "--max-requests", "10", "--no-wait"])
    assert status == 0
    status, _ = nursery.run(["audit", "verify"])
    assert status == 0
