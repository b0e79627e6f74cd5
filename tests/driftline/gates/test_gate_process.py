"""Whatever happens to a gate's process, the gate has a correct outcome."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from driftline.gates.context import GateJob
from driftline.gates.process import run_gates
from registry.gates.outcomes import GateOutcome
from registry.gates.stated_gates import read_gates
from registry.manifest import Manifest, Version

_GATES = {
    "first": {"kind": "lineage", "fields": ["a"], "seconds": 1.0},
    "second": {"kind": "lineage", "fields": ["b"], "seconds": 60.0},
}
_READY = """
import json, os, sys, time
job = json.load(sys.stdin)
def send(**message): print(json.dumps(message), flush=True)
def passed(): send(outcome={"name": "", "kind": "lineage", "outcome": "passed"})
send(progress="ready")
for name in job["gates"]:
    if name == "second": send(progress="half"); passed(); continue
"""


def _run(folder: Path, script: str) -> tuple[list[GateOutcome], list[tuple[str, str]]]:
    heard: list[tuple[str, str]] = []
    version = Version(
        model="m", number="1", digest="d", created=0, manifest=Manifest(), path=str(folder)
    )
    job = GateJob(version, None, {}, str(folder), str(folder), _GATES)
    command = (sys.executable, "-c", script)
    found = run_gates(job, read_gates(_GATES), lambda *one: heard.append(one), command)
    return list(found), heard


@pytest.mark.parametrize(
    ("deed", "reason"),
    [
        ("time.sleep(600)", "it did not finish within 1 seconds"),
        ("os.kill(os.getpid(), 9)", "its process was killed by SIGKILL"),
        ("os.abort()", "its process was killed by SIGABRT"),
        ("sys.exit(3)", "its process exited with status 3"),
        ("raise ValueError('odd')", "its process exited with status 1: ValueError: odd"),
        ("os._exit(0)", "its process exited with status 0"),
        ("print('hello', flush=True)", "its process wrote an invalid message"),
        ('print(\'{"outcome": {"outcome": "fine"}}\', flush=True)', "wrote an invalid message"),
    ],
)
def test_a_gate_without_an_outcome_has_failed(tmp_path: Path, deed: str, reason: str) -> None:
    (first, second), heard = _run(tmp_path, f"{_READY}    {deed}\n")
    assert (first.name, first.outcome, second.outcome) == ("first", "failed", "passed")
    assert reason in first.reason
    assert ("second", "half") in heard


def test_a_process_that_never_starts_fails_every_gate(tmp_path: Path) -> None:
    found, _ = _run(tmp_path, "raise SystemExit(5)")
    assert [one.outcome for one in found] == ["failed", "failed"]
    assert "exited with status 5" in found[0].reason


def test_processes_started_by_a_gate_end_with_it(tmp_path: Path) -> None:
    """A grandchild that ignores SIGTERM is gone once the gate took too long."""
    child = "import time; time.sleep(600)"
    start = f"import subprocess; p = subprocess.Popen([sys.executable, '-c', {child!r}])"
    note = f"open({str(tmp_path / 'pid')!r}, 'w').write(str(p.pid)); time.sleep(600)"
    (first, _), _ = _run(tmp_path, f"{_READY}    {start}; {note}\n")
    assert first.outcome == "failed"
    pid = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + 60
    while _alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    os.kill(pid, signal.SIGCONT)
    return state != "Z"
