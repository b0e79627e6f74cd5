"""Training rows of a retraining request, and their validation."""

from collections.abc import Callable

import msgspec
import numpy as np
import pandas as pd
import pytest

from monitoring.results import Result, RetrainRequest, Window
from monitoring.retrain.training_rows import TrainingRows, training_rows
from monitoring.retrain.validation import ValidationReport, validate
from registry.manifest import Feature, Manifest
from tests.monitoring.web.conftest import FakeStore, week

MANIFEST = msgspec.convert(
    {
        "task": "classification",
        "target": "late",
        "features": [
            {"name": "hour", "kind": "numeric"},
            {"name": "weight", "kind": "numeric"},
            {"name": "carrier", "kind": "categorical"},
        ],
    },
    Manifest,
)
FEATURES = [feature.name for feature in MANIFEST.features]


class _Rows(FakeStore):
    """A store that generates rows for each window."""

    def rows(
        self, _model: str, _version: str, window: Window, *, weighted: bool = False
    ) -> pd.DataFrame:
        assert weighted
        return window_rows(window.start // 1_000_000 % 100_003)


def window_rows(seed: int, rows: int = 400) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    hour = draw.uniform(0, 24, rows)
    return pd.DataFrame(
        {
            "hour": hour,
            "weight": draw.normal(80, 9, rows),
            "carrier": draw.choice(["AA", "UA"], rows),
            "prediction": (hour > 15).astype(int),
            "label": [*(hour + draw.normal(0, 6, rows) > 15).astype(int)[:-40], *[None] * 40],
        }
    )


def request(period: Window | None) -> RetrainRequest:
    return RetrainRequest(
        model="flights",
        version="1",
        digest="d",
        rule="schedule",
        reason="",
        columns=[],
        positions={},
        rows_url="",
        register_hint="",
        period=period,
    )


def result(index: int, rows: int = 1_000) -> Result:
    return Result(model="flights", version="1", window=week(index), rows=rows, sampled=400)


@pytest.fixture
def rows() -> TrainingRows:
    found = training_rows(
        _Rows(all_results=[result(n) for n in range(5)]),
        request(Window(week(1).start, week(3).end)),
    )
    assert found is not None
    return found


def test_weights_of_the_period_sum_to_the_number_of_predictions(rows: TrainingRows) -> None:
    assert [window.window for window in rows.windows] == [week(1), week(2), week(3)]
    assert [(window.rows, window.sampled, window.labelled) for window in rows.windows] == [
        (1_000, 400, 360)
    ] * 3
    assert rows.weight == "@weight", "a feature is named weight"
    assert rows.frame[rows.weight].sum() == pytest.approx(3_000)
    assert rows.frame["weight"].mean() == pytest.approx(80, abs=2)
    assert list(rows.frame[rows.window_start].unique()) == [week(n).start for n in (1, 2, 3)]
    assert list(rows.frame.columns)[-1] == rows.label == "label"


def test_request_without_a_period_or_with_deleted_rows_has_no_training_rows() -> None:
    store = FakeStore(all_results=[result(0)])
    assert training_rows(store, request(None)) is None
    assert training_rows(store, request(week(0))) is None, "the frame is empty"


def validated(rows: TrainingRows, reference: pd.DataFrame | None = None) -> ValidationReport:
    return validate("rr_1", "flights", "1", rows, manifest=MANIFEST, reference=reference)


def test_sound_rows_pass_every_check(rows: TrainingRows) -> None:
    report = validated(rows, window_rows(77))
    assert report.state == "passed"
    assert {one.check for one in report.findings} == {
        "schema", "missing", "labels", "leakage", "duplicates",
    }  # fmt: skip
    assert (report.rows, report.labelled) == (1_200, 1_080)


def _leak(frame: pd.DataFrame) -> None:
    frame["carrier"] = frame["label"].map({0: "AA", 1: "UA"}, na_action="ignore")


def _numeric_leak(frame: pd.DataFrame) -> None:
    frame["weight"] = frame["label"] * 100.0 + frame["hour"]


def _words(frame: pd.DataFrame) -> None:
    frame["hour"] = ["soon", *frame["hour"][1:]]


def _missing(frame: pd.DataFrame) -> None:
    frame.loc[:200, "weight"] = None


def _one_label(frame: pd.DataFrame) -> None:
    frame["label"] = 1


def _few_labels(frame: pd.DataFrame) -> None:
    frame.loc[50:, "label"] = None


def _no_column(frame: pd.DataFrame) -> None:
    del frame["hour"]


@pytest.mark.parametrize(
    ("spoil", "check", "state", "feature"),
    [
        (_leak, "leakage", "failed", "carrier"),
        (_numeric_leak, "leakage", "failed", "weight"),
        (_words, "schema", "failed", "hour"),
        (_no_column, "schema", "failed", "hour"),
        (_missing, "missing", "warning", "weight"),
        (_one_label, "labels", "failed", ""),
        (_few_labels, "labels", "warning", ""),
    ],
)
def test_each_fault_is_found_by_its_check(
    rows: TrainingRows,
    spoil: Callable[[pd.DataFrame], None],
    check: str,
    state: str,
    feature: str,
) -> None:
    spoil(rows.frame)
    worst = validated(rows, window_rows(77)).findings[0]
    assert (worst.check, worst.state, worst.feature) == (check, state, feature)


def test_rows_that_duplicate_the_reference_are_counted(rows: TrainingRows) -> None:
    reference = rows.frame[FEATURES].iloc[:60].astype({"hour": np.float32})
    worst = validated(rows, reference).findings[0]
    assert (worst.check, worst.state) == ("duplicates", "warning")
    assert worst.value == pytest.approx(60 / 1_200)


def test_checks_without_reference_or_labels_are_reported_as_not_checked(rows: TrainingRows) -> None:
    rows.frame["label"] = None
    found = {one.check: one.state for one in validated(rows).findings}
    assert (found["leakage"], found["duplicates"]) == ("not checked", "not checked")


def test_regression_leakage_is_detected_by_rank_correlation(rows: TrainingRows) -> None:
    rows.frame["label"] = rows.frame["hour"] ** 3
    manifest = msgspec.structs.replace(MANIFEST, task="regression")
    report = validate("rr_1", "flights", "1", rows, manifest=manifest, reference=None)
    assert (report.findings[0].check, report.findings[0].feature) == ("leakage", "hour")


def test_image_model_needs_no_feature_columns(rows: TrainingRows) -> None:
    manifest = msgspec.structs.replace(MANIFEST, features=list[Feature]())
    assert validate("r", "m", "1", rows, manifest=manifest, reference=None).state == "passed"
