"""The gates on the how-to page can be set as shown."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from eventlog.settings import Home
from registry.gates.specification import KINDS
from registry.gates.stated_gates import read_gates
from registry.store import Registry
from tests.tiny_model import register_tiny

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


def test_the_commands_of_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    registry = Registry(Home(tmp_path / "home"))
    register_tiny(registry, tmp_path / "files", "flights")
    registry.promote("flights", "1")
    register_tiny(registry, tmp_path / "files", "flights", lineage={"training_data": "spring"})
    script = "\n".join(re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL))
    ran = subprocess.run(
        ["bash", "-euc", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert registry.aliases("flights") == {"champion": "2"}
    assert "Gates of flights version 2" in (tmp_path / "report.html").read_text()
