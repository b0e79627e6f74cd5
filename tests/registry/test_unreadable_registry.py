"""An unreadable registry: a one-line error, and an unready service."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from registry.errors import RegistryUnavailable
from registry.history import sqlite as module
from registry.history.store import History


def _garbage(path: Path) -> None:
    path.write_bytes(b"\xa5" * 8192)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [(_garbage, "not a database; restore it"), (_folder, "expected a file that this user can")],
)
def test_a_file_that_is_not_a_registry_is_named(
    tmp_path: Path, damage: Callable[[Path], None], sentence: str
) -> None:
    path = tmp_path / "registry.db"
    History(path)
    damage(path)
    history = History(path)
    with pytest.raises(RegistryUnavailable, match=rf"^registry {path}: .*{sentence}"):
        history.revision()


def test_a_locked_registry_is_named_and_works_once_it_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0)
    history = History(tmp_path / "registry.db")
    with closing(sqlite3.connect(tmp_path / "registry.db")) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(RegistryUnavailable, match="locked by another process"):
            history.promote("shop", "champion", "1", time=0, actor="")
        late = History(tmp_path / "registry.db")
        other.rollback()
    assert late.promote("shop", "champion", "1", time=0, actor="") == 1


def test_a_registry_on_a_full_disk_is_named(tmp_path: Path) -> None:
    history = History(tmp_path / "registry.db")
    with closing(sqlite3.connect(tmp_path / "registry.db")) as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
    original = sqlite3.connect

    def small(*args: object, **options: object) -> sqlite3.Connection:
        connection: sqlite3.Connection = original(*args, **options)  # type: ignore[call-overload]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", small)
        with pytest.raises(RegistryUnavailable, match="full; free some space"):
            history.register("shop", "1", time=0, actor="x" * 100_000)
