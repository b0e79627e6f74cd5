"""The key file: its contents, its rights, and concurrent changes."""

import stat
import threading
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from access.errors import InvalidKey
from access.keyfile import KeyFile
from access.keys import Key
from eventlog.errors import SettingError
from eventlog.settings import Home


def key(identity: str) -> Key:
    return Key(id=identity, name="n", digest="00", scopes=["read"], created=1.5)


def test_the_written_file_is_readable_by_all_and_writable_by_its_owner(tmp_path: Path) -> None:
    file = KeyFile.of(Home(tmp_path / "home"), {})
    assert file.read() is None
    assert file.stamp() is None
    file.change(lambda held: [*held, key("a")])
    assert KeyFile(file.path).read() == [key("a")]
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_every_change_changes_the_file_stamp(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    stamps = set()
    for _ in range(20):
        file.change(lambda held: held)
        stamps.add(file.stamp())
    assert len(stamps) == 20


def test_concurrent_changes_are_all_stored(tmp_path: Path) -> None:
    names = [str(number) for number in range(20)]
    threads = [
        threading.Thread(
            target=KeyFile(tmp_path / "keys.json").change,
            args=(lambda held, name=name: [*held, key(name)],),
        )
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    held = KeyFile(tmp_path / "keys.json").read()
    assert held is not None
    assert sorted(one.id for one in held) == sorted(names)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{", b"\xff", b'{"schema": 3, "keys": []}', b'{"schema": 1, "keys": [{}]}'],
)
def test_a_file_that_is_not_a_key_file_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(content)
    with pytest.raises(SettingError, match=r"keys\.json"):
        KeyFile(path).read()


def test_a_folder_in_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "keys.json").mkdir()
    with pytest.raises(SettingError, match="cannot be read"):
        KeyFile(tmp_path / "keys.json").read()


def test_a_setting_can_move_the_file(tmp_path: Path) -> None:
    environ = {"DRIFTLINE_KEYS_FILE": str(tmp_path / "secret" / "keys")}
    file = KeyFile.of(Home(tmp_path / "home"), environ)
    file.change(lambda _: [key("a")])
    assert (tmp_path / "secret" / "keys").exists()


def test_a_file_of_an_earlier_release_is_read_and_stays_readable_by_it(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    old = {"id": "a", "name": "n", "digest": "00", "scopes": ["read"], "created": 1.5}
    old |= {"expires": None, "revoked": None}
    path.write_bytes(msgspec.json.encode({"schema": 1, "keys": [old]}))
    file = KeyFile(path)
    assert file.read() == [key("a")]
    file.change(lambda held: [*held, key("b")])
    assert msgspec.json.decode(path.read_bytes()).keys() == {"schema", "keys"}
    assert msgspec.json.decode(path.read_bytes())["schema"] == 1


def test_a_key_has_the_current_scopes_of_its_roles(tmp_path: Path) -> None:
    file = KeyFile(tmp_path / "keys.json")
    file.change_roles(lambda *_: {"risk": ["approve", "read"]})
    file.change(lambda _: [replace(key("a"), scopes=["try:m"], roles=["risk", "gone"])])
    assert [one.scopes for one in file.read() or []] == [["approve", "read", "try:m"]]
    file.change_roles(lambda known, _: known | {"risk": ["read"]})
    assert [one.scopes for one in file.read() or []] == [["read", "try:m"]]
    with pytest.raises(InvalidKey, match="scope 'root'"):
        file.change_roles(lambda *_: {"risk": ["root"]})
    assert file.roles() == {"risk": ["read"]}


def test_a_missing_configured_key_file_grants_no_access(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert KeyFile.of(home, {}).require() is None
    named = KeyFile.of(home, {"DRIFTLINE_KEYS_FILE": str(tmp_path / "mounted" / "keys.json")})
    with pytest.raises(SettingError, match=r"DRIFTLINE_KEYS_FILE: .*keys\.json does not exist"):
        named.require()
    named.change(lambda held: [*held, key("a")])  # as driftline keys create does
    assert named.require() == [key("a")]
