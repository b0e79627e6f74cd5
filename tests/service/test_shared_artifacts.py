"""A worker on another machine fetches missing versions while it serves."""

import asyncio
import shutil
from pathlib import Path

import pytest

from eventlog.settings import Home
from registry.history.rows import Registration
from registry.store import Registry
from service.errors import NotReady
from service.models.loaded_models import LoadedModels
from tests.service.test_loading_options import loader
from tests.tiny_model import register_tiny


def test_a_worker_fetches_and_serves_what_another_machine_registered(
    postgres: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTLINE_REGISTRY", postgres.schema())  # type: ignore[attr-defined]
    monkeypatch.setenv("DRIFTLINE_ARTIFACTS", f"file://{tmp_path}/artifacts")
    registries = []
    for name in ("one", "two"):
        monkeypatch.setenv("BENTOML_HOME", str(tmp_path / name / "bentoml"))
        registries.append(Registry(Home(tmp_path / name)))
    here, there = registries
    register_tiny(here, tmp_path / "files")
    here.promote("tiny", "1")
    now = [100.0]

    async def serve() -> None:
        worker = LoadedModels(there, loader(), clock=lambda: now[0])
        await worker.start()
        assert worker.resolve("tiny", "")[0].version.number == "1"

        register_tiny(here, tmp_path / "files", description="another")
        stored = _cut_model(tmp_path / "artifacts", here)
        here.promote("tiny", "2")
        await worker.refresh()
        assert worker.resolve("tiny", "")[0].version.number == "1"
        with pytest.raises(NotReady, match=r"model\.onnx in file:.*was changed"):
            worker.resolve("tiny", "2")

        stored.rename(stored.with_suffix(""))
        now[0] += 11
        await worker.refresh()
        assert worker.resolve("tiny", "")[0].version.number == "2"

        shutil.rmtree(tmp_path / "artifacts")
        here.load("tiny")
        await worker.refresh()
        assert worker.resolve("tiny", "")[0].version.number == "2"
        worker.close()

    asyncio.run(serve())


def _cut_model(artifacts: Path, registry: Registry) -> Path:
    """Make the model of version 2 half of what it was; return a whole copy beside it."""
    (row,) = [r for r in registry.history("tiny") if r.kind == "registered" and r.number == "2"]
    model = row.decode(Registration).files["model.onnx"]
    place = artifacts / "sha256" / model[:2] / model
    whole = place.with_suffix(".whole")
    whole.write_bytes(place.read_bytes())
    place.chmod(0o644)
    place.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    return whole
