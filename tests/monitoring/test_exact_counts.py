"""A real consumer counts windows larger than their sample exactly."""

import math
import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from eventlog.events import PredictionEvent, Tensor
from eventlog.settings import Home
from monitoring.results import Result, Score
from monitoring.score_jobs import ScoreJob
from monitoring.scoring.window_scorer import ScorerCache, WindowScorer
from monitoring.storage.database import Database, DatabaseAddress, as_struct
from monitoring.storage.store import Store
from monitoring.windows.window_state import WindowState
from registry.manifest import Prediction, Version, WindowPolicy
from registry.store import Registry
from tests.depth import by_depth
from tests.monitoring.log_in_memory import HOUR, T0, VERSION, FakeScorer, Log, Monitor, eight_hours
from tests.tiny_model import BINARY, register_tiny

pytestmark = pytest.mark.untraced

EVENTS, ROWS = by_depth(60, 200), 250  # in all many more rows than a window's sample


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Version]:
    """Return a registered model with windows of up to 1,000 sampled rows."""
    folder = tmp_path_factory.mktemp("exact")
    window = {"length": 3600, "grace": 0, "label_wait": 3600, "max_rows": 1000}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRIFTLINE_HOME", str(folder / "home"))
        patch.setenv("BENTOML_HOME", str(folder / "bentoml"))
        yield register_tiny(
            Registry(Home(folder / "home")),
            folder / "files",
            rows=1500,
            prediction=BINARY,
            monitoring={"window": window},
        )


class RealScorer(FakeScorer):
    """Scores as the scoring process does, but in this process."""

    def __init__(self, version: Version, reports: Path) -> None:
        super().__init__()
        self._scoring = WindowScorer(ScorerCache(_Catalogue(version)), reports)

    def submit(self, job: ScoreJob) -> None:
        self.jobs.append(job)
        self._replies.append(self._scoring.score(replace(job, report="")))


class _Catalogue:
    def __init__(self, version: Version) -> None:
        self._version = version

    def version(self, model: str, number: str) -> Version:
        return self._version


def _batches(chance: np.random.Generator) -> Iterator[tuple[list[Any], list[Any]]]:
    """Yield prices and colours; a tenth of the prices is missing, 1 colour in 500 is unseen."""
    for _ in range(EVENTS):
        prices = [None if one < 0.1 else float(one) for one in chance.random(ROWS)]
        colours = ["mauve" if one < 0.002 else "red" for one in chance.random(ROWS)]
        yield prices, colours


def _predict(log: Log, n: int, prices: list[Any], colours: list[Any], predicted: list[int]) -> None:
    rows = len(prices)
    log.predict(
        T0 + n,
        f"p{n}",
        rows=rows,
        inputs={
            "price": Tensor("FP32", [rows, 1], prices),
            "colour": Tensor("BYTES", [rows, 1], colours),
        },
        outputs={
            "label": Tensor("INT64", [rows], predicted),
            "probabilities": Tensor("FP32", [rows, 2], [0.5, 0.5] * rows),
        },
    )


def _score(result: Result, name: str, column: str = "") -> Score:
    (score,) = (s for s in result.scores if (s.name, s.column, s.segment) == (name, column, ""))
    return score


def test_shares_of_a_large_window_are_exact(version: Version, tmp_path: Path) -> None:
    log, batches = Log(), list(_batches(np.random.default_rng(3)))
    for n, (prices, colours) in enumerate(batches):
        _predict(log, n, prices, colours, [1] * ROWS)
    log.pass_time(T0 + 2 * HOUR)
    scorer = RealScorer(version, tmp_path)
    where = tmp_path / "monitor.db"
    Monitor(where, log.records, scorer=scorer, find=lambda *_: version).drain()
    (result,) = Store(where).results("tiny", "1")
    assert (result.rows, result.sampled) == (EVENTS * ROWS, 1000)
    missing = sum(prices.count(None) for prices, _ in batches)
    unseen = sum(colours.count("mauve") for _, colours in batches)
    assert _score(result, "missing_share", "price").value == pytest.approx(
        missing / (EVENTS * ROWS), rel=1e-8
    )
    assert _score(result, "unseen_share", "colour").value == pytest.approx(
        unseen / (EVENTS * ROWS), rel=1e-8
    )
    assert _score(result, "missing_share", "colour").value == 0


