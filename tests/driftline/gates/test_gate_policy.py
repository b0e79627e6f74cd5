"""Gates, approvals and registration together, with killed runs, edited rows and parallel runs."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from driftline.cli import driftline
from driftline.gates.run import Progress, gate_version
from eventlog.errors import AlreadyRunning
from eventlog.parent_death import PARENT
from eventlog.process_lock import ProcessLock
from eventlog.settings import Home
from registry.approvals import Approvals
from registry.errors import ChangedFile, DamagedRow, RegistryError, VersionRefused
from registry.gates.reports import open_reports
from registry.history.audit import chain_faults
from registry.history.rows import GateResult, HistoryRow
from registry.history.store import History
from registry.store import Registry
from tests import preloaded
from tests.depth import by_depth
from tests.tiny_model import register_tiny, write_tiny

GATES = "gates: {small: {kind: size, at_most_mb: 1}, known: {kind: lineage, fields: [data]}}\n"


class Desk:
    """A model with a champion, version 1, and gates that ask for `data` in the lineage."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = Home(root / "home")
        registry = Registry(self.home)
        register_tiny(registry, root / "files", lineage={"data": "winter"})
        registry.promote("tiny", "1")
        self.set(GATES)

    @property
    def history(self) -> History:
        return History(self.home.registry)

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(driftline, arguments)

    def set(self, gates: str) -> None:
        (self.root / "gates.yaml").write_text(gates)
        file = str(self.root / "gates.yaml")
        assert self.run("gates", "tiny", "--file", file, "--why", "agreed").exit_code == 0

    def gated(self) -> list[HistoryRow]:
        return [row for row in self.history.rows("tiny") if row.kind == "gated"]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "home"))
    return Desk(tmp_path)


def test_registration_runs_the_gates_and_only_a_passed_version_is_released(desk: Desk) -> None:
    desk.set(f"{GATES}on_register: run\n")
    write_tiny(desk.root / "new")
    files = [str(desk.root / "new" / name) for name in ("model.onnx", "manifest.yaml")]
    register = ["register", files[0], "--name", "tiny", "--manifest", files[1], "--reference",
                str(desk.root / "new" / "reference.parquet")]  # fmt: skip
    first = desk.run(*register)
    assert first.exit_code == 0, first.output
    assert "known: failed: lineage lacks data" in first.output
    assert len(desk.gated()) == 1
    candidates = desk.history.desired_state("tiny", ["1", "2"]).candidates
    assert candidates == {"2": "its gates: failed (known)"}  # no number and no fallback leads to it
    assert "gates: failed" in desk.run("models").output
    assert "known" not in desk.run(*register).output  # the same content was gated already
    assert len(desk.gated()) == 1


def test_an_approval_refers_to_a_passed_report(desk: Desk) -> None:
    (desk.root / "policy.yaml").write_text("approvals: {champion: {required: 1}}")
    file = str(desk.root / "policy.yaml")
    desk.run("release-policy", "tiny", "--file", file, "--why", "audit")
    assert desk.history.state("tiny").policy.gates.keys() == {"small", "known"}  # they stay
    register_tiny(Registry(desk.home), desk.root / "new", lineage={"data": "spring"})
    approvals = Approvals(desk.history)
    with pytest.raises(VersionRefused, match=r"was not gated .* refers to a passed gate report"):
        approvals.request("tiny", "2", "champion", actor="ann", why="new data")
    assert desk.run("gate", "tiny", "--version", "2").exit_code == 0
    approvals.request("tiny", "2", "champion", actor="ann", why="new data")
    approvals.approve("tiny", "2", "champion", actor="bob", why="read the report")
    assert desk.run("gate", "tiny", "--version", "2").exit_code == 0  # another report
    with pytest.raises(VersionRefused, match="0 of 1 approvals"):
        desk.history.promote("tiny", "champion", "2", time=10**15, actor="ann")
    approvals.request("tiny", "2", "champion", actor="ann", why="new data")
    approvals.approve("tiny", "2", "champion", actor="bob", why="read the new one")
    desk.history.promote("tiny", "champion", "2", time=10**15, actor="ann")


