"""Metrics, costs and gaps of real versions, against limits and against the champion."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import helper

from driftline.gates.context import NO_CHAMPION_NOTE, GateContext, NotEnoughData
from driftline.gates.scores import check_scores
from eventlog.settings import Home
from registry.errors import InvalidGates
from registry.gates.fit import check_fit
from registry.gates.outcomes import GateOutcome
from registry.gates.stated_gates import read_gates
from registry.manifest import Version
from registry.store import Registry
from tests.tiny_model import BINARY, register_tiny, tiny_classifier, write_tiny


def biased_classifier() -> onnx.ModelProto:
    """The tiny classifier with 2 added to the margin of every row that is not red."""
    model = tiny_classifier()
    (encoder,) = (node for node in model.graph.node if node.op_type == "LabelEncoder")
    for attribute in encoder.attribute:
        if attribute.name == "default_float":
            attribute.CopyFrom(helper.make_attribute("default_float", 3.0))
    return model


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Version]]:
    root = tmp_path_factory.mktemp("scores")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(root / "bentoml"))
        registry = Registry(Home(root / "home"))
        good = register_tiny(registry, root / "files", rows=600, prediction=BINARY)
        write_tiny(root / "bad", rows=600, prediction=BINARY)
        (root / "bad" / "model.onnx").write_bytes(biased_classifier().SerializeToString())
        bad = registry.register(
            root / "bad" / "model.onnx",
            model="tiny",
            manifest=root / "bad" / "manifest.yaml",
            reference=root / "bad" / "reference.parquet",
        )
        small = register_tiny(registry, root / "small", rows=40, prediction=BINARY)
        yield {"good": good, "bad": bad, "small": small}


def run(candidate: Version, champion: Version | None, **fields: Any) -> GateOutcome:
    gate = read_gates({"g": fields})["g"]
    context = GateContext(candidate, champion, Path(), lambda _: None)
    return check_scores(gate, context)  # type: ignore[arg-type]


def test_a_metric_must_be_within_its_limits(versions: dict[str, Version]) -> None:
    good = versions["good"]
    passed = run(good, None, kind="metric", metric="roc_auc", at_least=0.7)
    assert passed.outcome == "passed"
    (figure,) = passed.figures
    assert figure.low < figure.value < figure.high  # type: ignore[operator]
    assert figure.rows == 600
    assert run(good, None, kind="metric", metric="roc_auc", at_least=0.99).outcome == "failed"
    assert not passed.against_champion


def test_a_worse_version_fails_against_the_champion_and_a_better_one_passes(
    versions: dict[str, Version],
) -> None:
    fields = {"kind": "metric", "metric": "accuracy", "worse_by": 0.01}
    worse = run(versions["bad"], versions["good"], **fields)
    assert (worse.outcome, worse.against_champion) == ("failed", True)
    assert worse.figures[0].value < 0  # type: ignore[operator]
    better = run(versions["good"], versions["bad"], **fields)
    assert better.outcome == "passed"
    same = run(versions["good"], versions["good"], **fields)
    assert (same.outcome, same.figures[0].value) == ("passed", 0.0)


def test_a_first_version_has_nothing_to_compare_with(versions: dict[str, Version]) -> None:
    first = run(versions["bad"], None, kind="metric", metric="accuracy", worse_by=0.01)
    assert (first.outcome, first.figures[0].note) == ("passed", NO_CHAMPION_NOTE)
    assert first.against_champion


def test_by_interval_a_limit_needs_evidence(versions: dict[str, Version]) -> None:
    fields = {"kind": "metric", "metric": "accuracy"}
    (figure,) = run(versions["good"], None, **fields, at_least=0.1).figures
    at = {"at_least": figure.value, "by": "interval"}
    assert run(versions["good"], None, **fields, **at).outcome == "not enough data"
    assert run(versions["good"], None, **fields, at_least=0.1, by="interval").outcome == "passed"


def test_the_champions_rows_are_the_same_for_every_candidate(versions: dict[str, Version]) -> None:
    fields = {"kind": "metric", "metric": "accuracy", "at_least": 0.1, "rows": "champion"}
    outcome = run(versions["small"], versions["good"], **fields)
    assert (outcome.figures[0].rows, outcome.against_champion) == (600, True)


def test_few_rows_are_not_enough_data(versions: dict[str, Version]) -> None:
    small = run(versions["small"], None, kind="metric", metric="accuracy", at_least=0.1)
    assert small.outcome == "not enough data"
    assert small.figures[0].note == "40 rows; expected at least 100"
    with pytest.raises(NotEnoughData, match="rows: champion, but no version is champion"):
        run(versions["good"], None, kind="metric", metric="f1", at_least=0.1, rows="champion")


def test_segments_show_which_group_is_worse(versions: dict[str, Version]) -> None:
    worse = run(
        versions["bad"], versions["good"], kind="metric", metric="accuracy", worse_by=0.01,
        segment="colour",
    )  # fmt: skip
    by_group = {figure.group: figure.outcome for figure in worse.figures}
    assert by_group == {"blue": "failed", "red": "passed"}


def test_costs_state_the_limit_in_money(versions: dict[str, Version]) -> None:
    costs = {"false_negative": 40, "false_positive": 5}
    good = run(versions["good"], None, kind="cost", costs=costs, at_most=1_000)
    (figure,) = good.figures
    assert good.outcome == "passed"
    by_class = {"1": {"0": 40}, "0": {"1": 5}}
    same = run(versions["good"], None, kind="cost", costs=by_class, at_most=1_000)
    assert same.figures[0].value == figure.value
    unlike = run(versions["good"], None, kind="cost", costs={"true_negative": 1}, at_most=0.1)
    assert unlike.outcome == "failed"


def test_a_gap_between_groups_is_limited(versions: dict[str, Version]) -> None:
    fields = {"kind": "gap", "segment": "colour", "at_most": 0.5}
    narrow = run(versions["good"], None, **fields)
    assert narrow.outcome == "passed"
    assert "red" in narrow.figures[0].note
    against = run(versions["bad"], versions["good"], kind="gap", segment="colour",
                  metric="accuracy", worse_by=0.02)  # fmt: skip
    assert against.outcome == "failed"
    fair = run(versions["good"], None, kind="gap", segment="colour", min_rows=590, at_most=0.3)
    assert fair.outcome == "not enough data"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"kind": "metric", "metric": "roc_aux", "at_least": 1}, "did you mean 'roc_auc'?"),
        ({"kind": "metric", "metric": "accuracy"}, "no limit; expected at_least or at_most or"),
        ({"kind": "metric", "metric": "rmse", "at_most": 1}, "'rmse' is not computed for this"),
        ({"kind": "metric", "metric": "f1", "at_least": 1, "segment": "color"},
         "segment: 'color' is not a feature; expected one of"),
        ({"kind": "metric", "metric": "f1", "at_least": 1, "segment": "price"},
         "segment: 'price' is numeric; expected edges"),
        ({"kind": "gap", "at_most": 0.1}, "no segment"),
        ({"kind": "cost", "costs": {"false_negativ": 1}, "at_most": 1},
         "unknown cost 'false_negativ'; did you mean 'false_negative'?"),
        ({"kind": "cost", "costs": {"2": {"0": 1}}, "at_most": 1}, "costs: unknown class '2'"),
        ({"kind": "cost", "costs": {"false_negative": 1, "0": {"1": 1}}, "at_most": 1}, "mix"),
    ],
)  # fmt: skip
def test_gates_that_no_version_can_pass_are_refused(
    versions: dict[str, Version], fields: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidGates) as found:
        check_fit(read_gates({"g": fields}), versions["good"].manifest)
    assert sentence in str(found.value)
