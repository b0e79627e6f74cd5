"""Every name that the monitor counts by is explained."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_counter_is_explained() -> None:
    code = "".join(path.read_text() for path in (ROOT / "monitoring").rglob("*.py"))
    counted = set(re.findall(r'(?:totals\[|self\._count\()"(\w+)"', code))
    page = (ROOT / "docs" / "ledger.md").read_text()
    assert len(counted) > 7
    assert {name for name in counted if f"`{name}`" not in page} == set()
