"""`bentoml build` builds a bento that serves registered models."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.service.conftest import Service

ROOT = Path(__file__).parents[2]
BENTOML = Path(sys.executable).with_name("bentoml")


def test_a_bento_is_built_and_serves(
    tmp_path: Path, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(tmp_path, free_port)
    monkeypatch.setenv("BENTOML_HOME", service.environment["BENTOML_HOME"])
    service.register()
    service.registry.promote("tiny", "1")
    built = subprocess.run(
        [BENTOML, "build", "--output", "tag"],
        cwd=ROOT, env=service.environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    tag = built.stdout.split("__tag__:")[1].split()[0]
    name, version = tag.split(":")
    bento = tmp_path / "bentoml" / "bentos" / name / version
    assert (bento / "src" / "service" / "app.py").exists()
    assert not (bento / "src" / "tests").exists()
    ports = {"DRIFTLINE_SERVICE_GRPC_PORT": str(service.grpc_port)}
    with (tmp_path / "serve.log").open("wb") as log:
        service.process = subprocess.Popen(
            [BENTOML, "serve", bento, "--port", str(service.port)],
            cwd=tmp_path, env=service.environment | ports, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        service.until(service.is_ready)
        assert service.http.get("/v2/models/tiny/ready").is_success
        assert "uvicorn.access" not in service.said()
    finally:
        service.stop()
