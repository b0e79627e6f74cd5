"""Two concurrent writers of one model do not undo each other's changes."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from onnx import TensorProto, helper

from driftline.changes import SetReleasePolicy, StartRollout
from driftline.cli import driftline
from driftline.first_promotion import promote_first
from driftline.local_actor import Actor
from eventlog.settings import Home
from registry.errors import InvalidGates, RegistryConflict, VersionRefused
from registry.history.store import History
from registry.store import Registry
from tests.tiny_model import as_model, register_tiny

ANN = Actor("local:ann")
Meanwhile = Callable[[Callable[[], object]], None]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home")


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """Let another writer in between what the next change reads and what it appends."""
    append = History.append

    def arrange(other: Callable[[], object]) -> None:
        def late(self: History, *arguments: Any, **options: Any) -> int:
            monkeypatch.setattr(History, "append", append)
            other()
            return append(self, *arguments, **options)

        monkeypatch.setattr(History, "append", late)

    return arrange


def run(*arguments: str) -> Result:
    return CliRunner().invoke(driftline, arguments)


def _golden_price(folder: Path, price: float) -> Result:
    """Add a golden request."""
    file = folder / f"{price:g}.json"
    inputs = {"price": [[price]], "colour": [["red"]]}
    file.write_text(json.dumps({"inputs": inputs, "outputs": {"label": [1]}}))
    return run("golden", "taxi", "--add", str(file), "--why", "a case")


def _prices(home: Home) -> Sequence[float]:
    gates = History(home.registry).state("taxi").policy.gates
    return [one["inputs"]["price"][0][0] for one in gates["golden"]["requests"]]


def _set_gates(home: Home, expected_revision: int | None = None) -> None:
    gates = {"small": {"kind": "size", "at_most_mb": 1}}
    SetReleasePolicy(
        policy={"gates": gates}, why="a bound", expected_revision=expected_revision
    ).apply(home, "taxi", ANN)


def _model_of_taxi(home: Home) -> History:
    history = History(home.registry)
    history.load("taxi", "", time=0, actor="ann")
    return history


def test_golden_requests_of_two_writers_are_all_stored(
    home: Home, tmp_path: Path, meanwhile: Meanwhile
) -> None:
    _model_of_taxi(home)
    meanwhile(lambda: _golden_price(tmp_path, 2.0))
    done = _golden_price(tmp_path, 1.0)
    assert "has 2 requests" in done.output, done.exception
    assert _prices(home) == [2.0, 1.0]
    meanwhile(lambda: _set_gates(home))  # in place of all gates
    assert "has 1 requests" in _golden_price(tmp_path, 3.0).output
    assert History(home.registry).state("taxi").policy.gates.keys() == {"small", "golden"}


def test_a_golden_request_is_removed_by_content_and_once(
    home: Home, tmp_path: Path, meanwhile: Meanwhile
) -> None:
    _model_of_taxi(home)
    for price in (1.0, 2.0, 3.0):
        _golden_price(tmp_path, price)
    remove = ("golden", "taxi", "--why", "sold no more", "--remove")
    meanwhile(lambda: run(*remove, "1"))
    assert "has 1 requests" in run(*remove, "2").output
    assert _prices(home) == [3.0]
    _golden_price(tmp_path, 4.0)
    meanwhile(lambda: run(*remove, "1"))
    refused = run(*remove, "1").exception
    assert isinstance(refused, InvalidGates)
    assert "removed from gate golden meanwhile" in str(refused)
    assert _prices(home) == [4.0]


def test_gates_edited_from_an_outdated_state_are_refused(home: Home, tmp_path: Path) -> None:
    read = _model_of_taxi(home).revision()
    _set_gates(home, read)
    for command, stated in (("gates", "gates: {}"), ("release-policy", "approvals: {}")):
        (tmp_path / "new.yaml").write_text(f"{stated}\n")
        done = run(
            command, "taxi", "--file", str(tmp_path / "new.yaml"), "--why", "mine",
            "--expected-revision", str(read),
        )  # fmt: skip
        assert isinstance(done.exception, RegistryConflict), done.output
        assert "local:ann release policy first, in revision 2" in str(done.exception)
    assert History(home.registry).state("taxi").policy.gates.keys() == {"small"}


def test_a_rollout_is_checked_against_the_champion_that_answers(
    home: Home, tmp_path: Path, meanwhile: Meanwhile
) -> None:
    registry = Registry(home)
    for description in ("one", "two"):
        register_tiny(registry, tmp_path / "files", promoted=True, description=description)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "other", [x], [y])
    other = registry.register(as_model(graph).SerializeToString(), model="tiny")
    meanwhile(lambda: registry.promote("tiny", other.number))
    with pytest.raises(VersionRefused, match="differ in their inputs"):
        StartRollout(number="2", steps=[0.5]).apply(home, "tiny", ANN)
    assert History(home.registry).state("tiny").rollouts == {}


def test_the_first_version_does_not_replace_a_persons_promotion(
    home: Home, tmp_path: Path, meanwhile: Meanwhile
) -> None:
    registry = Registry(home)
    first = register_tiny(registry, tmp_path / "files")

    def choose() -> None:
        register_tiny(registry, tmp_path / "files", description="two")
        registry.promote("tiny", "2", actor="ann")

    meanwhile(choose)
    assert not promote_first(registry, first, "bob")
    assert registry.aliases("tiny") == {"champion": "2"}
