"""A version served separately: it loads, predicts, and is load-tested against the champion."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from driftline.gates.context import GateContext, GateFailed
from driftline.gates.service_load import check_load, check_speed
from eventlog.settings import Home
from registry.errors import ChangedFile
from registry.gates.specification import LoadGate, SpeedGate
from registry.lone_version import make_lone_home
from registry.manifest import Version
from registry.store import Registry
from tests.e2e.planted_models import slow
from tests.tiny_model import register_tiny


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Version]]:
    root = tmp_path_factory.mktemp("serving")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(root / "bentoml"))
        registry = Registry(Home(root / "home"))
        champion = register_tiny(registry, root / "files")
        candidate = register_tiny(registry, root / "files", description="second")
        (root / "files" / "model.onnx").write_bytes(slow().SerializeToString())
        files = {"manifest": "manifest.yaml", "reference": "reference.parquet"}
        late = registry.register(
            root / "files" / "model.onnx", model="tiny",
            **{name: root / "files" / file for name, file in files.items()},
        )  # fmt: skip
        foreign = register_tiny(registry, root / "files", session={"providers": ["CoreML"]})
        yield [champion, candidate, foreign, late]


def _context(candidate: Version, champion: Version | None, folder: Path) -> GateContext:
    return GateContext(candidate, champion, folder, lambda _: None)


def test_a_slower_version_fails_the_load_test_against_the_champion(
    versions: list[Version], tmp_path: Path
) -> None:
    gate = SpeedGate(load_seconds=2, rounds=1, mean_ratio=3, memory_ratio=1_000, p99_ms=60_000)
    outcome = check_speed(gate, _context(versions[3], versions[0], tmp_path))
    by_name = {figure.name: figure for figure in outcome.figures}
    assert by_name["mean in ms, ratio"].outcome == "failed"
    assert by_name["memory in MB, ratio"].outcome == "passed"
    assert by_name["p99 in ms"].outcome == "passed"
    assert by_name["requests/s"].value > 0  # type: ignore[operator]
    assert by_name["requests/s"].champion > 0  # type: ignore[operator]
    assert (outcome.outcome, outcome.against_champion) == ("failed", True)


def test_a_version_is_loaded_in_a_separate_process(versions: list[Version], tmp_path: Path) -> None:
    outcome = check_load(LoadGate(at_most_seconds=600), _context(versions[0], None, tmp_path))
    assert outcome.outcome == "passed"
    assert outcome.figures[0].name == "seconds to ready"


def test_a_version_that_the_service_cannot_load_fails_at_once(
    versions: list[Version], tmp_path: Path
) -> None:
    with pytest.raises(GateFailed, match=r"the service cannot load the version: .*CoreML"):
        check_load(LoadGate(), _context(versions[2], None, tmp_path))


def test_a_changed_file_is_not_served(versions: list[Version], tmp_path: Path) -> None:
    version = replace(versions[0], files=versions[0].files | {"model.onnx": "0" * 64})
    with pytest.raises(ChangedFile, match=r"model\.onnx was changed"):
        make_lone_home(version, Home(tmp_path / "home"), tmp_path / "bentoml")


def test_a_temporary_home_has_one_version_under_its_number(
    versions: list[Version], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home")
    home.root.mkdir()
    make_lone_home(versions[1], home, tmp_path / "bentoml")
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    registry = Registry(home)
    (found,) = registry.versions("tiny")
    assert (found.number, found.digest) == ("2", versions[1].digest)
    assert registry.aliases("tiny") == {"champion": "2"}
