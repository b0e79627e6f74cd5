"""A registered tiny classifier and windows drawn from its reference."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from eventlog.settings import Home
from monitoring.scoring.reference import Baseline
from registry.store import Registry
from tests.tiny_model import BINARY, register_tiny


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home and a BentoML store, named by the environment while the module runs."""
    folder = tmp_path_factory.mktemp("scoring")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRIFTLINE_HOME", str(folder / "home"))
        patch.setenv("BENTOML_HOME", str(folder / "bentoml"))
        yield folder


@pytest.fixture(scope="module")
def baseline(root: Path) -> Baseline:
    """Of version 1 of `tiny`: 3,000 rows."""
    registry = Registry(Home(root / "home"))
    segments = ["colour", {"column": "price", "edges": [0.0]}]
    watched = {"alarms": {"min_score": 0.7}, "segments": segments}
    version = register_tiny(
        registry, root / "files", rows=3000, prediction=BINARY, monitoring=watched
    )
    return Baseline(version)


@pytest.fixture
def window(baseline: Baseline) -> Callable[..., pd.DataFrame]:
    """Rows of the reference as a window, some columns replaced."""

    def draw(rows: int = 1000, **columns: Any) -> pd.DataFrame:
        frame = baseline.frame.sample(rows, random_state=5).reset_index(drop=True)
        frame = frame.rename(columns={"bought": "label"}).astype(object)
        return frame.where(frame.notna(), None).assign(**columns)

    return draw
