"""At most one process per role and home."""

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from eventlog.errors import AlreadyRunning, SettingError
from eventlog.process_lock import Holder, ProcessLock, require_unlocked

HOLDS = """
import sys, time
from pathlib import Path
from eventlog.process_lock import ProcessLock
lock = ProcessLock(Path(sys.argv[1]), "monitor")
print("locked", flush=True)
time.sleep(600)
"""


def test_the_second_process_is_refused_with_the_holder(tmp_path: Path) -> None:
    path = tmp_path / "home" / "monitor.lock"
    with ProcessLock(path, "monitor"):
        holder = msgspec.json.decode(path.read_bytes(), type=Holder)
        assert (holder.role, holder.pid) == ("monitor", os.getpid())
        for attempt in (ProcessLock, require_unlocked):
            with pytest.raises(
                AlreadyRunning, match=f"a monitor is already running .pid {os.getpid()}"
            ):
                attempt(path, "monitor")


def test_a_lock_ends_with_its_process_however_that_ends(tmp_path: Path) -> None:
    path = tmp_path / "monitor.lock"
    command = [sys.executable, "-c", HOLDS, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(AlreadyRunning, match=f"pid {process.pid}, since 20"):
            ProcessLock(path, "monitor")
        process.kill()
        process.wait()
    ProcessLock(path, "monitor").close()


def test_a_lock_can_be_taken_again_after_it_was_released(tmp_path: Path) -> None:
    path = tmp_path / "monitor.lock"
    for _ in range(2):
        with ProcessLock(path, "monitor"):
            pass
        require_unlocked(path, "monitor")
        assert path.read_bytes() == b""


def test_a_child_does_not_inherit_the_lock_of_its_parent(tmp_path: Path) -> None:
    path = tmp_path / "monitor.lock"
    with ProcessLock(path, "monitor"):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    ProcessLock(path, "monitor").close()
    child.communicate(b"\n")


def test_an_unreadable_holder_file_does_not_admit_a_second_process(tmp_path: Path) -> None:
    path = tmp_path / "monitor.lock"
    with ProcessLock(path, "monitor"):
        path.write_bytes(b"{")
        with pytest.raises(AlreadyRunning, match=r"already running .pid unknown"):
            ProcessLock(path, "monitor")


def test_a_file_that_cannot_be_locked_is_named(tmp_path: Path) -> None:
    (tmp_path / "monitor.lock").mkdir()
    with pytest.raises(SettingError, match="cannot be locked: Is a directory"):
        ProcessLock(tmp_path / "monitor.lock", "monitor")
