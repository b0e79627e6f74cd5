"""`driftline models` with many models: bounded, filtered by a pattern, and with unbroken lines."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from driftline.cli import driftline
from eventlog.settings import Home
from registry.history.rows import HistoryRow, Registration, encode_detail
from registry.history.store import History

_REGISTERED = 1_796_014_320_000_000  # 2026-11-30 04:52 UTC


@pytest.fixture(autouse=True)
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    """The history of a machine that has fetched no files yet."""
    home = Home(tmp_path / "home")
    monkeypatch.setenv("DRIFTLINE_HOME", str(home.root))
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    monkeypatch.setenv("DRIFTLINE_ARTIFACTS", (tmp_path / "artifacts").as_uri())
    monkeypatch.delenv("COLUMNS", raising=False)
    home.root.mkdir()
    return History(home.registry)


def _fill(history: History, model: str, versions: int, **aliases: str) -> None:
    rows = [
        HistoryRow(
            0, model, "registered", str(number), _REGISTERED, "ann",
            detail=encode_detail(Registration({"model.onnx": "e" * 64})), digest=f"{number:064x}",
        )
        for number in range(1, versions + 1)
    ]  # fmt: skip
    promoted = [
        HistoryRow(0, model, "promoted", number, _REGISTERED, "ann", alias)
        for alias, number in aliases.items()
    ]
    history.append(model, lambda _: [*rows, *promoted])


def _run(*arguments: str, **environment: str) -> Result:
    result = CliRunner().invoke(driftline, ["models", *arguments], env=environment)
    assert result.exit_code == 0, result.output
    return result


def _rows(result: Result) -> list[list[str]]:
    return [line.split() for line in result.stdout.splitlines()[1:]]


def test_each_model_is_one_line_with_aliases_and_newest_version(history: History) -> None:
    _fill(history, "taxi", 11, champion="9", canary="11")
    _fill(history, "flights", 2)
    assert _rows(_run()) == [
        ["flights", "2", "2", "2026-11-30"],
        ["taxi", "11", "canary", "11,", "champion", "9", "11", "2026-11-30"],
    ]


def test_the_list_ends_with_the_number_of_omitted_models(history: History) -> None:
    for model in ("a", "b", "c", "d"):
        _fill(history, model, 2)
    result = _run("--limit", "3")
    assert [row[0] for row in _rows(result)] == ["a", "b", "c"]
    assert result.stderr.startswith("1 more models: list all with --limit 4, or select")
    assert _run("--limit", "4").stderr == ""


def test_a_pattern_selects_models_and_a_name_lists_its_versions(history: History) -> None:
    for model in ("team-a-1", "team-a-2", "team-b", "fraud"):
        _fill(history, model, 2, champion="1")
    selected = _rows(_run("team-a-*,fraud"))
    assert [row[:3] for row in selected] == [
        [model, "2", "champion"] for model in ("fraud", "team-a-1", "team-a-2")
    ]
    versions = [["fraud", "1", "champion"], ["fraud", "2", "2026-11-30"]]
    assert [row[:3] for row in _rows(_run("fraud"))] == versions
    assert [row[:3] for row in _rows(_run("f*", "--versions"))] == versions
    assert "No model matches 'team-c-*'" in _run("team-c-*").stdout


def test_json_output_has_one_line_per_version(history: History) -> None:
    for number in range(101):
        _fill(history, f"m-{number:03}", 1, champion="1")
    lines = [json.loads(line) for line in _run("--json").stdout.splitlines()]
    assert [line["model"] for line in lines] == [f"m-{number:03}" for number in range(101)]
    assert lines[0]["aliases"] == ["champion"]
    assert len(_run("--json", "--limit", "2").stdout.splitlines()) == 2
    assert _run("none", "--json").stdout == ""


@pytest.mark.parametrize(
    ("arguments", "time"), [((), "2026-11-30"), (("--versions",), "2026-11-30 04:52")]
)
def test_times_and_numbers_are_not_wrapped_at_80_columns(
    history: History, arguments: tuple[str, ...], time: str
) -> None:
    _fill(history, "taxi", 2, champion="2", **{f"region-{n}": "1" for n in range(9)})
    _fill(history, "n" * 63, 1)
    wide, narrow = _run(*arguments), _run(*arguments, COLUMNS="80")
    assert len(narrow.stdout.splitlines()) > len(wide.stdout.splitlines())
    assert max(map(len, narrow.stdout.splitlines())) <= 80
    assert wide.stdout.count(time) == narrow.stdout.count(time)
    assert "n" * 63 in wide.stdout
