"""Fixtures of the examples' tests."""

import shutil
from pathlib import Path

import data
import pandas as pd
import pytest

from eventlog.settings import Home
from registry.manifest import Version
from registry.store import Registry

FLIGHTS = Path(__file__).parents[2] / "examples" / "flights"


@pytest.fixture(scope="session")
def folder() -> Path:
    """The folder of the flights example."""
    return FLIGHTS


@pytest.fixture(scope="session")
def flights() -> pd.DataFrame:
    """Every departure."""
    return data.load()


@pytest.fixture(scope="session")
def build(trained_flights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what training writes."""
    folder = tmp_path_factory.mktemp("flights")
    return shutil.copytree(trained_flights, folder, dirs_exist_ok=True)


@pytest.fixture(scope="session")
def version(build: Path, folder: Path) -> Version:
    """The trained model, registered with the example's own manifest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(build / "bentoml"))
        return Registry(Home(build / "home")).register(
            build / "model.onnx",
            model="flights",
            manifest=folder / "manifest.yaml",
            reference=build / "reference.parquet",
        )
