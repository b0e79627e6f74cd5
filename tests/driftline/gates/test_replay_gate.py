"""Candidate and champion on logged requests: agreement, scores on labels, worst disagreements."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from msgspec.structs import replace

from driftline.gates.context import NO_CHAMPION_NOTE, GateContext, NotEnoughData
from driftline.gates.logged_rows import read_logged_rows
from driftline.gates.reference_data import check_data
from driftline.gates.replay import check_replay
from driftline.logged_periods import Period
from eventlog.events import FeedbackEvent, PredictionEvent, Tensor
from eventlog.segments import SegmentWriter
from eventlog.settings import Home, LogSettings
from registry.errors import InvalidGates
from registry.gates.outcomes import GateOutcome
from registry.gates.stated_gates import read_gates
from registry.manifest import PayloadPolicy, Version
from registry.store import Registry
from tests.driftline.gates.test_score_gates import biased_classifier
from tests.tiny_model import BINARY, reference, register_tiny, write_tiny

DAY = 86_400_000_000


class Log:
    """Requests of two rows each, and labels, as a service logs them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writer = SegmentWriter.claim(folder, "serving", LogSettings())

    def _stamp(self, time: int) -> dict[str, Any]:
        writer = self._writer
        return {
            "source": writer.source, "epoch": writer.epoch, "sequence": writer.next_sequence,
            "time": time, "received": time,
        }  # fmt: skip

    def predict(self, frame: pd.DataFrame, day: int, **changes: Any) -> str:
        name = f"p{self._writer.next_sequence}"
        price = [None if value != value else value for value in frame["price"]]  # noqa: PLR0124
        colour = [value or "" for value in frame["colour"]]
        inputs = {
            "price": Tensor("FP32", [len(frame), 1], price),
            "colour": Tensor("BYTES", [len(frame), 1], colour),
        }
        fields: dict[str, Any] = {
            "prediction_id": name, "model": "tiny", "version": "1", "protocol": "rest",
            "outcome": "ok", "rows": len(frame), "inputs": inputs,
        }  # fmt: skip
        self._writer.append([PredictionEvent(**self._stamp(day * DAY + 5), **(fields | changes))])
        return name

    def label(self, name: str, row: int, label: Any, day: int) -> None:
        stamp = self._stamp(day * DAY + 9)
        self._writer.append([FeedbackEvent(**stamp, prediction_id=name, row=row, label=label)])

    def close(self) -> None:
        self._writer.close()


class Scene:
    """A good and a biased version, and a log of 300 labelled rows of the days 10 to 12."""

    def __init__(self, root: Path) -> None:
        registry = Registry(Home(root / "home"))
        self.good = register_tiny(registry, root / "files", rows=400, prediction=BINARY)
        write_tiny(root / "bad", rows=400, prediction=BINARY)
        (root / "bad" / "model.onnx").write_bytes(biased_classifier().SerializeToString())
        files = [root / "bad" / name for name in ("model.onnx", "manifest.yaml")]
        self.bad = registry.register(
            files[0], model="tiny", manifest=files[1],
            reference=root / "bad" / "reference.parquet",
        )  # fmt: skip
        self.log = root / "log"
        log, rows = Log(self.log), reference(300).astype({"colour": object})
        rows["colour"] = [None if pd.isna(one) else one for one in rows["colour"]]
        for start in range(0, 300, 2):
            pair, day = rows[start : start + 2], 10 + start // 100
            name = log.predict(pair, day)
            for row, label in enumerate(pair["bought"]):
                log.label(name, row, str(label) if row else bool(label), day)
            log.label(name, 0, 1 - int(pair["bought"].iloc[0]), day)  # in conflict: the first holds
        log.predict(rows[:2], 12, outcome="failed")
        log.predict(rows[:2], 12, payload="digest")
        log.predict(rows[:2], 12, model="bus")
        log.predict(rows[:2], 12, version="7")  # hidden by its payload policy
        log.predict(rows[:2], 3)  # long ago
        bad = {"inputs": {"price": Tensor("FP32", [1, 1], [0.5])}, "rows": 1}
        log.predict(rows[:1], 12, **bad)
        log.close()

    def context(self, candidate: Version, champion: Version | None) -> GateContext:
        hidden = replace(self.good.manifest, payload=PayloadPolicy({"colour": "hmac"}))
        manifests = {"1": self.good.manifest, "2": self.bad.manifest, "7": hidden}
        return GateContext(candidate, champion, Path(), lambda _: None, self.log, manifests)

    def replay(
        self, candidate: Version, champion: Version | None = None, **fields: Any
    ) -> GateOutcome:
        gate = read_gates({"g": {"kind": "replay", "days": 3, **fields}})["g"]
        return check_replay(gate, self.context(candidate, champion))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    root = tmp_path_factory.mktemp("replay")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(root / "bentoml"))
        yield Scene(root)


def test_equal_versions_agree_on_every_logged_row(scene: Scene) -> None:
    outcome = scene.replay(scene.good, scene.good, agreement=1.0, metric="accuracy", worse_by=0.0)
    agreement, difference = outcome.figures
    assert (agreement.value, agreement.rows) == (1.0, 300)
    assert (difference.value, difference.rows) == (0.0, 300)
    assert (outcome.outcome, outcome.examples) == ("passed", [])
    assert "300 rows from 1970-01-11 to 1970-01-13, 300 of them labelled; 1 more" in outcome.reason


