"""Prometheus and Alertmanager accept their configuration, and each alert fires as documented."""

import re
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.prometheus_tools import PROMETHEUS, RULES, run

ROOT = Path(__file__).parents[2]
CASES = Path(__file__).parent / "alerts_test.yml"
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


def _alerts() -> list[dict[str, Any]]:
    groups = [group for path in RULES for group in yaml.safe_load(path.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"] if "alert" in rule]


def test_prometheus_accepts_its_configuration_and_every_rule() -> None:
    assert "valid prometheus config" in run(
        "promtool", "check", "config", PROMETHEUS / "prometheus.yml"
    )
    run("promtool", "check", "rules", *RULES)


def test_alertmanager_accepts_its_example() -> None:
    run("amtool", "check-config", PROMETHEUS / "alertmanager.yml")


def test_every_alert_is_quiet_before_its_condition_and_fires_after_it() -> None:
    assert "SUCCESS" in run("promtool", "test", "rules", CASES)


def test_no_alert_is_without_a_case() -> None:
    cases = CASES.read_text()
    assert [a["alert"] for a in _alerts() if f'alertname="{a["alert"]}"' not in cases] == []


def test_every_alert_has_its_runbook_and_every_runbook_its_alert() -> None:
    linked = {ROOT / alert["annotations"]["runbook_url"] for alert in _alerts()}
    pages = set((ROOT / "docs" / "runbooks").glob("Driftline*.md"))
    assert linked == pages
    for page in pages:
        sections = [line for line in page.read_text().splitlines() if line.startswith("## ")]
        assert sections == ["## Meaning", "## Diagnosis", "## Mitigation"]


def test_an_alert_is_described_as_in_its_runbook() -> None:
    for alert in _alerts():
        page = (ROOT / alert["annotations"]["runbook_url"]).read_text()
        meaning = page.partition("## Meaning\n\n")[2].partition("\n\n")[0]
        shown = _LINK.sub(r"\1", " ".join(meaning.split())).replace("`", "")
        assert alert["annotations"]["description"] == shown, alert["alert"]
