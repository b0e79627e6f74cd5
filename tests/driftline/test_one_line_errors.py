"""Faults of files and databases end a command with one line, never with a traceback."""

import sqlite3
import sys
from pathlib import Path

import click
import pytest

from driftline import cli
from eventlog.settings import Home
from registry.history import sqlite as history_file
from registry.history.store import History


def _run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["driftline", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.run()
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    (tmp_path / "home").mkdir()
    return Home(tmp_path / "home")


@pytest.mark.parametrize("command", [["models"], ["promote", "tiny", "--version", "1"]])
def test_a_garbage_registry_is_reported_in_one_line(
    home: Home,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: list[str],
) -> None:
    home.registry.write_bytes(b"garbage" * 1000)
    assert _run(monkeypatch, *command) == 1
    (line,) = capsys.readouterr().err.splitlines()
    fault = "file is not a database; restore it from a backup"
    assert line == f"driftline: registry {home.registry}: {fault}"


def test_a_locked_registry_is_reported_in_one_line(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(history_file, "PATIENCE_S", 0)
    History(home.registry)
    other = sqlite3.connect(home.registry, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert _run(monkeypatch, "models") == 1
    other.close()
    (line,) = capsys.readouterr().err.splitlines()
    assert "locked by another process" in line


def test_a_garbage_monitor_database_is_reported_in_one_line(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home.monitor.write_bytes(b"garbage" * 1000)
    assert _run(monkeypatch, "ledger") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"driftline: the database {home.monitor}: not a database")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left on device", "/full/x"), "/full/x: No space left on device"),
        (sqlite3.OperationalError("disk I/O error"), "disk I/O error"),
    ],
)
def test_any_disk_fault_is_reported_in_one_line(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: Exception,
    line: str,
) -> None:
    def broken() -> None:
        raise error

    monkeypatch.setattr(
        cli.LazyGroup, "get_command", lambda *_: click.Command("keys", callback=broken)
    )
    assert _run(monkeypatch, "keys") == 1
    assert capsys.readouterr().err == f"driftline: {line}\n"
