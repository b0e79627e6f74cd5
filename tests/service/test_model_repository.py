"""Loading and unloading: effects on names, the index, and invalid requests."""

from pathlib import Path
from typing import Any

import pytest

from eventlog.settings import Home
from registry.errors import UnknownModel, UnknownVersion
from registry.manifest import Version
from registry.store import Registry
from service.errors import InvalidRequest, NotReady
from service.models.loaded_models import LoadedModels
from service.models.repository import IndexEntry, ModelRepository
from service.models.routing import LoadedVersion
from service.protocol.validation import InputCheck
from tests.service.in_process import MANIFEST
from tests.tiny_model import register_tiny


class RepositoryWorker:
    """One worker on a real registry; `broken` names the versions that do not load."""

    def __init__(self, registry: Registry) -> None:
        self.broken: set[str] = set()
        self.models = LoadedModels(registry, self._load)
        self.repository = ModelRepository(registry, self.models)

    def _load(self, version: Version) -> LoadedVersion:
        if version.number in self.broken:
            raise NotReady("weights are missing")
        nobody: Any = None  # asks this batcher
        return LoadedVersion(version, InputCheck(MANIFEST, 1), nobody)

    def answers(self, asked: str = "") -> str:
        return self.models.resolve("tiny", asked)[0].version.number

    def states(self) -> dict[str, str]:
        return {entry.version: entry.state for entry in self.repository.index()}


@pytest.fixture(scope="module")
def stocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with versions 1 and 2 of `tiny`, of which 1 is the champion."""
    root = tmp_path_factory.mktemp("stocked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(root / "bentoml"))
        registry = Registry(Home(root))
        register_tiny(registry, root / "files")
        register_tiny(registry, root / "files", description="another")
    return root


@pytest.fixture
def registry(stocked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry:
    monkeypatch.setenv("BENTOML_HOME", str(stocked / "bentoml"))
    registry = Registry(Home(tmp_path))
    registry.promote("tiny", "1")
    return registry


@pytest.fixture
async def worker(registry: Registry) -> RepositoryWorker:
    worker = RepositoryWorker(registry)
    await worker.models.refresh()
    return worker


async def test_an_unloaded_version_gets_no_request_until_it_is_loaded(
    worker: RepositoryWorker,
) -> None:
    await worker.repository.unload("tiny", {"version": "1"}, actor="me")
    for asked in ("", "1", "champion"):
        with pytest.raises(NotReady, match="version 1 was unloaded"):
            worker.answers(asked)
    assert worker.answers("2") == "2"
    await worker.repository.load("tiny", {"version": "1"}, actor="me")
    assert worker.answers() == "1"


async def test_unloading_a_model_without_a_version_unloads_all_its_versions(
    worker: RepositoryWorker,
) -> None:
    await worker.repository.unload("tiny", {"unload_dependents": False}, actor="me")
    assert worker.states() == {"1": "UNAVAILABLE", "2": "UNAVAILABLE"}
    await worker.repository.load("tiny", {"version": "champion"}, actor="me")
    assert worker.states() == {"1": "READY", "2": "UNAVAILABLE"}
    await worker.repository.load("tiny", {}, actor="me")
    assert worker.states() == {"1": "READY", "2": "READY"}


async def test_a_deliberately_unloaded_version_does_not_make_the_service_unready(
    worker: RepositoryWorker,
) -> None:
    await worker.repository.unload("tiny", {}, actor="me")
    assert worker.models.ready


async def test_every_worker_applies_the_change_also_if_it_starts_later(
    worker: RepositoryWorker, registry: Registry
) -> None:
    other = RepositoryWorker(registry)
    await other.models.refresh()
    await worker.repository.unload("tiny", {"version": "2"}, actor="me")
    await other.models.refresh()
    late = RepositoryWorker(registry)
    await late.models.refresh()
    assert worker.states() == other.states() == late.states() == {"1": "READY", "2": "UNAVAILABLE"}


async def test_a_version_that_does_not_load_states_why_and_is_retried(
    worker: RepositoryWorker,
) -> None:
    await worker.repository.unload("tiny", {"version": "2"}, actor="me")
    worker.broken = {"2"}
    with pytest.raises(NotReady, match="version 2 is not ready: weights are missing"):
        await worker.repository.load("tiny", {"version": "2"}, actor="me")
    assert worker.repository.index()[1] == IndexEntry(
        "tiny", "2", "UNAVAILABLE", "version 2 is not ready: weights are missing"
    )
    assert worker.repository.index(ready=True) == [IndexEntry("tiny", "1", "READY")]
    worker.broken = set()
    await worker.repository.load("tiny", {"version": "2"}, actor="me")
    assert worker.states() == {"1": "READY", "2": "READY"}


async def test_an_invalid_repository_request_is_refused_and_changes_nothing(
    worker: RepositoryWorker, registry: Registry
) -> None:
    before = registry.revision()
    repository = worker.repository
    with pytest.raises(UnknownModel, match="models: tiny"):
        await repository.load("none", {}, actor="me")
    with pytest.raises(UnknownVersion, match="versions: 1, 2"):
        await repository.unload("tiny", {"version": "9"}, actor="me")
    with pytest.raises(InvalidRequest, match="'config'"):
        await repository.load("tiny", {"config": "{}"}, actor="me")
    with pytest.raises(InvalidRequest, match="parameter version"):
        await repository.load("tiny", {"version": 1}, actor="me")
    assert registry.revision() == before


async def test_the_history_names_who_unloaded_a_version_and_aliases_stay_unchanged(
    worker: RepositoryWorker, registry: Registry
) -> None:
    await worker.repository.unload("tiny", {"version": "1"}, actor="ada")
    await worker.repository.load("tiny", {}, actor="bob")
    recorded = [(row.kind, row.number, row.actor) for row in registry.history("tiny")[-2:]]
    assert recorded == [("unloaded", "1", "ada"), ("loaded", "", "bob")]
    assert registry.aliases("tiny") == {"champion": "1"}


async def test_a_failing_champion_never_falls_back_to_a_version_that_was_unloaded(
    worker: RepositoryWorker, registry: Registry
) -> None:
    await worker.repository.unload("tiny", {"version": "2"}, actor="me")
    worker.broken = {"2"}
    registry.promote("tiny", "2")
    registry.unload("tiny", "1")
    registry.load("tiny", "2")
    await worker.models.refresh()
    with pytest.raises(NotReady):
        worker.answers()
