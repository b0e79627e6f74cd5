"""The gates of the how-to can be set as they stand on the page."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from registry.gates.specification import KINDS
from registry.gates.stated_gates import read_gates

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "gates.md").read_text()
BLOCKS = [
    *re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL),
    *re.findall(r"<<'END'\n(.*?)END\n", PAGE, re.DOTALL),
]


@pytest.mark.parametrize("block", BLOCKS)
def test_gates_are_read_as_the_page_states_them(block: str) -> None:
    stated: dict[str, Any] = yaml.safe_load(block)
    assert read_gates(stated["gates"])


def test_every_kind_and_its_fields_are_named() -> None:
    for name, kind in KINDS.items():
        assert f"| `{name}` |" in PAGE
        for field in kind.__struct_fields__:
            assert re.search(rf"`{field}\b", PAGE), f"{name}: {field}"
