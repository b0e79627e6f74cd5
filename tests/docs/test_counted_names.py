"""Every event counter is explained in docs/ledger.md."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_counter_is_explained() -> None:
    code = "".join(path.read_text() for path in (ROOT / "monitoring").rglob("*.py"))
    counters = set(re.findall(r'\._?count\(\s*"(\w+)"', code))
    page = (ROOT / "docs" / "ledger.md").read_text()
    assert len(counters) > 12
    assert {name for name in counters if f"`{name}`" not in page} == set()
