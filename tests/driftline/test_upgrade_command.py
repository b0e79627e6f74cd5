"""`driftline upgrade --check` reports the upgrade's effects and changes nothing."""

import hashlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from driftline.cli import driftline
from eventlog.frames import encode
from eventlog.settings import Home
from monitoring.storage.schema import REVISION, VERSION_TABLE
from monitoring.storage.store import Store
from registry.history.schema import VERSION_TABLE as REGISTRY_TABLE
from registry.store import Registry

EARLIER = Path(__file__).parents[1] / "monitoring/storage/before_migrations/sqlite.sql"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    return Home(tmp_path / "home")


def _checked(home: Home, code: int) -> dict[str, Any]:
    before = _contents(home)
    done = CliRunner().invoke(driftline, ["upgrade", "--check", "--json"])
    assert done.exit_code == code, done.output
    assert _contents(home) == before
    return {one["part"]: one for one in json.loads(done.stdout)}


def _contents(home: Home) -> dict[str, str]:
    files = [path for path in home.root.rglob("*") if path.is_file()]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_an_empty_home_is_new(home: Home) -> None:
    found = _checked(home, 0)
    assert {one["outcome"] for one in found.values()} == {"new"}


def test_a_home_of_this_release_is_current(home: Home) -> None:
    Registry(home)
    Store(home.monitor).close()
    _write(home, b'{"type":"driftline.prediction.v9"', "torn")
    found = _checked(home, 0)
    assert {one["outcome"] for one in found.values()} == {"current"}


def test_an_earlier_database_lists_its_migrations(home: Home) -> None:
    file = sqlite3.connect(home.monitor)
    file.executescript(EARLIER.read_text())
    file.close()
    found = _checked(home, 0)["monitor's database"]
    assert found["outcome"] == "upgrade"
    assert "back it up first" in found["message"]
    assert found["steps"][0].split()[0] == "0001"
    assert found["steps"][-1].startswith(REVISION)


def test_data_of_a_newer_release_is_refused(home: Home) -> None:
    Registry(home)
    Store(home.monitor).close()
    for path, table in ((home.monitor, VERSION_TABLE), (home.registry, REGISTRY_TABLE)):
        file = sqlite3.connect(path)
        with file:
            file.execute(f"UPDATE {table} SET version_num = '9999'")
        file.close()
    _write(home, b'{"type":"driftline.prediction.v9","source":"host"}', "host")
    found = _checked(home, 1)
    assert {one["outcome"] for one in found.values()} == {"refused"}
    assert "unknown to this release" in found["registry"]["message"]
    assert "'driftline.prediction.v9' of host" in found["event log"]["message"]


def test_a_file_that_is_not_a_database_causes_no_traceback(home: Home) -> None:
    home.monitor.write_bytes(b"no database" * 100)
    found = _checked(home, 1)["monitor's database"]
    assert found["outcome"] == "unknown"


def _write(home: Home, body: bytes, source: str) -> None:
    folder = home.log / source
    folder.mkdir(parents=True)
    frame = encode([body], epoch=1, base=0, milliseconds=1_700_000_000_000)
    (folder / "00000001-000000000000.log").write_bytes(frame)