def test_an_edited_row_releases_nothing(desk: Desk) -> None:
    register_tiny(Registry(desk.home), desk.root / "new")
    assert desk.run("gate", "tiny", "--version", "2").exit_code == 1
    with closing(sqlite3.connect(desk.home.registry)) as connection, connection:
        connection.execute("DROP TRIGGER history_no_update")
        connection.execute(
            'UPDATE history SET detail = replace(detail, \'"verdict":"failed"\', '
            "'\"verdict\":\"passed\"') WHERE kind = 'gated'"
        )
    assert desk.gated()[-1].decode(GateResult).verdict == "passed"
    with pytest.raises(VersionRefused, match=r"revision 5 \(gated\) was changed after it was"):
        desk.history.promote("tiny", "champion", "2", time=0, actor="ann")
    assert desk.run("audit", "verify").exit_code != 0


def test_changed_files_are_not_gated(desk: Desk) -> None:
    for number in ("2", "1"):  # of the candidate, and of the champion that it is compared with
        register_tiny(Registry(desk.home), desk.root / "new")
        file = Path(Registry(desk.home).version("tiny", number).path) / "model.onnx"
        file.chmod(0o644)
        file.write_bytes(file.read_bytes() + b" ")
        changed = desk.run("gate", "tiny", "--version", "2").exception
        assert isinstance(changed, ChangedFile)
        assert f"version {number} of tiny: model.onnx was changed" in str(changed)
        file.write_bytes(file.read_bytes()[:-1])
    assert desk.gated() == []


def test_only_one_gate_run_at_a_time(desk: Desk) -> None:
    with ProcessLock(desk.home.lock("gate"), "gate run"):
        second = desk.run("gate", "tiny", "--version", "1")
    assert isinstance(second.exception, AlreadyRunning)
    assert f"a gate run is already running (pid {os.getpid()}" in str(second.exception)
    assert desk.gated() == []


def test_a_policy_that_changes_during_the_run_leaves_it_without_effect(desk: Desk) -> None:
    register_tiny(Registry(desk.home), desk.root / "new", lineage={"data": "spring"})
    progress = Progress(
        lambda name, _: desk.set(GATES) if name == "known" else None,
        lambda *_: None,
        lambda _: None,
    )
    run = gate_version(desk.home, "tiny", "2", actor="ann", why="", progress=progress)
    assert run.report.verdict == "passed"
    assert run.stale == "it was not gated under the model's release policy"
    assert "2" in desk.history.desired_state("tiny", ["1", "2"]).candidates


def test_a_run_that_is_killed_leaves_a_legal_state(desk: Desk) -> None:
    """At whatever moment: no row, or a whole row with its report; and nothing runs on."""
    register_tiny(Registry(desk.home), desk.root / "new", lineage={"data": "spring"})
    command = [sys.executable, "-m", "driftline", "gate", "tiny", "--version", "2"]
    environment = {**os.environ, PARENT: str(os.getpid())}
    began = time.monotonic()
    preloaded.run(command, env=environment).check_returncode()
    whole, turns = time.monotonic() - began, random.Random(5)
    for _ in range(by_depth(3, 50)):
        before = len(desk.gated())
        run = preloaded.Command(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            run.wait(turns.uniform(0, whole))
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGKILL)
        run.wait()
        assert list(chain_faults(desk.history.all_rows())) == []
        for row in desk.gated()[before:]:
            assert open_reports(desk.home).read(row.evidence).verdict == "passed"
    done = preloaded.run(command, env=environment)
    assert done.returncode == 0, done.stderr
    desk.set("gates: {known: {kind: lineage, fields: [nothing]}}")
    assert preloaded.run(command, env=environment).returncode == 1
    assert not desk.home.gate_run.exists()


def test_unreadable_rows_are_reported_in_one_line(desk: Desk) -> None:
    assert desk.run("gate", "tiny", "--version", "1").exit_code == 0
    commands = (
        ("gates", "tiny"),
        ("gates", "tiny", "--version", "1"),
        ("gate", "tiny", "--version", "1"),
        ("release-policy", "tiny"),
        ("promote", "tiny", "--version", "1", "--alias", "other"),
    )
    for kind in ("gated", "release_policy"):
        with closing(sqlite3.connect(desk.home.registry)) as connection, connection:
            connection.execute("DROP TRIGGER IF EXISTS history_no_update")
            connection.execute("UPDATE history SET detail = '{' WHERE kind = ?", (kind,))
        for command in commands:
            failed = desk.run(*command).exception
            assert failed is None or isinstance(failed, SystemExit | RegistryError), command
    assert isinstance(desk.run("gates", "tiny").exception, DamagedRow)