def test_a_worse_version_disagrees_and_its_worst_rows_are_listed(scene: Scene) -> None:
    outcome = scene.replay(
        scene.bad, scene.good, agreement=0.95, metric="accuracy", at_least=0.5, worse_by=0.01,
        worst=3,
    )  # fmt: skip
    by_name = {figure.name: figure for figure in outcome.figures}
    assert by_name["agreement with the champion"].outcome == "failed"
    assert by_name["accuracy"].outcome == "passed"
    assert by_name["accuracy, better than the champion by"].outcome == "failed"
    assert len(outcome.examples) == 3
    first = outcome.examples[0]
    assert (first["champion"], first["candidate"]) == ("0", "1")
    assert first["difference"] >= outcome.examples[1]["difference"] > 0.3
    assert outcome.against_champion


def test_segments_show_where_versions_disagree(scene: Scene) -> None:
    outcome = scene.replay(scene.bad, scene.good, agreement=0.99, segment="colour", min_rows=50)
    assert {figure.group: figure.outcome for figure in outcome.figures} == {
        "blue": "failed", "red": "passed",
    }  # fmt: skip


def test_costs_of_logged_requests(scene: Scene) -> None:
    costs = {"false_negative": 40, "false_positive": 5}
    outcome = scene.replay(scene.bad, scene.good, costs=costs, worse_by=0)
    assert outcome.figures[0].name == "cost of a row, better than the champion by"
    assert outcome.figures[0].rows == 300


def test_without_a_champion_only_limits_are_judged(scene: Scene) -> None:
    outcome = scene.replay(scene.good, agreement=0.9, metric="accuracy", at_least=0.6)
    agreement, accuracy = outcome.figures
    assert (agreement.outcome, agreement.note) == ("passed", NO_CHAMPION_NOTE)
    assert (accuracy.outcome, outcome.outcome) == ("passed", "passed")


def test_too_few_rows_are_not_enough_data(scene: Scene, tmp_path: Path) -> None:
    few = scene.replay(scene.good, scene.good, agreement=0.9, max_rows=50)
    assert few.outcome == "not enough data"
    with pytest.raises(NotEnoughData, match="no answered request of tiny"):
        read_logged_rows(
            tmp_path, "tiny", {}, {"candidate": scene.good.manifest}, period=Period(1), most=9
        )


def test_a_period_has_a_first_and_a_last_day(scene: Scene) -> None:
    days = {"first_day": "1970-01-11", "last_day": "1970-01-12"}
    outcome = scene.replay(scene.good, scene.good, agreement=1.0, **days)
    assert "200 rows from 1970-01-11 to 1970-01-12" in outcome.reason
    for wrong in ({"first_day": "1970-01-11"}, days | {"last_day": "1970-01-02"},
                  days | {"last_day": "1970-13-02"}, days | {"first_day": "soon"}):  # fmt: skip
        with pytest.raises(InvalidGates):
            scene.replay(scene.good, scene.good, agreement=1.0, **wrong)


def test_the_sample_is_the_same_and_evenly_spread(scene: Scene) -> None:
    takers, known = {"candidate": scene.good.manifest}, {"1": scene.good.manifest}
    found = [
        read_logged_rows(scene.log, "tiny", known, takers, period=Period(3), most=most)
        for most in (60, 60, 400)
    ]
    assert found[0].ids == found[1].ids
    assert len(found[0].ids) == 60
    assert set(found[0].ids) < set(found[2].ids)
    numbers = [int(name[1:]) for name, _ in found[0].ids]
    assert min(numbers) < 150
    assert max(numbers) > 400


def test_a_similar_reference_passes(scene: Scene) -> None:
    context = scene.context(scene.bad, scene.good)
    same = check_data(read_gates({"g": {"kind": "data"}})["g"], context)  # type: ignore[arg-type]
    assert same.outcome == "passed"
    assert {figure.group for figure in same.figures} == {"", "price", "colour", "bought"}


def test_other_columns_ranges_and_distributions_are_named(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    registry = Registry(Home(tmp_path / "home"))
    write_tiny(tmp_path / "files", prediction=BINARY)
    frame = reference()
    frame["price"] += 5
    frame["colour"] = "green"
    other = registry.register(
        tmp_path / "files" / "model.onnx", model="tiny",
        manifest=tmp_path / "files" / "manifest.yaml",
        reference=frame.to_parquet(index=False),
    )  # fmt: skip
    features = [*other.manifest.features, replace(other.manifest.features[0], name="size")]
    wider = replace(other, manifest=replace(other.manifest, features=features))
    gate = read_gates({"g": {"kind": "data", "min_rows": 50}})["g"]
    outcome = check_data(gate, scene.context(wider, scene.good))  # type: ignore[arg-type]
    failed = {(one.name, one.group) for one in outcome.figures if one.outcome == "failed"}
    assert failed == {
        ("other features", ""), ("share out of range", "price"), ("drift", "price"),
        ("share out of range", "colour"), ("drift", "colour"),
    }  # fmt: skip
    assert outcome.figures[0].note == "size is new"
