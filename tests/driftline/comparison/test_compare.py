"""Two versions compared on a shadow's rows, on replayed rows, and on rows that each answered."""

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from msgspec import json
from rich.console import Console

from driftline.compare import commands
from driftline.comparison.run import ComparisonRequest, compare_versions
from driftline.comparison.table import print_comparison
from driftline.gates.context import NotEnoughData
from driftline.logged_periods import Period
from eventlog.events import FeedbackEvent, PredictionEvent, Tensor
from eventlog.segments import SegmentWriter
from eventlog.settings import Home, LogSettings
from monitoring.comparisons import StoredComparisons, VersionComparison
from registry.store import Registry
from tests.driftline.gates.test_score_gates import biased_classifier
from tests.tiny_model import BINARY, reference, register_tiny, write_tiny

DAY = 86_400_000_000
ROWS = 300


class Scene:
    """Version 2 says yes to nearly everything; 300 rows of version 1 ran on it as a shadow."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root / "home")
        registry = Registry(self.home)
        changes: dict[str, Any] = {"prediction": BINARY, "monitoring": {"segments": ["colour"]}}
        register_tiny(registry, root / "files", rows=400, **changes)
        write_tiny(root / "bad", rows=400, **changes)
        (root / "bad" / "model.onnx").write_bytes(biased_classifier().SerializeToString())
        registry.register(
            root / "bad" / "model.onnx",
            model="tiny",
            manifest=root / "bad" / "manifest.yaml",
            reference=root / "bad" / "reference.parquet",
        )
        self.frame = reference(ROWS).astype({"colour": object})
        red = (self.frame["colour"] == "red").to_numpy()
        price = self.frame["price"].fillna(0).to_numpy()
        self.good = 1 / (1 + np.exp(-(price + red)))
        self.bad = 1 / (1 + np.exp(-(price + np.where(red, 1, 3))))
        self._writer = SegmentWriter.claim(self.home.log, "serving", LogSettings())
        for row in range(ROWS):
            self._log(row, "1", self.good[row], 10, alias="champion")
            self._log(row, "2", self.bad[row], 10, protocol="shadow", inputs={})
            self._label(row, 10)
        for _ in range(2):  # a shadow that was killed runs on a request twice
            self._log(5, "2", self.bad[5], 10, protocol="shadow", inputs={})
        for row in range(ROWS):  # a canary, two days later
            number = "2" if row % 2 else "1"
            chance = self.bad[row] if row % 2 else self.good[row]
            self._log(row, number, chance, 12, total_us=4_000 if row % 2 else 2_000)
            self._label(row, 12)
        self._writer.close()

    def _stamp(self, day: int) -> dict[str, Any]:
        writer = self._writer
        return {
            "source": writer.source, "epoch": writer.epoch, "sequence": writer.next_sequence,
            "time": day * DAY + 5, "received": day * DAY + 5,
        }  # fmt: skip

    def _log(self, row: int, version: str, chance: float, day: int, **changes: Any) -> None:
        price, colour = self.frame["price"][row], self.frame["colour"][row]
        fields: dict[str, Any] = {
            "prediction_id": f"p{day}-{row}", "model": "tiny", "version": version,
            "protocol": "rest", "outcome": "ok", "rows": 1,
            "inputs": {
                "price": Tensor("FP32", [1, 1], [None if np.isnan(price) else float(price)]),
                "colour": Tensor("BYTES", [1, 1], [colour if isinstance(colour, str) else ""]),
            },
            "outputs": {
                "label": Tensor("INT64", [1], [int(chance > 0.5)]),
                "probabilities": Tensor("FP32", [1, 2], [1 - float(chance), float(chance)]),
            },
            "total_us": 1_000, "run_us": 500,
        }  # fmt: skip
        self._writer.append([PredictionEvent(**self._stamp(day), **(fields | changes))])

    def _label(self, row: int, day: int) -> None:
        label = int(self.frame["bought"][row])
        stamp = self._stamp(day)
        self._writer.append([FeedbackEvent(**stamp, prediction_id=f"p{day}-{row}", label=label)])

    def compare(self, source: Any, day: int = 10) -> VersionComparison:
        return compare_versions(
            ComparisonRequest(
                model="tiny", first="1", second="2", source=source, period=Period(1, day, day)
            )
        )


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    root = tmp_path_factory.mktemp("compare")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRIFTLINE_HOME", str(root / "home"))
        patch.setenv("BENTOML_HOME", str(root / "bentoml"))
        yield Scene(root)


def test_a_shadow_is_compared_row_by_row(scene: Scene) -> None:
    found = scene.compare("shadow")
    same = float(np.mean((scene.good > 0.5) == (scene.bad > 0.5)))
    labels = scene.frame["bought"].to_numpy()
    accuracy = [float(np.mean((one > 0.5) == labels)) for one in (scene.good, scene.bad)]
    assert (found.rows, found.labelled, found.origin) == ([ROWS, ROWS], [ROWS, ROWS], "shadow")
    assert found.agreement is not None
    assert found.agreement.value == pytest.approx(same)
    score = next(one for one in found.scores if one.name == "accuracy")
    assert [score.first.value, score.second.value] == pytest.approx(accuracy)
    assert score.difference.value == pytest.approx(accuracy[1] - accuracy[0])
    assert score.better == "first"
    assert sum(one.rows for one in found.answers) == ROWS
    groups = {one.group: one for one in found.groups}
    assert groups["red"].agreement == 1.0
    assert groups["red"].score is not None
    assert groups["red"].score.difference.value == 0.0
    assert groups["blue"].rows == int((scene.frame["colour"] == "blue").sum())
    assert groups["blue"].agreement is not None
    assert groups["blue"].agreement < 0.9
    first, second = found.calibration["1"], found.calibration["2"]
    assert sum(one.rows for one in first) == sum(one.rows for one in second) == ROWS
    predicted = sum(one.predicted * one.rows for one in second) / ROWS
    assert predicted > sum(one.observed * one.rows for one in second) / ROWS + 0.1


def test_replay_runs_the_program_of_the_shadow(scene: Scene) -> None:
    shadow, replay = scene.compare("shadow"), scene.compare("replay")
    assert replay.rows == shadow.rows
    assert replay.agreement == shadow.agreement
    for one, other in zip(shadow.scores, replay.scores, strict=True):
        assert one.first.value == pytest.approx(other.first.value, abs=1e-5)
        assert one.second.value == pytest.approx(other.second.value, abs=1e-5)


def test_a_paired_interval_is_narrower_than_an_unpaired_interval(scene: Scene) -> None:
    paired = next(one for one in scene.compare("shadow").scores if one.name == "roc_auc")
    found = scene.compare("canary", day=12)
    apart = next(one for one in found.scores if one.name == "roc_auc")
    assert found.rows == [150, 150]
    assert found.agreement is None
    widths = [
        one.difference.high - one.difference.low
        for one in (paired, apart)
        if one.difference.high is not None and one.difference.low is not None
    ]
    assert widths[0] < widths[1]
    first, second = found.traffic
    assert (first.requests, first.total_ms["p50"], second.total_ms["p50"]) == (150, 2.0, 4.0)


def test_the_origin_auto_uses_the_available_rows(scene: Scene) -> None:
    assert scene.compare("auto").origin == "shadow"
    assert scene.compare("auto", day=12).origin == "canary"
    with pytest.raises(NotEnoughData, match="the log has no request of tiny"):
        scene.compare("auto", day=3)
    with pytest.raises(NotEnoughData, match="no shadow of version 2"):
        scene.compare("shadow", day=12)


def test_the_command_prints_a_table_or_json_and_stores_it(scene: Scene) -> None:
    (command,) = commands()

    def compare(*arguments: str) -> str:
        result = CliRunner(env={"COLUMNS": "200"}).invoke(command, ["tiny", *arguments])
        return f"{result.stdout}{result.exception or ''}{result.stderr}"

    day = ("--from", "1970-01-11", "--to", "1970-01-11")
    printed = compare("--versions", "1,2", *day)
    assert "300 rows, 300 labelled; rows that version 1 answered and version 2 ran on" in printed
    assert "Version 1 is better on" in " ".join(printed.split())
    for title in (
        "Scores on labelled rows",
        "Segments",
        "Predicted classes",
        "Calibration",
        "Requests in",
    ):
        assert title in printed
    result = CliRunner().invoke(command, ["tiny", "--versions", "1,2", "--json", *day])
    found = json.decode(result.stdout, type=VersionComparison)
    stored = StoredComparisons(scene.home.comparisons)
    assert stored.find("tiny", "1", "2") == found
    assert stored.of_model("tiny")[0].second == "2"
    assert stored.find("../x", "1", "2") is stored.find("tiny", "1", "../2") is None
    assert "expected two different numbers" in compare("--versions", "1,1")
    assert "no version '9'" in compare("--versions", "1,9")
    assert "--from is after --to" in compare(
        "--versions", "1,2", "--from", "2020-02-02", "--to", "2020-01-01"
    )
    assert "cannot be compared" in compare("--versions", "2,1", *day, "--source", "shadow")


def test_versions_that_predict_different_things_are_not_compared(scene: Scene) -> None:
    registry, manifest = Registry(scene.home), {"task": "other"}
    path = Path(registry.version("tiny", "1").path) / "model.onnx"
    other = registry.register(path, model="tiny", manifest=manifest).number
    request = ComparisonRequest(model="tiny", first="1", second=other)
    with pytest.raises(NotEnoughData, match="predicts neither a class nor a number"):
        compare_versions(request)


def test_a_narrow_terminal_cuts_no_word(scene: Scene) -> None:
    written = StringIO()
    print_comparison(scene.compare("shadow"), Console(file=written, width=80))
    lines = written.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert [line for line in lines if "…" in line] == []
