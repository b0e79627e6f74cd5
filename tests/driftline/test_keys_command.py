"""`driftline keys` on the command line."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from access.errors import InvalidKey
from driftline.cli import driftline


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def keys(*arguments: str) -> Result:
    return CliRunner().invoke(driftline, ["keys", *arguments])


def create(*arguments: str) -> str:
    result = keys("create", "--name", "anna", *arguments)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def test_a_key_is_shown_once_and_alone_on_standard_output(home: Path) -> None:
    text = create("--scope", "predict:flights", "--scope", "read", "--expires", "90d")
    assert re.fullmatch(r"dl_[0-9a-f]{12}_[0-9a-f]{64}", text)
    secret = text.split("_")[2]
    listed = keys("list").output
    assert text.split("_")[1] in listed
    for word in ("anna", "predict:flights read", "live"):
        assert word in listed
    assert secret not in listed
    assert secret not in (home / "keys.json").read_text()


def test_the_first_key_prints_that_every_caller_now_needs_a_key() -> None:
    first, second = (keys("create", "--name", "anna", "--scope", "read") for _ in range(2))
    assert "every caller" in first.stderr
    assert "every caller" not in second.stderr


def test_a_key_is_rotated_while_both_keys_are_valid() -> None:
    old = create("--scope", "operate").split("_")[1]
    create("--scope", "operate")
    assert isinstance(keys("create", "--name", "anna", "--scope", "read").exception, InvalidKey)
    assert keys("revoke", old).exit_code == 0
    listed = keys("list").output
    assert listed.count("live") == 1
    assert "revoked 2" in listed
    assert isinstance(keys("revoke", old).exception, InvalidKey)


def test_an_invalid_scope_or_duration_creates_no_key(home: Path) -> None:
    for wrong in (["--scope", "root"], ["--scope", "read", "--expires", "soon"]):
        assert isinstance(keys("create", "--name", "anna", *wrong).exception, InvalidKey)
    assert not (home / "keys.json").exists()


def test_the_list_explains_what_no_keys_means() -> None:
    assert "every caller on loopback has every scope" in keys("list").output


def test_the_key_file_is_readable_by_people(home: Path) -> None:
    create("--scope", "read")
    (key,) = json.loads((home / "keys.json").read_text())["keys"]
    assert key["name"] == "anna"
    assert key["scopes"] == ["read"]


def test_a_role_is_a_named_set_of_scopes() -> None:
    assert "role 'risk'" in str(keys("create", "--name", "bob", "--role", "risk").exception)
    assert keys("role", "risk", "--scope", "approve", "--scope", "read").exit_code == 0
    create("--role", "risk", "--scope", "try:flights")
    listed = keys("list").output
    assert "approve read try:flights" in listed
    assert "risk" in keys("roles").output
    assert "used by the keys of anna" in str(keys("role", "risk", "--delete").exception)
    assert keys("role", "risk").exit_code == 2
    assert isinstance(keys("role", "r", "--scope", "root").exception, InvalidKey)
    assert isinstance(keys("create", "--name", "x").exception, InvalidKey)
