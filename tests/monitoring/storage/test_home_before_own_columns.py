"""A home of the last release without own columns still opens."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from driftline.events import events
from eventlog.settings import Home
from monitoring.results import Result
from monitoring.score_jobs import ScoreJob
from monitoring.scoring.window_scorer import ScorerCache, WindowScorer
from monitoring.storage.store import Store
from registry.store import Registry

# Version 1 of `old` has the features `probability`, `label` and `x`. Three windows of 30 rows were
# scored, two of them with labels; the newest closed window has only refused requests.
BEFORE = Path(__file__).parent / "before_own_columns" / "home.tar.xz"
ROWS = 30


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("before")
    with tarfile.open(BEFORE) as archive:
        archive.extractall(folder, filter="data")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRIFTLINE_HOME", str(folder / "home"))
        patch.setenv("BENTOML_HOME", str(folder / "bentoml"))
        yield Home(folder / "home")


@pytest.fixture(scope="module")
def store(home: Home) -> Iterator[Store]:
    store = Store(home.root / "monitor.db")
    yield store
    store.close()


def _scored(store: Store) -> list[Result]:
    return [result for result in store.results("old", "1") if result.rows]


def test_every_stored_score_refers_to_one_column(store: Store) -> None:
    assert len(_scored(store)) == 3
    for result in _scored(store):
        about = [score.about for score in result.scores]
        assert len(set(about)) == len(about)
        assert {s.column for s in result.scores if s.name == "drift"} == {
            *("probability", "label", "x", "prediction", "@probability")
        }


def test_stored_rows_have_the_feature_named_label_and_the_labels(store: Store) -> None:
    rows = store.rows("old", "1", _scored(store)[0].window)
    assert list(rows)[:3] == ["probability", "label", "x"]
    assert rows["label"].dtype == float
    assert set(rows["@label"]) == {0, 1}


def test_stored_rows_are_scored_against_the_stored_reference(home: Home, store: Store) -> None:
    first = _scored(store)[0]
    table = store.rows("old", "1", first.window).to_dict(orient="list")
    scorer = WindowScorer(ScorerCache(Registry(home)), home.root / "reports")
    columns = {str(name): values for name, values in table.items()}
    job = ScoreJob(
        key="k", model="old", version="1", window=first.window, columns=columns, drift=True
    )
    found = {score.about: score.value for score in scorer.score(job).scores}
    before = {score.about: score.value for score in first.scores}
    assert found["missing_share", "label", ""] == 0.0, "labels do not replace the feature"
    for about in (("accuracy", "", ""), ("roc_auc", "", ""), ("drift", "x", "")):
        assert found[about] == before[about]
        assert found[about] is not None


def test_log_of_the_earlier_release_verifies(home: Home) -> None:
    found = CliRunner().invoke(events, ["verify"])
    assert found.exit_code == 0, found.output
