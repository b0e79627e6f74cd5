"""`driftline rollback` and `unbar` on the command line."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from driftline.cli import driftline
from eventlog.settings import Home
from registry.errors import RegistryConflict, UnknownVersion, VersionRefused
from registry.history.store import History
from registry.rollback import roll_back
from registry.store import Registry
from tests.tiny_model import register_tiny


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    """Versions 1 to 3, which were champion one after the other."""
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    registry = Registry(Home(tmp_path / "home"))
    for number in ("1", "2", "3"):
        register_tiny(registry, tmp_path / "files", description=number)
        registry.promote("tiny", number)
    return registry


def run(*arguments: str) -> Result:
    return CliRunner().invoke(driftline, arguments)


def test_a_rollback_moves_the_alias_and_bars_the_content_in_one_change(registry: Registry) -> None:
    result = run("rollback", "tiny", "--why", "slow")
    assert "tiny champion is version 2 again (revision 8); version 3 is barred" in result.output
    assert registry.aliases("tiny") == {"champion": "2"}
    with pytest.raises(VersionRefused, match=r"version 3: its content was barred by .*: slow"):
        registry.promote("tiny", "3")
    assert [row.kind for row in registry.history("tiny")[-2:]] == ["rolled_back", "barred"]


def test_a_second_rollback_skips_barred_versions(registry: Registry) -> None:
    run("rollback", "tiny", "--why", "slow")
    assert "is version 1 again" in run("rollback", "tiny", "--why", "also slow").output
    found = run("rollback", "tiny", "--why", "all slow").exception
    assert "has no earlier version to roll back to" in str(found)
    assert isinstance(run("rollback", "tiny", "--to", "3", "--why", "x").exception, VersionRefused)


def test_provisioning_honours_a_rollback(registry: Registry) -> None:
    run("rollback", "tiny", "--why", "slow")
    assert registry.provide_alias("tiny", "champion", "3").number == "2"
    with pytest.raises(VersionRefused):
        registry.provide_alias("tiny", "challenger", "3")


def test_content_is_barred_under_every_number_until_it_is_unbarred(
    registry: Registry,
) -> None:
    run("rollback", "tiny", "--why", "slow")
    assert "no longer barred" in run("unbar", "tiny", "--version", "3", "--why", "fixed").output
    registry.promote("tiny", "3")
    found = run("unbar", "tiny", "--version", "3", "--why", "again").exception
    assert isinstance(found, UnknownVersion)


def test_a_rollback_can_omit_the_bar(registry: Registry) -> None:
    result = run("rollback", "tiny", "--to", "1", "--no-bar", "--why", "a trial")
    assert result.output.startswith("tiny champion is version 1 again (revision 7)\n")
    registry.promote("tiny", "3")


@pytest.mark.parametrize(
    ("number", "sentence"),
    [("3", "is already version 3"), ("9", "never pointed to version 9")],
)
def test_a_version_that_never_had_the_alias_is_refused(
    registry: Registry, number: str, sentence: str
) -> None:
    history = History(Home.from_environment().registry)
    with pytest.raises(VersionRefused, match=sentence):
        roll_back(history, "tiny", "champion", number, expected_revision=6, actor="", why="")
    with pytest.raises(RegistryConflict):
        roll_back(history, "tiny", "champion", "1", expected_revision=5, actor="", why="")
