"""`driftline register`, `models` and `promote` on the command line."""

from pathlib import Path

import msgspec
import onnx
import pandas as pd
import pytest
import yaml
from click.testing import CliRunner, Result
from onnx import TensorProto, helper

from driftline.cli import driftline
from eventlog.process_lock import ProcessLock
from eventlog.settings import Home
from registry.errors import InvalidDescription, UnknownModel, UnknownVersion

MANIFEST = {
    "task": "regression",
    "held_out": True,
    "target": "fare",
    "features": [{"name": "distance", "kind": "numeric"}],
    "prediction": {"label": "guess"},
}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A model that doubles the distance, as arguments of `register`; an empty home."""
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    distance = helper.make_tensor_value_info("distance", TensorProto.FLOAT, [None, 1])
    guess = helper.make_tensor_value_info("guess", TensorProto.FLOAT, [None, 1])
    double = helper.make_node("Add", ["distance", "distance"], ["guess"])
    graph = helper.make_graph([double], "double", [distance], [guess])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "model.onnx")
    (tmp_path / "manifest.yaml").write_text(yaml.safe_dump(MANIFEST))
    frame = pd.DataFrame({"distance": [1.0, 2.0, 3.0], "fare": [3.0, 2.0, 9.0]})
    frame.to_parquet(tmp_path / "reference.parquet")
    return [
        str(tmp_path / "model.onnx"),
        "--manifest", str(tmp_path / "manifest.yaml"),
        "--reference", str(tmp_path / "reference.parquet"),
    ]  # fmt: skip


def run(*arguments: str) -> Result:
    return CliRunner().invoke(driftline, arguments)


def test_an_empty_registry_prints_how_to_register_a_model(files: list[str]) -> None:
    assert files
    assert "No model is registered; see driftline register --help." in run("models").output


def test_the_first_version_of_a_model_is_promoted(files: list[str]) -> None:
    result = run("register", *files, "--name", "taxi")
    assert result.exit_code == 0
    assert "taxi version 1, sha256 " in result.output
    assert "taxi champion is version 1: to serve it, run driftline up" in result.output


def test_no_promote_names_the_next_step(files: list[str]) -> None:
    result = run("register", *files, "--name", "taxi", "--no-promote")
    assert "driftline promote taxi --version 1" in result.output
    assert run("models").output.splitlines()[1].split()[:2] == ["taxi", "1"]
    assert "champion" not in run("models").output


def test_next_to_a_running_service_no_start_command_is_printed(files: list[str]) -> None:
    with ProcessLock(Home.from_environment().lock("service"), "service"):
        result = run("register", *files, "--name", "taxi")
    assert "taxi champion is version 1: the running service loads it" in result.output


def test_a_later_version_is_not_promoted_by_registration(files: list[str], tmp_path: Path) -> None:
    run("register", *files, "--name", "taxi")
    (tmp_path / "manifest.yaml").write_text(yaml.safe_dump(MANIFEST | {"description": "newer"}))
    assert "champion" not in run("register", *files, "--name", "taxi").output
    assert "taxi   1        champion" in run("models", "taxi").output
    assert run("models").output.splitlines()[1].split()[:4] == ["taxi", "2", "champion", "1"]


def test_the_file_alone_can_be_registered(files: list[str]) -> None:
    result = run("register", files[0], "--name", "taxi")
    assert result.exit_code == 0, result.output
    rows = [" ".join(line.split()) for line in result.output.splitlines()]
    assert "inputs distance: FP32 [any, 1]" in rows
    assert "outputs guess: FP32 [any, 1]" in rows
    assert "batches requests share runs of up to 256 rows" in rows
    assert "kind other: outputs are monitored through summaries" in rows
    assert "monitored requests, latency, errors" in rows
    assert "1 feature: distance" in rows
    assert any(row.startswith("question is output 'guess' the prediction?") for row in rows)
    assert "not monitored drift from the first window: --reference FILE adds it" in rows
    assert "performance: --reference FILE --target COLUMN adds it" in rows
    assert max(map(len, result.output.splitlines()[1:])) <= 80


@pytest.mark.parametrize(
    ("offset", "shown"),
    [(0, "from a Thursday on, like the Unix epoch"), (345_600, "7 days, from a Monday on")],
)
def test_the_day_on_which_weeks_begin_is_shown(
    files: list[str], tmp_path: Path, offset: int, shown: str
) -> None:
    weekly = {"window": {"length": 604_800, "offset": offset}}
    (tmp_path / "manifest.yaml").write_text(yaml.safe_dump(MANIFEST | {"monitoring": weekly}))
    result = run("register", *files, "--name", "taxi")
    assert shown in " ".join(result.output.split()), result.output


def test_models_are_listed_with_their_aliases(files: list[str]) -> None:
    run("register", *files, "--name", "taxi", "--no-promote")
    promoted = run("promote", "taxi", "--version", "1")
    assert "taxi champion is version 1 (registry revision 2)" in promoted.output
    assert "promote taxi" not in run("register", *files, "--name", "taxi").output
    assert run("models").output.splitlines()[1].split()[:3] == ["taxi", "1", "champion"]


def test_a_reference_that_looks_like_training_data_is_a_warning(
    files: list[str], tmp_path: Path
) -> None:
    frame = pd.DataFrame({"distance": [1.0, 2.0, 3.0], "fare": [2.0, 4.0, 6.0]})
    frame.to_parquet(tmp_path / "reference.parquet")
    result = run("register", *files, "--name", "taxi")
    assert result.exit_code == 0
    assert "warning: R2 on the reference is 1.0000, which is implausibly good" in result.stderr


def test_an_unknown_version_is_an_error_with_the_existing_versions(files: list[str]) -> None:
    run("register", *files, "--name", "taxi")
    error = run("promote", "taxi", "--version", "7").exception
    assert isinstance(error, UnknownVersion)
    assert "versions: 1" in str(error)


def test_a_missing_file_is_refused_by_name(files: list[str]) -> None:
    result = run("register", "nowhere.onnx", *files[1:], "--name", "taxi")
    assert result.exit_code == 2
    assert "nowhere.onnx" in result.stderr


def test_a_reference_and_its_target_are_sufficient(files: list[str], tmp_path: Path) -> None:
    reference = str(tmp_path / "reference.parquet")
    arguments = ["--name", "taxi", "--reference", reference, "--target", "fare"]
    result = run("register", files[0], *arguments)
    assert "regression, predicted by output 'guess'" in result.output
    assert "was the model trained on the rows of the reference?" in " ".join(result.output.split())
    assert "question" not in run("register", files[0], *arguments, "--held-out").output


def test_a_manifest_is_printed_to_be_edited(files: list[str], tmp_path: Path) -> None:
    rows = ["--reference", str(tmp_path / "reference.parquet"), "--target", "fare"]
    printed = run("manifest", files[0], *rows)
    assert printed.exit_code == 0
    assert "# QUESTION: was the model trained" in printed.output
    assert "  - {name: distance, kind: numeric, nullable: false, input: distance" in printed.output
    (tmp_path / "edited.yaml").write_text(printed.output)
    inferred = run("register", files[0], "--name", "taxi", *rows)
    edited = run(
        "register", files[0], "--name", "taxi", "--manifest", str(tmp_path / "edited.yaml"), *rows
    )
    assert inferred.output.splitlines()[0] == edited.output.splitlines()[0]


def test_owner_and_tags_are_set_listed_and_recorded(files: list[str]) -> None:
    wrong = run("register", *files, "--name", "taxi", "--tag", "Tier 1")
    assert isinstance(wrong.exception, InvalidDescription)
    assert "No model is registered" in run("models").output, "refused before it is registered"
    registered = run("register", *files, "--name", "taxi", "--owner", "Ann", "--tag", "tier-1")
    assert registered.exit_code == 0, registered.output
    assert run("describe", "taxi").output == "taxi: owner Ann; tags tier-1\n"
    changed = run("describe", "taxi", "--tag", "pii", "--untag", "tier-1", "--why", "audit")
    assert changed.output == "taxi: owner Ann; tags pii\n"
    assert "description: owner Ann, tags pii" in " ".join(run("history", "taxi").output.split())
    assert run("describe", "taxi", "--owner", "").output == "taxi: owner none; tags pii\n"
    header, line = run("models").output.splitlines()
    assert "tags" in header
    assert "pii" in line
    listed = msgspec.json.decode(run("models", "--json").output)
    assert (listed.get("owner", ""), listed["tags"]) == ("", ["pii"])
    assert run("models", "--tag", "tier-1").output.startswith("No model has")
    assert run("models", "--tag", "pii").output.splitlines()[1].split()[0] == "taxi"
    for arguments in (["--untag", "none"], ["--tag", "x" * 64], ["--owner", "a\x1b"]):
        assert isinstance(run("describe", "taxi", *arguments).exception, InvalidDescription)
    assert isinstance(run("describe", "bus", "--tag", "x").exception, UnknownModel)