@pytest.fixture
def window_of(where: DatabaseAddress) -> Callable[[Log], WindowState]:
    """Return a function that ingests a log and returns its only window."""

    def run(log: Log) -> WindowState:
        Monitor(where, log.records).drain()
        ((body,),) = Database(where).all("SELECT body FROM windows")
        return as_struct(body, WindowState)

    return run


def _x(*values: Any) -> dict[str, Any]:
    return {"rows": len(values), "inputs": {"x": Tensor("FP32", [len(values), 1], list(values))}}


def _answer(rows: int) -> dict[str, Any]:
    return {
        "outputs": {
            "label": Tensor("INT64", [rows], [1] * rows),
            "probabilities": Tensor("FP32", [rows, 2], [0.25, 0.75] * rows),
        }
    }


def test_row_is_counted_once_and_rows_without_payload_separately(
    window_of: Callable[[Log], WindowState],
) -> None:
    log = Log()
    log.predict(T0, "a", **_x(1.0, None, 41.0), **_answer(3))
    log.predict(T0, "b", **_x("Infinity"), **_answer(1))
    log.records += log.records[:2]
    log.predict(T0, "c", rows=2, payload="dropped", inputs={}, outputs={})
    log.predict(T0, "d", outcome="failed", **_x(None), outputs={})
    state = window_of(log)
    assert (state.rows, state.counted) == (6, True)
    inputs = state.inputs
    assert (inputs.rows, inputs.withheld, inputs.missing, inputs.outside) == (4, 2, [1], [2])


def test_rows_beyond_the_buffer_are_counted(
    window_of: Callable[[Log], WindowState],
) -> None:
    log = Log()
    for n in range(3):
        log.predict(T0 + n, f"p{n}", **_x(*[0.5, None] * 1500), **_answer(3000))
    assert window_of(log).inputs.missing == [4500]


def test_accuracy_of_a_large_window_is_exact_in_any_order_of_labels(
    version: Version, tmp_path: Path
) -> None:
    chance = np.random.default_rng(4)
    log, labels = Log(), []
    for n in range(EVENTS):
        predicted, truth = chance.integers(0, 2, (2, ROWS)).tolist()
        _predict(log, n, [0.5] * ROWS, ["red"] * ROWS, predicted)
        labels += [(f"p{n}", row, one, predicted[row]) for row, one in enumerate(truth) if row % 4]
    for at in chance.permutation(len(labels)):
        name, row, truth, _ = labels[at]
        log.tell(name, truth, row)
        if at % 10 == 0:
            log.tell(name, truth if at % 20 else 1 - truth, row)
    log.pass_time(T0 + 2 * HOUR)
    where = tmp_path / "monitor.db"
    scorer = RealScorer(version, tmp_path)
    Monitor(where, log.records, scorer=scorer, find=lambda *_: version).drain(3000)
    (result,) = Store(where).results("tiny", "1")
    pairs = [(truth, predicted) for _, _, truth, predicted in labels]
    hits = sum(truth == predicted for truth, predicted in pairs)
    assert (result.labelled, result.sampled) == (len(pairs), 1000)
    accuracy = _score(result, "accuracy")
    assert accuracy.value == float(f"{hits / len(pairs):.9g}")
    assert accuracy.low is not None
    assert accuracy.high is not None
    width = 2 * 1.96 * 0.5 / len(pairs) ** 0.5
    assert accuracy.high - accuracy.low == pytest.approx(width, rel=0.5)
    expected = {f"{t}": {f"{s}": pairs.count((t, s)) for s in (0, 1)} for t in (0, 1)}
    assert result.confusion == expected
    recall = pairs.count((1, 1)) / sum(truth for truth, _ in pairs)
    assert _score(result, "recall").value == pytest.approx(recall, abs=1e-9)
    assert f"of {len(pairs):,} labels" in _score(result, "roc_auc").note
    assert "labels" not in accuracy.note


