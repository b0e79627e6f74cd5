"""Shadows and comparisons of regressions and of classes derived from raw scores."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from driftline.comparison.run import ComparisonRequest, compare_versions
from driftline.logged_periods import Period
from driftline.shadows.answer_log import AnswerLog
from driftline.shadows.candidate import ShadowRun
from eventlog.events import FeedbackEvent, PredictionEvent, Tensor
from eventlog.segments import SegmentWriter
from eventlog.settings import Home, LogSettings
from monitoring.comparisons import VersionComparison
from registry.history.shadow_state import Shadow
from registry.manifest import Version
from tests.driftline.gates.test_gates_of_other_models import CLASSES, REGRESSION, Models, linear

DAY = 86_400_000_000
BAD = [5, 9]  # requests without the feature


class Scene:
    """Two versions of a model; the second has run as a shadow on 120 requests of the first."""

    def __init__(self, models: Models, name: str, first: Version, second: Version) -> None:
        self.name, self.home = name, Home.from_environment()
        writer = SegmentWriter.claim(self.home.log, "serving", LogSettings())
        events: list[PredictionEvent] = []
        run = ShadowRun(first)  # answers as the service does
        for row in range(120):
            x = float(models.x[row])
            inputs = {} if row in BAD else {"x": Tensor("FP32", [1, 1], [x])}
            stamp: dict[str, Any] = {
                "source": writer.source, "epoch": writer.epoch, "time": 10 * DAY,
                "received": 10 * DAY, "prediction_id": f"{name}{row}",
            }  # fmt: skip
            event = PredictionEvent(
                **stamp, sequence=writer.next_sequence, model=name, version=first.number,
                protocol="rest", outcome="ok", alias="champion", rows=1, inputs=inputs,
            )  # fmt: skip
            answers, _ = run.answer([event])
            outputs = answers[0].outputs if answers else {}
            event = PredictionEvent(**{
                **{f: getattr(event, f) for f in event.__struct_fields__}, "outputs": outputs
            })  # fmt: skip
            writer.append([event])
            events.append(event)
            label = float(models.y[row]) if name == "line" else "c" if x > 0 else "a"
            stamp["sequence"] = writer.next_sequence
            writer.append([FeedbackEvent(**stamp, label=label)])
        writer.close()
        self.answers, self.misfits = ShadowRun(second).answer(events)
        log = AnswerLog(self.home, LogSettings())
        shadow = Shadow("s", second.number, "champion", 1.0, 0, "ann")
        log.append(name, shadow, second.digest, self.answers)
        log.close()

    def compare(self) -> VersionComparison:
        return compare_versions(
            ComparisonRequest(
                model=self.name, first="1", second="2", source="shadow", period=Period(1, 10, 10)
            )
        )


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Models]:
    root = tmp_path_factory.mktemp("others")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(root / "bentoml"))
        patch.setenv("DRIFTLINE_HOME", str(root / "home"))
        yield Models(root)


def test_a_regression_is_compared_by_its_errors(models: Models) -> None:
    first = models.add("line", linear(1.0), REGRESSION, models.y)
    second = models.add("line", linear(2.0), REGRESSION, models.y)
    scene = Scene(models, "line", first, second)
    assert scene.misfits == len(BAD)
    found = scene.compare()
    known = [row for row in range(120) if row not in BAD]
    error = float(np.mean(np.abs(models.y[known] - models.x[known])))
    mae = next(one for one in found.scores if one.name == "mae")
    assert found.rows == [118, 118]
    assert mae.first.value == pytest.approx(error, abs=1e-4)
    assert (mae.better, mae.lower_is_better) == ("second", True)
    assert not {"bias"} & {one.name for one in found.scores}
    assert (found.answers, found.calibration) == ([], {})
    near = np.abs(models.x[known]) <= 0.1 * np.std(models.x[known])
    assert found.agreement is not None
    assert found.agreement.value == pytest.approx(float(near.mean()), abs=0.01)


def test_classes_derived_from_scores_are_compared(models: Models) -> None:
    labels = np.where(models.x > 0, "c", "a")
    first = models.add("kinds", linear(1.0, 0.1, -1.0), CLASSES, labels)
    second = models.add("kinds", linear(-1.0, 0.1, 1.0), CLASSES, labels)
    scene = Scene(models, "kinds", first, second)
    found = scene.compare()
    accuracy = next(one for one in found.scores if one.name == "accuracy")
    assert accuracy.second.value is not None
    assert accuracy.second.value > 0.95
    assert accuracy.better == "second"
    assert {(one.first, one.second) for one in found.answers} >= {("a", "c"), ("c", "a")}
    assert scene.answers[0].outputs["driftline.probabilities"].shape == [1, 3]
