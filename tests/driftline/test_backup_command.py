"""`driftline backup` and `restore` of a home in use and of a damaged backup."""

import os
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from driftline.backups.command import backup, restore
from driftline.backups.contents import BackupRecord
from driftline.backups.take import COPIED, LEFT_OUT
from eventlog.answer_counts import CountingWriter, read_answer_counts
from eventlog.process_lock import try_lock
from eventlog.segments import SegmentReader
from eventlog.settings import Home, LogSettings
from monitoring.storage.database import Database
from registry.store import Registry
from tests.logged_labels import append_label
from tests.postgres_server import PostgresServer
from tests.tiny_model import register_tiny

_SMALL = LogSettings(segment_bytes=20_000)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("BENTOML_HOME", raising=False)
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home")


def _append(writer: CountingWriter, count: int) -> None:
    for _ in range(count):
        append_label(writer)


def _sequences(home: Home) -> list[int]:
    reader, found = SegmentReader(home.log, {}), []
    while records := reader.poll(1_000):
        found += [record.sequence for record in records]
    reader.close()
    return found


def _invoke(command: object, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(one) for one in arguments])  # type: ignore[arg-type]


def test_every_part_of_a_home_is_copied_or_explicitly_omitted() -> None:
    parts = {name for name, of in vars(Home).items() if isinstance(of, property)}
    assert parts == {*COPIED, *LEFT_OUT}


def test_a_backup_of_a_home_in_use_is_restored_completely(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = register_tiny(Registry(home), tmp_path / "files", promoted=True)
    Database(home.monitor).close()
    home.keys.write_text('{"schema": 1, "keys": []}')
    (home.root / "prediction-id-secrets").write_text("0123456789abcdef\n")
    writer = CountingWriter.claim(home.log, "host", _SMALL)
    _append(writer, 200)
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            _append(writer, 1)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        taken = _invoke(backup, tmp_path / "backup")
    finally:
        ended.set()
        thread.join()
    assert taken.exit_code == 0, taken.output

    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "restored"))
    done = _invoke(restore, tmp_path / "backup")
    assert done.exit_code == 0, done.output

    restored = Home(tmp_path / "restored")
    found = _sequences(restored)
    assert found == list(range(len(found)))
    assert len(found) >= 200
    answered = read_answer_counts(restored.log / "host-0").total()
    assert 200 <= answered <= len(found)
    registry = Registry(restored)
    assert registry.version("tiny", "1").digest == version.digest
    assert registry.aliases("tiny")["champion"] == "1"
    assert restored.keys.read_text() == home.keys.read_text()
    secrets = restored.root / "prediction-id-secrets"
    assert secrets.stat().st_mode & 0o777 == 0o600
    # The next writer begins after whatever the copy holds.
    again = CountingWriter.claim(restored.log, "host", _SMALL)
    _append(again, 3)
    again.close()
    assert _sequences(restored) == [*found, 0, 1, 2]


def test_a_database_in_postgresql_is_dumped(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: PostgresServer
) -> None:
    address = postgres.schema()
    monkeypatch.setenv("DRIFTLINE_MONITOR_DATABASE", address)
    Database(address).close()
    Registry(home)

    assert _invoke(backup, tmp_path / "backup").exit_code == 0
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "restored"))
    done = _invoke(restore, tmp_path / "backup")

    dump = tmp_path / "restored" / "monitor.pgdump"
    assert dump.read_bytes().startswith(b"PGDMP")
    assert f"pg_restore --no-owner --dbname=ADDRESS {dump}" in done.output.replace("\n", " ")


def test_a_database_that_cannot_be_reached_leaves_no_backup(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_port: Callable[[], int]
) -> None:
    address = f"postgresql://tester:secret@127.0.0.1:{free_port()}/postgres"
    monkeypatch.setenv("DRIFTLINE_MONITOR_DATABASE", address)
    Registry(home)

    refused = _invoke(backup, tmp_path / "backup")

    assert "pg_dump could not copy" in str(refused.exception)
    assert "secret" not in str(refused.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


@pytest.mark.parametrize("fault", ["changed", "missing", "added", "no record", "newer format"])
def test_a_changed_backup_is_refused_and_nothing_is_written(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    _append(CountingWriter.claim(home.log, "host"), 5)
    taken = tmp_path / "backup"
    assert _invoke(backup, taken).exit_code == 0
    segment, record = next(taken.rglob("*-*.log")), taken / "backup.json"
    if fault == "changed":
        content = segment.read_bytes()
        segment.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif fault == "missing":
        segment.unlink()
    elif fault == "added":
        segment.with_suffix(".txt").write_text("?")
    elif fault == "no record":
        record.unlink()
    else:
        found = msgspec.json.decode(record.read_bytes(), type=BackupRecord)
        record.write_bytes(msgspec.json.encode(msgspec.structs.replace(found, format=2)))
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "restored"))

    for arguments in ([taken], ["--check", taken]):
        refused = _invoke(restore, *arguments)
        assert refused.exit_code == 1
        assert str(taken) in str(refused.exception)
    assert not (tmp_path / "restored").exists()


def test_existing_files_are_not_overwritten(home: Home, tmp_path: Path) -> None:
    _append(CountingWriter.claim(home.log, "host"), 5)
    taken = tmp_path / "backup"
    assert _invoke(backup, taken).exit_code == 0

    assert "exists" in str(_invoke(backup, taken).exception)
    assert "inside" in str(_invoke(backup, home.root / "backup").exception)
    assert "is not empty" in str(_invoke(restore, taken).exception)


def test_concurrent_backups_do_not_write_the_same_folder(home: Home, tmp_path: Path) -> None:
    _append(CountingWriter.claim(home.log, "host"), 5)
    held = try_lock(tmp_path / "backup.lock")
    assert held is not None
    (tmp_path / "backup.part").mkdir()  # of the process with the lock
    (tmp_path / "backup.part" / "copied").touch()
    assert "another backup" in str(_invoke(backup, tmp_path / "backup").exception)
    assert (tmp_path / "backup.part" / "copied").exists()
    os.close(held)  # it was killed
    assert _invoke(backup, tmp_path / "backup").exit_code == 0
    assert not {"backup.lock", "backup.part"} & {path.name for path in tmp_path.iterdir()}


def test_a_killed_restore_can_be_repeated(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _append(CountingWriter.claim(home.log, "host"), 5)
    taken, restored = tmp_path / "backup", Home(tmp_path / "restored")
    assert _invoke(backup, taken).exit_code == 0
    monkeypatch.setenv("DRIFTLINE_HOME", str(restored.root))
    # As killed between the moves: a part is in place, the rest is not.
    (restored.root / ".restoring").mkdir(parents=True)
    (restored.log / "half").mkdir(parents=True)

    assert _invoke(restore, taken).exit_code == 0
    assert _sequences(restored) == [0, 1, 2, 3, 4]
    assert not (restored.root / ".restoring").exists()
    assert not (restored.log / "half").exists()
