"""Files and folders of a home are private to one user, whatever existed before."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from access.keyfile import KeyFile
from eventlog.durable_files import (
    close_to_others,
    create_private,
    make_folder,
    open_private,
    replace_file,
)
from eventlog.errors import SettingError
from eventlog.process_lock import ProcessLock
from eventlog.settings import Home
from registry.store import Registry


@pytest.fixture(autouse=True)
def _open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_created_files_are_private_to_their_owner(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    assert [_mode(tmp_path / "a"), _mode(tmp_path / "a" / "b")] == [0o700, 0o700]
    replace_file(tmp_path / "file", b"1")
    create_private(tmp_path / "empty")
    os.close(open_private(tmp_path / "opened"))
    assert {_mode(tmp_path / name) for name in ("file", "empty", "opened")} == {0o600}


@pytest.mark.parametrize("before", [0o777, 0o755, 0o750, 0o700])
def test_a_world_accessible_folder_is_restricted_to_owner_and_group(
    tmp_path: Path, before: int
) -> None:
    home = tmp_path / "home"
    close_to_others(home)  # not there yet
    home.mkdir()
    home.chmod(before)
    close_to_others(home)
    assert _mode(home) == before & 0o770


def test_a_world_writable_folder_of_another_owner_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.chmod(0o777)

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises(SettingError, match="every user can write to it; run chmod o-rwx"):
        close_to_others(tmp_path)


_STRANGER = """
import os, sys
from pathlib import Path
home, victim = map(Path, sys.argv[1:])
for name in ("keys.json", "keys.lock", "service.lock", "monitor.lock"):
    (home / name).symlink_to(victim)
"""
_READER = """
import sys
from pathlib import Path
for path in map(Path, sys.argv[1:]):
    for look in (Path.iterdir, Path.read_bytes, lambda p: (p / "new").write_bytes(b"1")):
        try:
            list(look(path))
        except (PermissionError, NotADirectoryError):
            continue
        sys.exit(f"{path} can be used")
"""


@pytest.fixture
def stranger() -> Iterator[tuple[Path, Callable[..., int]]]:
    """A folder that every user may write, and what runs a script as another user."""
    if os.getuid() != 0:
        pytest.skip("NO SECOND USER: the tests do not run as root")
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)

    def run(script: str, *paths: Path) -> int:
        command = [sys.executable, "-c", script, *map(str, paths)]
        program = shutil.which("python3", path="/usr/bin:/usr/local/bin") or sys.executable
        return subprocess.run(
            [program, *command[1:]], user=65534, group=65534, check=False
        ).returncode

    yield folder, run
    shutil.rmtree(folder)


def test_a_second_user_reads_nothing_of_a_home_and_writes_nothing_there(
    stranger: tuple[Path, Callable[..., int]],
) -> None:
    folder, run = stranger
    home = Home(folder / "home")
    os.umask(0o022)
    Registry(home).revision()
    KeyFile.of(home, {}).change(lambda held: held)
    ProcessLock(home.lock("service"), "service").close()
    assert run(_READER, home.root, *home.root.iterdir()) == 0


def test_links_planted_by_another_user_are_not_followed(
    stranger: tuple[Path, Callable[..., int]],
) -> None:
    folder, run = stranger
    victim, home = folder / "victim", Home(folder / "home")
    victim.write_bytes(b"theirs")
    victim.chmod(0o600)
    home.root.mkdir(0o777)
    assert run(_STRANGER, home.root, victim) == 0
    with pytest.raises(OSError, match="symbolic link"):
        KeyFile.of(home, {}).change(lambda held: held)
    with pytest.raises(SettingError, match="cannot be locked"):
        ProcessLock(home.lock("service"), "service")
    assert victim.read_bytes() == b"theirs"
    close_to_others(home.root)
    assert run(_STRANGER, home.root, victim) != 0


@pytest.mark.parametrize(
    "write",
    [
        lambda path: os.close(open_private(path)),
        lambda path: replace_file(path, b"ours"),
        lambda path: ProcessLock(path, "service").close(),
    ],
)
@pytest.mark.parametrize("there", [True, False])
def test_a_link_that_another_user_planted_is_not_written_through(
    tmp_path: Path, write: Callable[[Path], None], there: bool
) -> None:
    target = tmp_path / "victim"
    if there:
        target.write_bytes(b"theirs")
    link = tmp_path / "home.file"
    link.symlink_to(target)
    try:
        write(link)
    except (OSError, SettingError):
        assert link.is_symlink()
    assert target.exists() is there
    assert not there or target.read_bytes() == b"theirs"


def test_a_write_to_a_full_disk_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*keys\.json'"):
        replace_file(tmp_path / "keys.json", b"{}")
    assert list(tmp_path.iterdir()) == []
