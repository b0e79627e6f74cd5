"""Machines that share a history and an artifact store: files are fetched once and verified."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from driftline.cli import driftline
from eventlog.settings import Home
from registry.artifacts import ArtifactStore
from registry.errors import ArtifactsUnavailable, ChangedFile, InvalidManifest
from registry.history.replica import HistoriesDiffer
from registry.history.rows import FIRST, HistoryRow, Registration, next_chain
from registry.store import Registry
from registry.stored_files import hash_file, require_unchanged
from registry.worker_reports import WorkerReport, WorkerReportPublisher
from tests.tiny_model import register_tiny

Machine = Callable[[str], Registry]


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the artefacts."""
    monkeypatch.setenv("DRIFTLINE_ARTIFACTS", f"file://{tmp_path}/artifacts")
    return tmp_path / "artifacts"


@pytest.fixture
def machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: Path, postgres: object
) -> Machine:
    """Open the shared registry as a machine with a home of its own."""
    monkeypatch.setenv("DRIFTLINE_REGISTRY", postgres.schema())  # type: ignore[attr-defined]

    def start(name: str) -> Registry:
        monkeypatch.setenv("BENTOML_HOME", str(tmp_path / name / "bentoml"))
        return Registry(Home(tmp_path / name))

    return start


def _stored(shared: Path, digest: str) -> Path:
    return shared / "sha256" / digest[:2] / digest


def test_another_machine_gets_the_same_version(
    machine: Machine, tmp_path: Path, shared: Path
) -> None:
    first = register_tiny(machine("one"), tmp_path / "files")
    assert all(hash_file(_stored(shared, d)) == d for d in first.files.values())
    other = machine("two")
    assert "is not yet fetched from file:" in other.damaged("tiny")["1"]
    assert other.state("tiny").remote == {"1"}
    version = other.version("tiny", "1")
    assert other.state("tiny").versions == [version]
    assert version.path != first.path
    assert (version.digest, version.created, version.files, version.manifest) == (
        (first.digest, first.created, first.files, first.manifest)
    )
    require_unchanged(version)
    assert other.promote("tiny", "1") == 2


def test_one_version_is_fetched_by_its_number(machine: Machine, tmp_path: Path) -> None:
    one = machine("one")
    register_tiny(one, tmp_path / "files")
    register_tiny(one, tmp_path / "files", description="another")
    other = machine("two")
    assert other.version("tiny", "2").number == "2"
    assert other.damaged("tiny").keys() == {"1"}


def test_versions_of_other_machines_are_listed_without_their_files(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = machine("one")
    first = register_tiny(one, tmp_path / "files")
    one.promote("tiny", "1")
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "two"))
    machine("two")
    result = CliRunner().invoke(driftline, ["models", "tiny"])
    (line,) = result.output.splitlines()[1:]
    assert line.split()[:3] == ["tiny", "1", "champion"]
    assert first.digest[:12] in line
    assert not (tmp_path / "two" / "bentoml" / "models" / "tiny").exists()