def test_early_late_and_unsampled_labels_are_compared_once(
    window_of: Callable[[Log], WindowState],
) -> None:
    log = Log()
    log.tell("p0", 1)
    log.tell("p0", 0)
    for n in range(90):
        log.predict(T0 + n, f"p{n}")
        log.tell(f"p{n}", n % 2)
        log.tell(f"p{n}", n % 3)
    log.predict(T0 + 90, "dropped", payload="dropped", inputs={}, outputs={})
    log.tell("dropped", 1)
    state = window_of(log)
    assert (state.rows, state.labelled) == (91, 91)
    assert state.answers.confusion.cells == {"0": {"1": 44}, "1": {"1": 46}}
    assert (state.answers.confusion.rows, state.answers.confusion.hits) == (90, 46)


def test_regression_errors_are_summed_exactly_in_any_order(where: DatabaseAddress) -> None:
    regression = replace(
        VERSION.manifest, task="regression", prediction=Prediction("label"), target="y"
    )
    version = replace(VERSION, manifest=regression)
    log = Log()
    for n in range(60):
        reported = {"label": Tensor("FP64", [1], [n / 7])}
        log.predict(T0 + n, f"p{n}", outputs=reported)
    names = [f"p{n}" for n in range(60)]
    random.Random(2).shuffle(names)
    for name in names:
        log.tell(name, 0.1)
    log.tell("p0", "cheap")
    Monitor(where, log.records, find=lambda *_: version).drain(7)
    ((body,),) = Database(where).all("SELECT body FROM windows")
    errors = as_struct(body, WindowState).answers.errors
    differences = [n / 7 - 0.1 for n in range(60)]
    assert (errors.rows, errors.undefined) == (60, 0)
    assert errors.errors.mean(1) == math.fsum(differences)
    assert errors.absolute.mean(1) == math.fsum(map(abs, differences))
    assert errors.squares.mean(1) == float(sum(Fraction(one) ** 2 for one in differences))


def test_counts_of_panes_add_up_to_their_windows(where: DatabaseAddress) -> None:
    policy = WindowPolicy(length=None, rows=30, step=300, grace=1200, max_rows=20)
    monitoring = replace(VERSION.manifest.monitoring, window=policy)
    version = replace(VERSION, manifest=replace(VERSION.manifest, monitoring=monitoring))
    records = eight_hours().records
    Monitor(where, records, find=lambda *_: version).drain(50)
    found = Database(where).all("SELECT body FROM windows")
    states = [as_struct(body, WindowState) for (body,) in found]
    assert all(state.counted for state in states)
    events = [one.event for one in records if isinstance(one.event, PredictionEvent)]
    values = [event.inputs["x"].data[0] for event in events]
    assert sum(sum(state.inputs.missing) for state in states) == values.count(None)
    outside = values.count(-1.0) + values.count("Infinity")
    assert sum(sum(state.inputs.outside) for state in states) == outside


def test_window_without_a_readable_reference_has_no_counts(
    tmp_path: Path,
) -> None:
    log = Log()
    for n in range(60):
        log.predict(T0 + n, f"p{n}")
    log.pass_time(T0 + 2 * HOUR)
    nowhere = replace(VERSION, path=str(tmp_path / "nowhere"))
    scorer = FakeScorer()
    Monitor(tmp_path / "monitor.db", log.records, scorer=scorer, find=lambda *_: nowhere).drain()
    assert [job.inputs for job in scorer.jobs] == [None]
    assert len(scorer.jobs[0].columns["x"]) == 40


def test_window_begun_by_an_earlier_release_is_not_counted() -> None:
    begun = msgspec.json.decode(b'{"start": 0, "end": 1, "rows": 5}', type=WindowState)
    assert not begun.counted
    assert WindowState(0, 1).counted


def test_only_windows_larger_than_their_sample_are_scored_from_counts(tmp_path: Path) -> None:
    log, scorer = Log(), FakeScorer()
    for n in range(41):
        log.predict(T0 + n, f"a{n}")
    for n in range(40):
        log.predict(T0 + HOUR + n, f"b{n}")
    log.pass_time(T0 + 3 * HOUR)
    Monitor(tmp_path / "monitor.db", log.records, scorer=scorer).drain()
    assert [job.inputs is not None for job in scorer.jobs] == [True, False]
