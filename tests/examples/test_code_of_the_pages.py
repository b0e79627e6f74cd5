"""The Python code of README and tutorial runs unchanged, on the flights model."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eventlog.events import FeedbackEvent, PredictionEvent
from registry.manifest import Version
from registry.reference import load_reference
from tests.service.conftest import Service

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", ROOT / "docs" / "tutorial.md")


@pytest.fixture
def service(
    version: Version,
    build: Path,
    free_port: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Service]:
    """A service whose champion is the flights model."""
    monkeypatch.setenv("BENTOML_HOME", str(build / "bentoml"))
    service = Service(build, free_port)
    service.registry.promote(version.model, version.number)
    service.start()
    yield service
    service.stop()


def test_every_block_runs_and_its_answers_and_labels_are_logged(
    service: Service, version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    columns = [feature.name for feature in version.manifest.features]
    names: dict[str, Any] = {"frame": load_reference(version)[columns].head(3), "labels": [0, 1, 0]}
    blocks = [code for page in PAGES for code in _python(page)]
    assert len(blocks) == 3
    for code in blocks:
        here = code.replace("127.0.0.1:3000", f"127.0.0.1:{service.port}")
        exec(here.replace("127.0.0.1:8001", f"127.0.0.1:{service.grpc_port}"), dict(names))
    kinds = Counter(type(record.event) for record in service.events())
    assert kinds == {PredictionEvent: 2, FeedbackEvent: 3 + 1}  # one for each label


def _python(page: Path) -> list[str]:
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
