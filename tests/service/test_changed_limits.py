"""Limits change while a version serves: no reload, and queued requests stay queued."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from eventlog.settings import Home
from registry.limits import UNCHANGED, LimitChange
from registry.store import Registry
from service.batching.admission import Admission
from service.batching.policy import BatchPolicy
from service.errors import Overloaded
from service.models.loaded_models import LoadedModels
from service.models.loader import VersionLoader
from service.models.routing import LoadedVersion
from service.pipeline import Pipeline
from service.prediction_log import IdGenerator, PredictionLog
from service.protocol import json
from service.settings import Settings
from service.telemetry.statistics import Statistics
from tests.service.in_process import Gate, InProcessWorker, MemoryLog
from tests.service.test_batching import BatchBench
from tests.tiny_model import register_tiny

BODY = (
    b'{"inputs": [{"name": "price", "datatype": "FP32", "shape": [1, 1], "data": [1]},'
    b'{"name": "colour", "datatype": "BYTES", "shape": [1, 1], "data": ["red"]}]}'
)


class _Worker:
    """Models as a worker loads them, from a real registry."""

    def __init__(self, registry: Registry) -> None:
        ids = IdGenerator("p")
        log = PredictionLog(MemoryLog(), ids)
        self.registry = registry
        self.loads = 0
        self._load = VersionLoader(Settings(), log, ids, Statistics())
        self.models = LoadedModels(registry, self._loaded)
        self.pipeline = Pipeline(self.models, log)

    def _loaded(self, version: Any) -> LoadedVersion:
        self.loads += 1
        return self._load(version)

    async def limit(self, number: str = "1", **stated: int) -> None:
        self.registry.limit("tiny", number, LimitChange(**stated))
        await self.models.refresh()

    async def ask(self) -> Any:
        call = InProcessWorker().call("rest", "tiny", "")
        return await self.pipeline.infer(call, lambda _: json.decode_request(BODY))

    @property
    def served(self) -> LoadedVersion:
        return self.models.resolve("tiny", "")[0]


@pytest.fixture
async def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _Worker:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    registry = Registry(Home(tmp_path / "home"))
    register_tiny(registry, tmp_path / "files")
    registry.promote("tiny", "1")
    worker = _Worker(registry)
    await worker.models.refresh()
    return worker


async def test_a_cache_is_created_resized_and_removed_without_reloading(worker: _Worker) -> None:
    cached = []
    for stated in ({}, {"cache_max_bytes": 100_000}, {"cache_max_bytes": 50_000}):
        await worker.limit(**stated)
        cached += [(await worker.ask()).run.cached for _ in range(2)]
    assert cached == [False, False, False, True, True, True]
    await worker.limit(cache_max_bytes=0)
    assert not (await worker.ask()).run.cached
    assert worker.loads == 1


async def test_every_alias_of_a_version_has_its_new_limits(worker: _Worker) -> None:
    await worker.limit(max_requests=3)
    for asked in ("", "1", "champion"):
        assert worker.models.resolve("tiny", asked)[0].limits == LimitChange(max_requests=3)
    await worker.limit()
    assert worker.served.limits == UNCHANGED


async def test_a_later_loaded_version_has_the_models_limits(
    worker: _Worker, tmp_path: Path
) -> None:
    await worker.limit(number="", max_requests=2)
    register_tiny(worker.registry, tmp_path / "files", description="later")
    worker.registry.promote("tiny", "2")
    await worker.models.refresh()
    assert worker.served.version.number == "2"
    assert worker.served.limits == LimitChange(max_requests=2)


async def test_a_later_version_that_the_limits_do_not_fit_keeps_its_own(
    worker: _Worker, tmp_path: Path
) -> None:
    await worker.limit(number="", priority_levels=2)
    queue = {"priority_levels": 4, "default_priority": 4}
    register_tiny(worker.registry, tmp_path / "files", queue=queue)
    worker.registry.promote("tiny", "2")
    await worker.models.refresh()
    assert (worker.served.version.number, worker.served.limits) == ("2", UNCHANGED)
    await worker.ask()


def _admissions(levels: int, most: int = 100) -> list[Admission]:
    return [Admission("tiny", most, 10_000) for _ in range(levels)]


async def test_queued_requests_keep_their_order_when_limits_change() -> None:
    bench = BatchBench(limits=BatchPolicy(1))
    running = bench.ask(0)
    await asyncio.sleep(0)
    waiting = [bench.ask(n, priority=p) for n, p in ((1, 2), (2, 1), (3, 0))]
    admissions = _admissions(2, most=1)
    bench.batcher.tune(BatchPolicy(1, levels=2, default_level=2, step=10.0), admissions)
    with pytest.raises(Overloaded):
        bench.ask(4, priority=2)
    for expected in (running, waiting[1], waiting[0], waiting[2]):
        bench.executor.release()
        await expected
        await asyncio.sleep(0)
    assert {(d.requests, d.rows, d.size) for d in admissions} == {(0, 0, 0)}


async def test_a_shorter_delay_starts_the_waiting_batch_at_once() -> None:
    bench = BatchBench(quick=True)
    bench.batcher.tune(BatchPolicy(8, max_delay=3_600.0), _admissions(1))
    answer = bench.ask(1, deadline=1e9)
    await asyncio.sleep(0)
    assert not answer.done()
    bench.batcher.tune(BatchPolicy(8), _admissions(1))
    assert (await answer)[:2] == ("1", [2])


async def test_changed_limits_keep_the_measured_cost_per_row() -> None:
    bench = BatchBench()
    bench.admissions[0].record_batch(1, 5.0)
    admissions = _admissions(2)
    bench.batcher.tune(BatchPolicy(8, levels=2, default_level=1), admissions)
    admissions[0].enter(8, 3)
    assert admissions[0].wait == 3.0


async def test_limits_change_while_a_version_is_busy() -> None:
    gate = Gate()
    worker = InProcessWorker(gate=gate)
    await worker.models.refresh()
    (batcher,) = worker.batchers
    calls = [worker.call("rest", "sums", "") for _ in range(2)]
    body = (
        b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]},'
        b'{"name": "word", "datatype": "BYTES", "shape": [1], "data": ["a"]}]}'
    )
    asked = [
        asyncio.create_task(worker.pipeline.infer(call, lambda _: json.decode_request(body)))
        for call in calls
    ]
    while not gate.runs:
        await asyncio.sleep(0)
    batcher.tune(BatchPolicy(1), _admissions(1))
    gate.open()
    assert [a.outputs["y"].data for a in await asyncio.gather(*asked)] == [[3.0], [3.0]]
