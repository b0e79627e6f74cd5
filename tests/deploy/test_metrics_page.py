"""The metrics page agrees with the declared metrics."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
_NAME = re.compile(r"\bdriftline_[a-z_]+\b")


def test_the_metrics_page_equals_the_declarations(tmp_path: Path) -> None:
    page = tmp_path / "metrics.md"
    subprocess.run(
        [sys.executable, ROOT / "deploy" / "metrics_page.py", page], check=True, cwd=ROOT
    )
    assert page.read_text() == (ROOT / "docs" / "metrics.md").read_text()


def test_every_metric_used_by_a_rule_or_panel_is_on_the_page() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    asked = [*(ROOT / "deploy" / "prometheus" / "rules").glob("*.yml")]
    asked += (ROOT / "deploy" / "grafana" / "dashboards").glob("*.json")
    assert asked
    for path in asked:
        names = set(_NAME.findall(path.read_text()))
        bare = {re.sub("_(bucket|sum|count)$", "", name) for name in names}
        assert [name for name in bare if f"`{name}`" not in page] == [], path.name
