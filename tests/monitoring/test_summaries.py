"""Summaries of tensors are columns of a version's rows, even for rows without payload."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from eventlog.events import Tensor
from monitoring.counters.window_counters import InputCounters
from monitoring.scoring.quality import score_quality
from monitoring.scoring.reference import Baseline
from monitoring.scoring.window_scorer import frame
from monitoring.storage.row_layout import RowLayout, columns
from monitoring.storage.store import Store
from registry.manifest import Feature, Prediction, Summary
from registry.outputs import LABEL, PROBABILITIES
from registry.own_columns import WITHHELD
from tests.monitoring.image_model import MANIFEST, image_version, kept_image, of_image
from tests.monitoring.log_in_memory import HOUR, T0, VERSION, FakeScorer, Log, Monitor

_BOTH = replace(VERSION.manifest, summaries=[Summary("x mean", "x", "mean")])


def test_rows_of_an_image_model_are_its_summaries() -> None:
    assert columns(MANIFEST) == ["image brightness", "image contrast", "embedding norm"]
    log = Log()
    log.predict(T0, "kept", **kept_image(0.5, None, 2.0))
    log.predict(T0, "sampled out", **of_image(0.25, 0.1, 1.0))
    layout = RowLayout(MANIFEST)
    kept, withheld = (record.event for record in log.records)
    assert [list(row) for row in layout.rows(kept)] == [[0.5, None, 2.0]]
    assert layout.prediction(layout.rows(kept)[0]) is None
    assert not layout.has_extra_inputs(kept)
    (row,) = layout.rows_without_payload(withheld)
    assert row is not None
    assert list(row.values) == [0.25, 0.1, 1.0]
    assert not row.partial, "its rows have no other values"


def test_absent_summary_is_missing_and_a_wrong_number_of_values_is_refused() -> None:
    log = Log()
    log.predict(T0, "old", **(kept_image(1.0, 1.0, 1.0) | {"summaries": {}}))
    wrong = {"summaries": {"image brightness": [1.0, 2.0]}}
    log.predict(T0, "wrong", **(of_image(1.0, 1.0, 1.0) | wrong))
    old, short = (record.event for record in log.records)
    assert [list(row) for row in RowLayout(MANIFEST).rows(old)] == [[None, None, None]]
    with pytest.raises(ValueError, match="expected 1 values, got 2"):
        RowLayout(MANIFEST).rows_without_payload(short)


def test_rows_whose_summaries_were_withheld_are_not_missing_values() -> None:
    log = Log()
    log.predict(T0, "p", **(of_image(1.0, 1.0, 1.0) | {"payload": "dropped", "summaries": {}}))
    assert RowLayout(MANIFEST).rows_without_payload(log.records[0].event) == [None]


def test_every_row_is_counted_with_and_without_its_payload(tmp_path: Path) -> None:
    version, scorer, log = image_version(tmp_path), FakeScorer(), Log()
    for n in range(60):
        fields = kept_image if n % 10 == 0 else of_image
        log.predict(T0 + n, f"p{n}", **fields(n / 10, None if n % 3 == 0 else 1.0, 2.0))
    log.pass_time(T0 + 2 * HOUR)
    where = tmp_path / "monitor.db"
    Monitor(where, log.records, scorer=scorer, find=lambda *_: version).drain()
    (state,) = [result for result in Store(where).results("tiny", "1") if result.rows]
    assert (state.rows, state.sampled) == (60, 60)
    rows = Store(where).rows("tiny", "1", state.window)
    assert sorted(rows["image brightness"]) == [n / 10 for n in range(60)]
    assert rows["image contrast"].isna().sum() == 20
    assert "prediction" not in rows


def test_features_without_their_payload_are_not_missing_values(tmp_path: Path) -> None:
    version, scorer, log = replace(VERSION, manifest=_BOTH), FakeScorer(), Log()
    for n in range(30):
        gone = {"payload": "digest", "inputs": {}, "outputs": {}}
        known = {"inputs": {"x": Tensor("FP32", [1, 1], [float(n)])}} if n % 3 else gone
        log.predict(T0 + n, f"p{n}", summaries={"x mean": [float(n)]}, **known)
    log.pass_time(T0 + 2 * HOUR)
    Monitor(tmp_path / "monitor.db", log.records, scorer=scorer, find=lambda *_: version).drain()
    job = scorer.jobs[0]
    assert job.inputs is not None
    assert (job.inputs.rows, job.inputs.withheld, job.inputs.summarized) == (20, 10, 10)
    assert job.inputs.missing == [0, 0]
    assert sum(job.columns[WITHHELD]) == 10
    assert sorted(job.columns["x mean"]) == [float(n) for n in range(30)]

    reference = frame({"x": [float(n) for n in range(60)], "x mean": [1.0] * 60, "y": [0] * 60})
    baseline = Baseline(version, reference)
    window = frame(job.columns)
    assert len(baseline.observed(window, "x")) == 20
    assert len(baseline.observed(window, "x mean")) == 30
    scores = {(s.name, s.column): s for s in score_quality(baseline, window, (), job.inputs)}
    assert scores["missing_share", "x"].value == 0.0
    assert scores["missing_share", "x mean"].value == 0.0


def test_counters_of_rows_with_only_summaries_add_up() -> None:
    log, one, other = Log(), InputCounters(), InputCounters(rows=3, withheld=2, summarized=2)
    one.merge(other)
    assert (one.rows, one.withheld, one.summarized) == (3, 2, 2)
    log.predict(T0, "p", summaries={"x mean": [1.0]}, payload="digest", inputs={}, outputs={})
    (row,) = RowLayout(_BOTH).rows_without_payload(log.records[0].event)
    assert row is not None
    assert row.partial
    assert RowLayout(_BOTH).encode(row) == b'{"x mean":1.0}'


def test_summary_absent_from_the_reference_is_not_a_feature(tmp_path: Path) -> None:
    baseline = Baseline(replace(VERSION, manifest=_BOTH))
    assert [feature.name for feature in baseline.features] == ["x"]
    assert baseline.features == [Feature("x", "numeric", input="x")]
    assert baseline.has_labels
    image = Baseline(image_version(tmp_path), frame({"image brightness": [1.0]}), learned=True)
    assert [column.name for column in image.columns] == ["image brightness"]
    assert not image.has_labels


def test_label_and_probabilities_derived_from_raw_scores_are_columns() -> None:
    prediction = Prediction(scores="logits", classes=["cat", "dog"], activation="softmax")
    manifest = replace(MANIFEST, task="classification", prediction=prediction)
    assert columns(manifest)[-3:] == ["prediction", "probability_cat", "probability_dog"]
    derived = {
        LABEL: Tensor("BYTES", [1], ["dog"]),
        PROBABILITIES: Tensor("FP64", [1, 2], [0.25, 0.75]),
    }
    log = Log()
    log.predict(T0, "p", **(kept_image(0.5, 1.0, 2.0) | {"outputs": derived}))
    layout = RowLayout(manifest)
    (row,) = layout.rows(log.records[0].event)
    assert list(row) == [0.5, 1.0, 2.0, "dog", 0.25, 0.75]
    assert layout.prediction(row) == b'"dog"'
    (partial,) = layout.rows_without_payload(log.records[0].event)
    assert partial is not None
    assert partial.partial


def test_each_probability_of_a_multi_label_model_is_a_column(tmp_path: Path) -> None:
    prediction = Prediction(scores="logits", classes=["cat", "dog"], activation="sigmoid")
    manifest = replace(MANIFEST, task="classification", prediction=prediction)
    probabilities = ["probability_cat", "probability_dog"]
    assert columns(manifest)[-3:] == ["prediction", *probabilities]
    rows = frame({name: [0.5] for name in columns(manifest)})
    baseline = Baseline(image_version(tmp_path, manifest), rows, learned=True)
    assert [column.name for column in baseline.columns][-3:] == ["prediction", *probabilities]
