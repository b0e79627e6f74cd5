"""A home with the tiny classifier, and rows to predict."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from eventlog.settings import Home
from registry.store import Registry
from tests.tiny_model import BINARY, register_tiny


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home whose champion is the tiny classifier."""
    root = tmp_path_factory.mktemp("batch")
    home = Home(root / "home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRIFTLINE_HOME", str(home.root))
        patch.setenv("BENTOML_HOME", str(root / "bentoml"))
        registry = Registry(home)
        version = register_tiny(registry, root / "files", rows=400, prediction=BINARY)
        registry.promote("tiny", version.number)
        yield home


def rows_of(count: int, seed: int = 5) -> pd.DataFrame:
    """Rows whose prediction follows from their price alone, each with a number of its own."""
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "id": np.arange(count),
            "price": random.normal(size=count),
            "colour": np.array(["blue", None, "red"], dtype=object)[random.integers(3, size=count)],
        }
    )


def expected(frame: pd.DataFrame) -> pd.Series:
    """The probability of class 1 of each row, computed without the model."""
    margin = frame["price"].fillna(0) + (frame["colour"] == "red")
    return 1 / (1 + np.exp(-margin))


def write(frame: pd.DataFrame, path: Path, group: int = 1_000) -> Path:
    """Write rows as Parquet or CSV."""
    if path.suffix == ".parquet":
        frame.to_parquet(path, index=False, row_group_size=group)
    else:
        frame.to_csv(path, index=False)
    return path


def read(path: Path) -> pd.DataFrame:
    """Read an output."""
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