@pytest.mark.parametrize("damage", ["change", "cut", "remove"])
def test_changed_bytes_are_never_accepted(
    machine: Machine, tmp_path: Path, shared: Path, damage: str
) -> None:
    first = register_tiny(machine("one"), tmp_path / "files")
    place = _stored(shared, first.files["model.onnx"])
    content = place.read_bytes()
    if damage == "remove":
        place.unlink()
    else:
        place.chmod(0o644)
        half = content[: len(content) // 2]
        place.write_bytes(half if damage == "cut" else half + b"\xff" + content[len(half) + 1 :])
    other = machine("two")
    with pytest.raises(InvalidManifest, match=r"version 1 of tiny: model\.onnx"):
        other.version("tiny", "1")
    assert other.state("tiny").versions == []
    place.unlink(missing_ok=True)
    place.write_bytes(content)
    assert other.version("tiny", "1").digest == first.digest


def test_content_registered_on_another_machine_keeps_number_and_bytes(
    machine: Machine, tmp_path: Path
) -> None:
    first = register_tiny(machine("one"), tmp_path / "files")
    again = register_tiny(machine("two"), tmp_path / "again")
    assert (again.number, again.files) == ("1", first.files)


def test_nothing_is_registered_if_files_cannot_be_stored(
    machine: Machine, tmp_path: Path, shared: Path
) -> None:
    registry = machine("one")
    shared.write_text("no folder")
    with pytest.raises(ArtifactsUnavailable, match=r"artefacts file:.*cannot be stored"):
        register_tiny(registry, tmp_path / "files")
    assert registry.models() == []
    shared.unlink()
    assert register_tiny(registry, tmp_path / "files").number == "1"


def test_an_emptied_store_does_not_affect_machines_with_copies(
    machine: Machine, tmp_path: Path, shared: Path
) -> None:
    registry = machine("one")
    register_tiny(registry, tmp_path / "files")
    shutil.rmtree(shared)
    assert [version.number for version in registry.state("tiny").versions] == ["1"]


def test_copies_are_bounded_and_needed_copies_stay(
    machine: Machine, tmp_path: Path, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = machine("one")
    for number in range(1, 6):
        register_tiny(one, tmp_path / "files", description=f"version {number}")
    one.promote("tiny", "1")
    here = tmp_path / "two" / "bentoml" / "models" / "tiny"

    def numbers() -> set[str]:
        return {path.name.partition("-")[0] for path in here.iterdir() if path.is_dir()}

    two = machine("two")
    sizes = [
        sum(file.stat().st_size for file in Path(two.version("tiny", n).path).iterdir())
        for n in ("1", "2", "3")
    ]
    monkeypatch.setenv("DRIFTLINE_MODEL_CACHE_BYTES", str(sum(sizes)))
    two = machine("two")
    for age, path in enumerate(sorted(here.glob("?-*"))):  # version 1 was not used for longest
        os.utime(path, (1_000 + age, 1_000 + age))
    assert two.version("tiny", "2").number == "2"
    assert two.version("tiny", "4").number == "4"
    assert numbers() == {"1", "2", "4"}  # 1 is the champion, 2 was used since 3

    worker = WorkerReportPublisher(Home(tmp_path / "two").workers)
    worker.publish(WorkerReport(serving={"tiny": {"2": "2"}}, models="other-*"))
    assert two.version("tiny", "5").number == "5"
    assert numbers() == {"1", "2", "5"}
    assert one.unload("tiny", "3") > 0
    worker.publish(WorkerReport())  # it serves every model, and has not loaded them yet
    assert two.version("tiny", "3").number == "3"
    assert numbers() == {"1", "2", "3", "5"}
    worker.close()
    (row,) = [r for r in one.history("tiny") if r.kind == "registered" and r.number == "2"]
    _stored(shared, row.decode(Registration).files["manifest.json"]).unlink()
    assert two.version("tiny", "4").number == "4"
    assert numbers() == {"1", "2", "4"}, "what is not shared is not deleted"


def test_a_stored_file_is_checked_in_the_store(tmp_path: Path, shared: Path) -> None:
    store = ArtifactStore(f"file://{shared}")
    (tmp_path / "model.onnx").write_bytes(b"model")
    digest = hash_file(tmp_path / "model.onnx")
    store.put(tmp_path, {"model.onnx": digest})
    store.require("model.onnx", digest)
    _stored(shared, digest).write_bytes(b"other")
    with pytest.raises(ChangedFile):
        store.require("model.onnx", digest)


@pytest.mark.parametrize("url", ["nowhere://bucket/path", "s3://"])
def test_a_url_of_an_unknown_kind_is_named(url: str) -> None:
    with pytest.raises(ArtifactsUnavailable, match=f"artefacts {url}: cannot be opened"):
        ArtifactStore(url)


def test_a_registry_moves_to_a_shared_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: object
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "one" / "bentoml"))
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "one"))
    registry = Registry(Home(tmp_path / "one"))
    version = register_tiny(registry, tmp_path / "files")
    _forget_hashes(tmp_path / "one" / "registry.db", Path(version.path))
    registry.promote("tiny", "1", actor="ann")
    address = postgres.schema()  # type: ignore[attr-defined]
    command = ["registry", "copy", "--to", address, "--artifacts", f"file://{tmp_path}/artifacts"]
    result = CliRunner().invoke(driftline, command)
    assert "history copied and verified up to revision 3" in result.output
    assert "files of 1 versions stored and verified" in result.output

    monkeypatch.setenv("DRIFTLINE_REGISTRY", address)
    monkeypatch.setenv("DRIFTLINE_ARTIFACTS", f"file://{tmp_path}/artifacts")
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "two" / "bentoml"))
    moved = Registry(Home(tmp_path / "two"))
    moved.version("tiny", "1")
    state = moved.state("tiny")
    assert state.desired.aliases == {"champion": "1"}
    assert [(one.number, one.digest) for one in state.versions] == [("1", version.digest)]
    assert state.versions[0].created == 7  # of the row
    assert moved.history("tiny") == registry.history("tiny")
    moved.promote("tiny", "1", alias="challenger")
    monkeypatch.delenv("DRIFTLINE_REGISTRY")
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "one" / "bentoml"))
    result = CliRunner().invoke(driftline, command[:4])
    assert result.exit_code == 0  # the target went on from here: nothing is to be copied
    registry.unload("tiny", "1")
    assert isinstance(CliRunner().invoke(driftline, command[:4]).exception, HistoriesDiffer)


def _forget_hashes(history: Path, folder: Path) -> None:
    """Make a version look as an earlier release stored it."""
    info = folder / "model.yaml"
    info.chmod(0o644)
    content = yaml.safe_load(info.read_text())
    del content["metadata"]["files"]
    info.write_text(yaml.safe_dump(content))
    row = HistoryRow(1, "tiny", "registered", "1", 7, "")
    with closing(sqlite3.connect(history)) as connection, connection:
        connection.execute("DROP TRIGGER history_no_update")
        connection.execute(
            "UPDATE history SET digest = '', detail = '', actor = '', time = 7, chain = ?",
            [next_chain(FIRST, row)],
        )
