"""Columns that a payload policy hides are reported as not scored, and others are scored."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from eventlog.events import PredictionEvent, Tensor
from eventlog.settings import Home
from monitoring.scoring.drift.columns import score_drift
from monitoring.scoring.drift.thresholds import DriftThresholds
from monitoring.scoring.quality import score_quality
from monitoring.scoring.reference import Baseline
from monitoring.storage import row_layout
from registry.store import Registry
from tests.tiny_model import register_tiny


def test_only_visible_columns_are_scored(root: Path, window: Callable[..., pd.DataFrame]) -> None:
    version = register_tiny(
        Registry(Home(root / "home")),
        root / "files",
        rows=3000,
        payload={"fields": {"colour": "hmac"}},
    )
    baseline = Baseline(version)
    current = window(colour=None)
    scores = score_drift(baseline, DriftThresholds(baseline), current, None)
    colour = next(score for score in scores if score.column == "colour")
    price = next(score for score in scores if score.column == "price")
    assert (colour.value, colour.note) == (None, "not scored: hashed by payload policy")
    assert price.value is not None
    assert not price.breached
    quality = score_quality(baseline, current)
    assert {score.column or score.name for score in quality} == {"price", "duplicate_share"}

    event = PredictionEvent(
        source="a",
        epoch=1,
        sequence=0,
        time=0,
        received=0,
        prediction_id="p",
        model="tiny",
        protocol="rest",
        outcome="ok",
        rows=2,
        inputs={
            "price": Tensor("FP32", [2, 1], [0.5, None]),
            "colour": Tensor("BYTES", [2, 1], ["hmac:12", ""]),
        },
        outputs={
            "label": Tensor("INT64", [2], [1, 0]),
            "probabilities": Tensor("FP32", [2, 2], [0.1, 0.9, 0.8, 0.2]),
        },
    )
    first, second = row_layout.RowLayout(version.manifest).rows(event)
    assert first == (0.5, None, 1, 0.1, 0.9)
    assert second[1:] == (None, 0, 0.8, 0.2)
