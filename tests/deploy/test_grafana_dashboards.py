"""The committed dashboards equal the generated ones and are linked."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

GRAFANA = Path(__file__).parents[2] / "deploy" / "grafana"
COMMITTED = sorted((GRAFANA / "dashboards").glob("*.json"))


def test_the_committed_dashboards_equal_the_generated_ones(tmp_path: Path) -> None:
    subprocess.run([sys.executable, GRAFANA / "build.py", tmp_path], check=True)
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_text() for path in COMMITTED}


def test_every_dashboard_has_a_place_of_its_own_and_a_link_to_the_others() -> None:
    boards = [json.loads(path.read_text()) for path in COMMITTED]
    assert len({board["uid"] for board in boards}) == len(boards) == 4
    for board in boards:
        boards_link, page = board["links"]
        assert boards_link["tags"] == ["driftline"]
        assert page["url"] == "${status_page}"
        assert "driftline" in board["tags"]


def test_the_data_source_is_provisioned() -> None:
    path = GRAFANA / "provisioning" / "datasources" / "prometheus.yml"
    (source,) = yaml.safe_load(path.read_text())["datasources"]
    assert source["type"] == "prometheus"


def test_panels_never_mix_models() -> None:
    for board in (json.loads(path.read_text()) for path in COMMITTED):
        models = [one for one in board["templating"]["list"] if one["name"] == "model"]
        assert not any(one.get("multi") or one.get("includeAll") for one in models), board["uid"]


def test_dashboards_are_drawn_with_the_answers_of_a_prometheus(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(GRAFANA))
    pictures = importlib.import_module("pictures")
    asked: list[str] = []

    def ask(query: str) -> list[dict[str, Any]]:
        asked.append(query)
        if "traffic" in query:
            return []
        labels = {"model": "<b>m</b>", "version": "3", "score": "accuracy"}
        return [
            {"metric": labels | {"le": bound}, "values": [[0, str(total)], [60, str(total + 1)]]}
            for bound, total in (("0.1", 4), ("+Inf", 9))
        ]

    pages = [pictures.page(json.loads(path.read_text()), ask) for path in COMMITTED]
    assert [query for query in asked if "$" in query] == []
    assert "Measured: accuracy" in "".join(pages)
    assert ["No data" in page for page in pages] == [False, True, False, False], "traffic alone"
    assert "<b>m</b>" not in "".join(pages)
    assert "highest: 5" in pages[-1], "a bucket without those below it"
