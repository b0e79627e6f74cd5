"""The committed dashboards are what the script writes, and hang together."""

import json
import subprocess
import sys
from pathlib import Path

import yaml

GRAFANA = Path(__file__).parents[2] / "deploy" / "grafana"
COMMITTED = sorted((GRAFANA / "dashboards").glob("*.json"))


def test_the_committed_dashboards_are_what_the_script_writes(tmp_path: Path) -> None:
    subprocess.run([sys.executable, GRAFANA / "build.py", tmp_path], check=True)
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_text() for path in COMMITTED}


def test_every_dashboard_has_a_place_of_its_own_and_a_link_to_the_others() -> None:
    boards = [json.loads(path.read_text()) for path in COMMITTED]
    assert len({board["uid"] for board in boards}) == len(boards) == 4
    for board in boards:
        assert [link["tags"] for link in board["links"]] == [["driftline"]]
        assert "driftline" in board["tags"]


def test_the_data_source_is_provisioned() -> None:
    path = GRAFANA / "provisioning" / "datasources" / "prometheus.yml"
    (source,) = yaml.safe_load(path.read_text())["datasources"]
    assert source["type"] == "prometheus"
