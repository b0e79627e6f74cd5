"""The example's comparison of months, computed from the log."""

from pathlib import Path
from typing import Any

import closed_loop
import data
import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import train

from eventlog.events import Event, FeedbackEvent, PredictionEvent, Tensor
from eventlog.segments import SegmentWriter
from eventlog.settings import Home
from registry.manifest import Version


def _log(home: Home, flights: pd.DataFrame, scores: "np.ndarray[Any, Any]") -> None:
    writer = SegmentWriter.claim(home.log, "host")
    events: list[Event] = []
    for n, (time, late, score) in enumerate(
        zip(flights["event_time"], flights["late"], scores.tolist(), strict=True)
    ):
        place = {"source": writer.source, "epoch": writer.epoch, "time": int(time), "received": 0}
        events += [
            PredictionEvent(
                **place, sequence=2 * n, prediction_id=f"p{n}", model="flights", protocol="rest",
                outcome="ok", version="1" if n % 2 else "2",
                outputs={"probabilities": Tensor("FP32", [1, 2], [1 - score, score])},
            ),
            FeedbackEvent(**place, sequence=2 * n + 1, prediction_id=f"p{n}", label=int(late)),
        ]  # fmt: skip
    writer.append(events)
    writer.close()


def test_a_month_answered_by_one_model_has_that_models_scores(
    version: Version, flights: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    april = train.arrived(flights[flights["month"] == 4])
    scores = closed_loop.scores_of(Path(version.path), april)
    home = Home(tmp_path)
    _log(home, april, scores)
    monkeypatch.setattr(closed_loop.Registry, "version", lambda *_: version)
    (month,) = closed_loop.compare(home, "flights", april)
    assert (month.name, month.versions) == ("April", "1, 2")
    assert month.answered_auc == pytest.approx(month.frozen_auc)
    assert month.answered_cost == pytest.approx(month.frozen_cost)
    assert 0.6 < month.frozen_auc < 0.7
    never = 5 * april["late"].mean()
    assert 0 < month.frozen_cost < never


def test_the_summary_names_the_months_that_the_loop_does_not_win() -> None:
    months = [
        closed_loop.Month("April", "1", 0.65, 0.65, 0.8, 0.8),
        closed_loop.Month("May", "1, 2", 0.70, 0.7304, 0.62, 0.63),
        closed_loop.Month("June", "2", 0.70, 0.69, 0.62, 0.61),
    ]
    assert closed_loop.summary(months) == (
        "By ROC AUC, the loop is better in 1 of 3 months, equal in April and worse in June. "
        "By cost, the loop is better in 1 of 3 months, equal in April and worse in May."
    )


def test_the_planted_mistake_changes_only_labels(version: Version) -> None:
    model = onnx.load(Path(version.path) / "model.onnx")
    spoilt = closed_loop.predict_late_too_often(onnx.load(Path(version.path) / "model.onnx"))
    assert spoilt.graph.output == model.graph.output
    flights = train.arrived(data.load()).head(500)
    frame = train.model_inputs(flights)
    feed = {name: frame[[name]].to_numpy() for name in data.FEATURES}
    sessions = [
        onnxruntime.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"])
        for m in (model, spoilt)
    ]
    (label, scores), (wrong, same) = (
        session.run(["label", "probabilities"], feed) for session in sessions
    )
    np.testing.assert_array_equal(scores, same)
    np.testing.assert_array_equal(wrong, (scores[:, 1] > 0.1).astype(int))
    assert (wrong >= label).all()
