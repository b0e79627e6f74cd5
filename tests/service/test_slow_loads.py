"""A slow load delays no other model."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest

from registry.errors import UnknownModel
from registry.manifest import Version
from registry.worker_reports import WorkerReport
from service.errors import NotReady
from service.models.loaded_models import LoadedModels
from service.models.repository import ModelRepository
from service.models.routing import LoadedVersion, UnavailableVersion
from service.protocol.validation import InputCheck
from tests.service.in_process import MANIFEST, FakeCatalogue


class LoadBench:
    """Two models, of which `slow` has a version 2 that loads when its gate is opened."""

    def __init__(self) -> None:
        self.catalogue = FakeCatalogue(quick=["1", "2"], slow=["1"])
        self.catalogue.named = {"quick": {"champion": "1"}, "slow": {"champion": "1"}}
        self.gate = threading.Event()
        self.loads: list[tuple[str, str]] = []
        self.reports: list[WorkerReport] = []
        self.models = LoadedModels(self.catalogue, self._load, report=self.reports.append)
        self.broken = False

    def _load(self, version: Version) -> LoadedVersion:
        self.loads.append((version.model, version.number))
        if (version.model, version.number) == ("slow", "2"):
            assert self.gate.wait(30)
            if self.broken:
                raise NotReady("weights are missing")
        nobody: Any = None  # asks this batcher
        return LoadedVersion(version, InputCheck(MANIFEST, 1), nobody)

    async def move(self, model: str, *numbers: str, champion: str) -> None:
        self.catalogue.held[model] += numbers
        self.catalogue.named[model] = {"champion": champion}
        self.catalogue.moves += 1
        await self.models.poll()

    async def finish(self) -> None:
        self.gate.set()
        await self.models.refresh()

    def answers(self, model: str) -> str:
        return self.models.resolve(model, "")[0].version.number


@pytest.fixture
async def bench() -> AsyncIterator[LoadBench]:
    bench = LoadBench()
    await bench.models.refresh()
    await bench.move("slow", "2", champion="2")
    yield bench
    bench.gate.set()
    bench.models.close()


async def test_the_previous_version_answers_until_the_new_version_is_loaded(
    bench: LoadBench,
) -> None:
    assert bench.answers("slow") == "1"
    with pytest.raises(NotReady, match="version 2 is being loaded"):
        bench.models.resolve("slow", "2")
    entries = ModelRepository(Any, bench.models).index()  # type: ignore[arg-type]
    assert [e.state for e in entries if e.name == "slow"] == ["READY", "LOADING"]
    assert bench.models.ready
    await bench.finish()
    assert bench.answers("slow") == "2"


async def test_other_aliases_move_during_a_slow_load(bench: LoadBench) -> None:
    await bench.move("quick", champion="2")
    assert bench.answers("quick") == "2"
    await bench.move("slow", champion="1")  # rolled back before it was ever there
    await bench.finish()
    assert bench.answers("slow") == "1"
    assert bench.models.numbers("slow") == ["1", "2"]


async def test_a_slow_load_of_one_model_does_not_delay_another(bench: LoadBench) -> None:
    await asyncio.wait_for(bench.models.refresh("quick"), 60)
    assert not bench.gate.is_set()


async def test_a_workers_report_omits_versions_that_are_still_loading(bench: LoadBench) -> None:
    asked_at = bench.catalogue.moves
    await bench.move("quick", champion="2")
    report = bench.reports[-1]
    assert report.revision == asked_at - 1
    assert report.serving["quick"]["champion"] == "2"
    assert report.unready == {}
    await bench.finish()
    assert bench.reports[-1].revision == bench.catalogue.moves
    assert bench.reports[-1].serving["slow"]["champion"] == "2"


async def test_a_version_unloaded_during_its_load_never_answers(bench: LoadBench) -> None:
    bench.catalogue.put_away = {"slow": {"2"}}
    await bench.move("slow", champion="1")
    await bench.finish()
    two = bench.models.versions("slow")["2"]
    assert isinstance(two, UnavailableVersion)
    assert two.state == "unloaded"
    bench.catalogue.put_away = {}
    await bench.move("slow", champion="2")
    await bench.models.refresh()
    assert bench.answers("slow") == "2"
    assert bench.loads.count(("slow", "2")) == 2


async def test_a_version_is_loaded_once_however_often_the_registry_changes(
    bench: LoadBench,
) -> None:
    for number in ("2", "1", "2"):
        await bench.move("quick", champion=number)
    await bench.finish()
    assert bench.loads.count(("slow", "2")) == 1


async def test_a_failed_load_is_reported_and_retried_at_the_next_change(
    bench: LoadBench,
) -> None:
    bench.broken = True
    await bench.finish()
    assert bench.answers("slow") == "1"
    assert "weights are missing" in bench.reports[-1].unready["slow"]["2"]
    bench.broken = False
    await bench.move("quick", champion="2")
    await bench.models.refresh()
    assert bench.answers("slow") == "2"


async def test_a_new_model_is_reported_as_loading_and_the_worker_stays_ready(
    bench: LoadBench,
) -> None:
    with pytest.raises(UnknownModel):
        bench.answers("new")
    bench.catalogue.held["new"] = []
    await bench.move("new", "1", champion="1")
    with pytest.raises(NotReady, match="being loaded"):
        bench.answers("new")
    assert bench.models.ready
    await bench.finish()
    assert bench.answers("new") == "1"
