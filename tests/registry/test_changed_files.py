"""Stored files by their hashes: recorded, checked at load, restored by a re-registration."""

import shutil
from pathlib import Path

import pytest

from eventlog.settings import Home
from registry.approvals import Approvals
from registry.errors import (
    ChangedFile,
    InvalidManifest,
    RegistryConflict,
    UnknownVersion,
    VersionRefused,
)
from registry.history.rows import ApprovalRule, Registration, ReleasePolicy
from registry.history.store import History
from registry.manifest import Version
from registry.reference import load_reference
from registry.store import Registry
from registry.stored_files import hash_file, require_unchanged
from tests.tiny_model import register_tiny


@pytest.fixture
def version(registry: Registry, tmp_path: Path) -> Version:
    return register_tiny(registry, tmp_path / "files")


def _change(path: Path) -> None:
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_registration_records_the_hash_of_every_file(
    registry: Registry, version: Version
) -> None:
    (row,) = registry.history("tiny")
    assert row.digest == version.digest
    files = row.decode(Registration).files
    assert files == version.files == {name: hash_file(Path(version.path) / name) for name in files}
    assert {"model.onnx", "manifest.json", "reference.parquet"} <= files.keys()
    require_unchanged(version)


@pytest.mark.parametrize("name", ["model.onnx", "reference.parquet", "batching.json"])
def test_a_changed_byte_is_named(version: Version, name: str) -> None:
    _change(Path(version.path) / name)
    with pytest.raises(ChangedFile, match=rf"version 1 of tiny: {name} was changed: SHA-256"):
        require_unchanged(version)


def test_a_missing_file_is_named(version: Version) -> None:
    (Path(version.path) / "reference.parquet").unlink()
    with pytest.raises(ChangedFile, match=r"reference.parquet cannot be read: No such file"):
        require_unchanged(version)


def test_content_that_the_history_does_not_name_is_damaged(
    registry: Registry, version: Version, home: Home
) -> None:
    path = Path(version.path) / "model.yaml"
    path.chmod(0o644)
    path.write_text(path.read_text().replace(version.digest, "0" * 64))
    state = registry.state("tiny")
    assert state.versions == []
    assert "differs from the content registered under this number" in state.damaged["1"]


def test_changed_bytes_invalidate_an_approval(
    registry: Registry, version: Version, home: Home, tmp_path: Path
) -> None:
    approvals = Approvals(History(home.registry))
    policy = ReleasePolicy(approvals={"champion": ApprovalRule()})
    approvals.set_policy("tiny", policy, actor="rik", why="agreed")
    approvals.request("tiny", "1", "champion", actor="cyd", why="better")
    approvals.approve("tiny", "1", "champion", actor="bob", why="checked")
    _change(Path(version.path) / "model.onnx")
    with pytest.raises(ChangedFile):  # as at every load, so the changed bytes answer nothing
        require_unchanged(version)
    changed = register_tiny(registry, tmp_path / "files", description="changed")
    assert changed.number == "2"
    with pytest.raises(VersionRefused, match="0 of 1 approvals"):
        registry.promote("tiny", "2")
    with pytest.raises(RegistryConflict, match="version 1 first"):
        History(home.registry).register("tiny", "1", time=0, actor="eve", digest=changed.digest)


def test_re_registration_restores_lost_files(
    registry: Registry, version: Version, tmp_path: Path
) -> None:
    shutil.rmtree(version.path)
    with pytest.raises(InvalidManifest, match="folder is missing"):
        registry.version("tiny", "1")
    again = register_tiny(registry, tmp_path / "again")
    assert (again.number, again.created) == ("1", version.created)
    assert registry.state("tiny").versions == [again]
    assert len(registry.history("tiny")) == 1


def test_machines_that_share_a_history_number_versions_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: object
) -> None:
    monkeypatch.setenv("DRIFTLINE_REGISTRY", postgres.schema())  # type: ignore[attr-defined]
    machines = []
    for name in ("one", "two"):
        monkeypatch.setenv("BENTOML_HOME", str(tmp_path / name / "bentoml"))
        machines.append(Registry(Home(tmp_path / name)))
    first = register_tiny(machines[0], tmp_path / "files")
    second = register_tiny(machines[1], tmp_path / "files2", queue={"max_requests": 9})
    same = register_tiny(machines[1], tmp_path / "files")
    assert [first.number, second.number, same.number] == ["1", "2", "1"]
    assert [v.number for v in machines[1].versions("tiny")] == ["1", "2"]
    assert machines[0].damaged("tiny").keys() == {"2"}
    machines[1].promote("tiny", "1")
    assert machines[0].aliases("tiny") == {"champion": "1"}


def test_a_number_cannot_name_two_contents(home: Home) -> None:
    history = History(home.registry)
    history.register("tiny", "1", time=0, actor="ann", digest="a")
    history.register("tiny", "1", time=0, actor="bob", digest="a")
    with pytest.raises(RegistryConflict, match="ann registered version 1 first, in revision 1"):
        history.register("tiny", "1", time=0, actor="bob", digest="b")


def test_provisioning_moves_only_aliases_that_it_set(registry: Registry, version: Version) -> None:
    register_tiny(registry, Path(version.path).parents[2] / "files2", queue={"max_requests": 9})
    assert registry.provide_alias("tiny", "champion", "1").number == "1"
    assert registry.provide_alias("tiny", "champion", "2").number == "2"
    registry.promote("tiny", "1", actor="ann", why="version 2 is slow")
    row = registry.provide_alias("tiny", "champion", "2")
    assert (row.number, row.actor) == ("1", "ann")
    assert registry.aliases("tiny") == {"champion": "1"}
    with pytest.raises(UnknownVersion):
        registry.provide_alias("tiny", "champion", "3")


def test_a_changed_reference_is_not_scored_against(version: Version) -> None:
    _change(Path(version.path) / "reference.parquet")
    with pytest.raises(ChangedFile, match=r"reference\.parquet was changed"):
        load_reference(version)
