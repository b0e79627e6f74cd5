"""A tiny real classifier, its manifest and its reference, for all registry tests."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pandas as pd
import pytest
import yaml

from eventlog.settings import Home
from registry.store import Registry
from tests.tiny_model import MANIFEST, reference, tiny_classifier

Files = dict[str, Path]


@pytest.fixture
def where(each_database: Path | str) -> Path | str:
    """Where the registry's database is: each kind in turn."""
    return each_database


@pytest.fixture
def classifier() -> onnx.ModelProto:
    """The tiny classifier, free to be spoilt."""
    return tiny_classifier()


@pytest.fixture
def manifest() -> dict[str, Any]:
    """The tiny classifier's manifest, free to be spoilt."""
    return copy.deepcopy(MANIFEST)


@pytest.fixture
def rows() -> pd.DataFrame:
    """The tiny classifier's reference, free to be spoilt."""
    return reference()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty home, with an empty BentoML store beside it."""
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home")


@pytest.fixture
def registry(home: Home) -> Registry:
    """An empty registry."""
    return Registry(home)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Files]:
    """Write the three files to register; each can be replaced by another content."""

    def files(
        onnx_bytes: bytes | None = None,
        manifest: dict[str, Any] | str | None = None,
        frame: pd.DataFrame | None = None,
    ) -> Files:
        paths = {
            "onnx": tmp_path / "model.onnx",
            "manifest": tmp_path / "manifest.yaml",
            "reference": tmp_path / "reference.parquet",
        }
        paths["onnx"].write_bytes(
            tiny_classifier().SerializeToString() if onnx_bytes is None else onnx_bytes
        )
        content = MANIFEST if manifest is None else manifest
        paths["manifest"].write_text(
            content if isinstance(content, str) else yaml.safe_dump(content)
        )
        (reference() if frame is None else frame).to_parquet(paths["reference"], index=False)
        return paths

    return files
