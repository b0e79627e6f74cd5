"""Workers during an outage of the shared registry: they serve, and new workers start."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventlog.settings import Home
from registry.errors import RegistryUnavailable
from registry.history import replica
from registry.store import Registry
from service.models.loaded_models import LoadedModels
from tests.postgres_server import PostgresServer, running
from tests.service.test_loading_options import loader
from tests.tiny_model import register_tiny


@pytest.fixture
def server(free_port: Callable[[], int]) -> Iterator[PostgresServer]:
    with running(free_port()) as server:
        yield server


def test_workers_serve_through_an_outage_and_apply_later_changes(
    server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    monkeypatch.setenv("DRIFTLINE_REGISTRY", server.schema())
    monkeypatch.setattr(replica, "PAUSE_S", 0.0)
    registry = Registry(Home(tmp_path))
    register_tiny(registry, tmp_path / "files")
    register_tiny(registry, tmp_path / "files", description="another")
    registry.promote("tiny", "1")

    async def serve() -> list[str]:
        early = LoadedModels(Registry(Home(tmp_path)), loader())
        await early.start()
        served = [early.resolve("tiny", "")[0].version.number]
        server.stop()
        await early.poll()
        late = LoadedModels(Registry(Home(tmp_path)), loader())
        await late.start()
        assert early.ready
        assert late.ready
        served += [one.resolve("tiny", "champion")[0].version.number for one in (early, late)]
        with pytest.raises(RegistryUnavailable):
            registry.promote("tiny", "2")
        server.start()
        registry.promote("tiny", "2")
        for one in (early, late):
            await one.refresh()
            served.append(one.resolve("tiny", "")[0].version.number)
            one.close()
        return served

    assert asyncio.run(serve()) == ["1", "1", "1", "2", "2"]
