"""Evidently's HTML with hostile data, escaped."""

import base64
import hashlib
import json
import re

import pytest

from monitoring.scoring.drift.report_page import sealed
from tests.hostile_names import NAMES


def _page(name: str) -> str:
    data = json.dumps({"title": name, "values": [name, 1.5]})
    return (
        "<!DOCTYPE html>\n<html>\n    <head>\n        <style>a{}</style>\n"
        f"<script>\n    var metric_0a1b = {data};\n"
        f"    var additional_graphs_metric_0a1b = {data};\n</script>\n"
        "</head>\n<body>\n<script>var lib = '<b>'</script>\n<script>draw()</script></body></html>"
    )


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_names_cannot_start_a_tag_and_are_displayed_unchanged(name: str) -> None:
    page = sealed(_page(name))
    assert len(re.findall("<", page)) == len(re.findall("<", sealed(_page("plain"))))
    lines = re.findall(r"^ *var (?:additional_graphs_)?metric_0a1b = (.*);$", page, re.MULTILINE)
    assert [json.loads(line) for line in lines] == [{"title": name, "values": [name, 1.5]}] * 2


def test_the_reports_policy_allows_only_its_own_scripts() -> None:
    page = sealed(_page("</script><script>alert(1)</script>"))
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts]
    allowed = " ".join(f"'sha256-{one}'" for one in hashes)
    policy = page.split('http-equiv="Content-Security-Policy" content="')[1].split('"')[0]
    assert f"; script-src {allowed}; " in policy
    assert policy.startswith("default-src 'none'")
    assert page.index("Content-Security-Policy") < page.index("<style>")
