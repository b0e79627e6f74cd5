"""The version of each name while the registry changes."""

from typing import Any

import pytest

from registry.errors import InvalidManifest, NoChampion, UnknownModel, UnknownVersion
from registry.manifest import Version
from registry.store import ModelState
from service.errors import NotReady
from service.models.loaded_models import LoadedModels
from service.models.routing import LoadedVersion
from service.protocol.validation import InputCheck
from tests.service.in_process import MANIFEST, FakeCatalogue


class RouteBench:
    """Models over a registry in memory; `broken` names the versions that do not load."""

    def __init__(self) -> None:
        self.catalogue = FakeCatalogue(sums=["1"])
        self.broken: set[str] = set()
        self.loads: list[str] = []
        self.models = LoadedModels(self.catalogue, self._load)

    def _load(self, version: Version) -> LoadedVersion:
        self.loads.append(version.number)
        if version.number in self.broken:
            raise NotReady("weights are missing")
        nobody: Any = None  # asks this batcher
        return LoadedVersion(version, InputCheck(MANIFEST, 1), nobody)

    async def move(self, *numbers: str, **aliases: str) -> None:
        self.catalogue.held["sums"] += numbers
        self.catalogue.named["sums"] = {**self.catalogue.named.get("sums", {}), **aliases}
        self.catalogue.moves += 1
        await self.models.refresh()

    def answers(self, asked: str = "") -> str:
        return self.models.resolve("sums", asked)[0].version.number


@pytest.fixture
async def bench() -> RouteBench:
    bench = RouteBench()
    await bench.models.refresh()
    return bench


async def test_without_a_champion_a_request_that_names_no_version_is_refused(
    bench: RouteBench,
) -> None:
    bench.catalogue.named["sums"] = {}
    await bench.move("2", shadow="1")
    with pytest.raises(
        NoChampion, match=r"run `driftline promote sums --version 2`, or name a version: 1, 2$"
    ):
        bench.answers()
    assert (bench.answers("1"), bench.answers("shadow"), bench.models.ready) == ("1", "1", True)
    await bench.move(champion="2")
    assert bench.answers() == "2"


async def test_the_champion_answers_whatever_is_newer(bench: RouteBench) -> None:
    await bench.move("2", "3", champion="2")
    assert bench.answers() == "2"
    assert bench.models.resolve("sums", "")[1] == "champion"
    assert bench.answers("3") == "3"
    await bench.move(champion="1", shadow="3")
    assert (bench.answers(), bench.answers("champion"), bench.answers("shadow")) == ("1", "1", "3")


async def test_a_version_that_does_not_load_leaves_its_alias_unchanged(
    bench: RouteBench,
) -> None:
    await bench.move(champion="1")
    bench.broken = {"2"}
    await bench.move("2", champion="2")
    assert bench.answers() == "1"
    assert bench.models.ready
    with pytest.raises(NotReady, match="version 2 is not ready: weights are missing"):
        bench.answers("2")
    bench.broken = set()
    await bench.move()
    assert bench.answers() == "2"


async def test_a_model_without_a_loadable_version_is_not_ready() -> None:
    bench = RouteBench()
    bench.broken = {"1"}
    await bench.models.refresh()
    assert not bench.models.ready
    with pytest.raises(NotReady):
        bench.answers()


async def test_a_version_is_loaded_once_and_an_unchanged_registry_is_not_read(
    bench: RouteBench,
) -> None:
    await bench.move("2")
    await bench.move(champion="1")
    bench.catalogue.held["more"] = ["1"]
    await bench.models.refresh()
    assert bench.loads == ["1", "2"]


async def test_an_unreadable_model_does_not_delay_other_models(
    bench: RouteBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = bench.catalogue.state

    def state(model: str) -> ModelState:
        if model == "sums":
            raise InvalidManifest("damaged")
        return real(model)

    monkeypatch.setattr(bench.catalogue, "state", state)
    bench.catalogue.held["more"] = ["1"]
    await bench.move()
    assert bench.models.names() == ["more", "sums"]
    assert bench.answers() == "1"


async def test_an_unknown_model_is_refused_with_the_existing_models(
    bench: RouteBench,
) -> None:
    await bench.move("2", champion="1")
    with pytest.raises(UnknownModel, match="no model 'summs'; models: sums"):
        bench.models.resolve("summs", "")
    with pytest.raises(UnknownVersion, match="'9'; it has: 1, 2, champion"):
        bench.answers("9")
