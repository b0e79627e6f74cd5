"""A second service, monitor, forwarder or `driftline up` on one home is refused."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from eventlog.process_lock import ProcessLock
from eventlog.settings import Home
from monitoring.storage.schema import REVISION
from monitoring.storage.store import Store
from tests.driftline.conftest import Run

EARLIER = Path(__file__).parents[1] / "monitoring/storage/before_migrations/sqlite.sql"


@pytest.mark.parametrize(
    ("command", "lock", "role"),
    [
        ("serve", "service.lock", "service"),
        ("monitor", "monitor.lock", "monitor"),
        ("forward", "forwarded.lock", "forwarder"),
        ("shadow run", "shadow.lock", "shadow process"),
        ("up", "up.lock", "driftline up"),
        ("up", "shadow.lock", "shadow process"),
        ("up", "service.lock", "service"),
        ("up", "monitor.lock", "monitor"),
    ],
)
def test_a_second_process_of_a_home_ends_with_one_line(
    run: Run, home: Home, command: str, lock: str, role: str
) -> None:
    with ProcessLock(home.root / lock, role):
        refused = run(*command.split())
    assert refused.returncode == 1
    (line,) = refused.stderr.splitlines()
    assert line.startswith(
        f"driftline: {home.root}: a {role} is already running (pid {os.getpid()}"
    )


def test_monitors_that_share_a_database_server_share_a_home(run: Run, home: Home) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    with ProcessLock(home.lock("monitor"), "monitor"):
        second = run("monitor", "--port=0", DRIFTLINE_MONITOR_DATABASE=nowhere)
    assert "the database cannot be reached" in second.stderr


def test_no_command_migrates_the_database_of_a_running_monitor(run: Run, home: Home) -> None:
    with ProcessLock(home.lock("monitor"), "monitor"):
        with closing(sqlite3.connect(home.monitor)) as file:
            file.executescript(EARLIER.read_text())
        before = home.monitor.read_bytes()
        refused = run("webhooks", "list")
        assert refused.returncode == 1
        (line,) = refused.stderr.splitlines()
        assert line.startswith(
            f"driftline: the database {home.monitor} has revision none, this release needs "
            f"{REVISION}, and the monitor of an earlier release (pid {os.getpid()}, since "
        )
        assert home.monitor.read_bytes() == before
        Store(home.monitor).close()  # the monitor itself migrates it
        reading = run("webhooks", "list")
        assert (reading.returncode, reading.stderr) == (0, "")


def test_a_replay_runs_next_to_the_monitor(run: Run, home: Home, tmp_path: Path) -> None:
    with ProcessLock(home.lock("monitor"), "monitor"):
        done = run("replay", "--into", str(tmp_path / "again"))
    assert (done.returncode, done.stderr) == (0, "")
