"""Measure the CPU and wall time of scoring one window (`make bench`)."""

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pandas as pd
import yaml
from onnx import TensorProto, helper
from rich.console import Console
from rich.table import Table

from eventlog.settings import Home
from monitoring.results import Window
from monitoring.score_jobs import ScoreJob
from monitoring.scoring.window_scorer import ScorerCache, WindowScorer
from registry.manifest import Monitoring
from registry.onnx_file import load
from registry.reference import answer_reference
from registry.store import Registry

ROWS = 10_000
NUMBERS, WORDS = 20, 10  # numeric and categorical features
SHIFTED = 6  # numeric features with drift
CATEGORIES = [f"k{place}" for place in range(8)]
SEGMENTS = ["c0", {"column": "n0", "edges": [-1.0, 0.0, 1.0]}]
OTHER = msgspec.convert({"segments": SEGMENTS, "alarms": {"smallest_drift": 0.2}}, Monitoring)

JOBS: dict[str, dict[str, Any]] = {
    "first of its size, with calibration": {},
    "with Evidently's report": {"report": "window.html"},
    "without": {},
    "first with another policy, with re-calibration": {"policy": OTHER},
    "next with this policy": {"policy": OTHER},
    "revision after late labels": {"drift": False},
}

console = Console()


def main() -> None:
    """Measure and print the times."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        os.environ["BENTOML_HOME"] = str(home / "bentoml")
        registry = Registry(Home(home))
        version = _register(registry, home)
        scoring = WindowScorer(ScorerCache(registry), home / "reports")
        rows = _window(version)
        table = Table(title=f"{ROWS:,} rows of {NUMBERS + WORDS} features, {SHIFTED} with drift")
        for name in ("what", "CPU s", "wall s", "scores"):
            table.add_column(name, justify="left" if name == "what" else "right")
        for name, changes in JOBS.items():
            table.add_row(name, *_measured(scoring, _job(rows, **changes)))
        console.print(table)


def _measured(scoring: WindowScorer, job: ScoreJob) -> tuple[str, str, str]:
    wall, cpu = time.perf_counter(), time.process_time()
    reply = scoring.score(job)
    took = time.process_time() - cpu, time.perf_counter() - wall
    assert not reply.error, reply.error
    return f"{took[0]:.2f}", f"{took[1]:.2f}", str(len(reply.scores))


def _job(rows: dict[str, list[Any]], **changes: Any) -> ScoreJob:
    fields: dict[str, Any] = {"drift": True, "columns": rows, "order": list(range(ROWS))} | changes
    return ScoreJob(key="bench", model="wide", version="1", window=Window(0, 1), **fields)


def _register(registry: Registry, home: Path) -> Any:
    numbers = [
        {"name": f"n{at}", "kind": "numeric", "nullable": True, "input": "numbers", "index": at}
        for at in range(NUMBERS)
    ]
    words = [{"name": f"c{at}", "kind": "categorical"} for at in range(WORDS)]
    manifest = {
        "task": "classification",
        "held_out": True,
        "target": "truth",
        "features": [*numbers, *words],
        "prediction": {"label": "label", "probabilities": "probabilities", "classes": [0, 1]},
        "monitoring": {"segments": SEGMENTS},
    }
    files = {name: home / name for name in ("model.onnx", "manifest.yaml", "reference.parquet")}
    files["model.onnx"].write_bytes(_model().SerializeToString())
    files["manifest.yaml"].write_text(yaml.safe_dump(manifest))
    _rows(5_000, seed=1, shift=0.0).to_parquet(files["reference.parquet"], index=False)
    return registry.register(
        files["model.onnx"],
        model="wide",
        manifest=files["manifest.yaml"],
        reference=files["reference.parquet"],
    )


def _window(version: Any) -> dict[str, list[Any]]:
    """Return rows in the log's format, with predictions and labels."""
    session = load((Path(version.path) / "model.onnx").read_bytes())
    _, answered = answer_reference(session, version.manifest, _rows(ROWS, seed=2, shift=0.5))
    frame = answered.rename(columns={"truth": "label"}).astype(object)
    return {str(name): frame[name].where(frame[name].notna(), None).tolist() for name in frame}


def _rows(rows: int, *, seed: int, shift: float) -> pd.DataFrame:
    chance = np.random.default_rng(seed)
    numbers = chance.normal(size=(rows, NUMBERS)).astype(np.float32)
    numbers[:, :SHIFTED] += shift
    columns: dict[str, Any] = {f"n{at}": numbers[:, at] for at in range(NUMBERS)}
    columns |= {f"c{at}": chance.choice(CATEGORIES, rows) for at in range(WORDS)}
    return pd.DataFrame(columns | {"truth": chance.integers(0, 2, rows)})


def _model() -> onnx.ModelProto:
    """Create a logistic regression on all features."""
    weights = np.random.default_rng(0).normal(0, 0.3, NUMBERS + WORDS).astype(np.float32)
    codes = [
        helper.make_node(
            "LabelEncoder",
            [f"c{at}"],
            [f"e{at}"],
            domain="ai.onnx.ml",
            keys_strings=CATEGORIES,
            values_floats=[float(place) for place in range(len(CATEGORIES))],
        )
        for at in range(WORDS)
    ]
    encoded = [f"e{at}" for at in range(WORDS)]
    nodes = [
        *codes,
        helper.make_node("Concat", ["numbers", *encoded], ["all"], axis=1),
        helper.make_node("MatMul", ["all", "weights"], ["margin"]),
        helper.make_node("Sigmoid", ["margin"], ["yes"]),
        helper.make_node("Sub", ["one", "yes"], ["no"]),
        helper.make_node("Concat", ["no", "yes"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    words = [
        helper.make_tensor_value_info(f"c{n}", TensorProto.STRING, [None, 1]) for n in range(WORDS)
    ]
    graph = helper.make_graph(
        nodes,
        "wide",
        [helper.make_tensor_value_info("numbers", TensorProto.FLOAT, [None, NUMBERS]), *words],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
        ],
        [
            helper.make_tensor("weights", TensorProto.FLOAT, [NUMBERS + WORDS, 1], weights),
            helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0]),
        ],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


if __name__ == "__main__":
    main()
