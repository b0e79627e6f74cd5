"""A Java client, generated from the service's OpenAPI document, predicts and sends a label."""

import hashlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from eventlog import wire
from eventlog.events import FeedbackEvent, PredictionEvent
from tests.once import CACHE, made_once
from tests.service.conftest import service

__all__ = ["service"]

_FOLDER = Path(__file__).parent / "openapi_client"
_POM = _FOLDER / "pom.xml"


def _jars() -> Path:
    """Return the folder of the generator and the client's libraries, fetched once per POM."""
    for tool in ("java", "javac", "mvn"):
        if shutil.which(tool) is None:
            pytest.skip(f"GENERATED CLIENT NOT TESTED: no {tool} on this machine")

    def download(folder: Path) -> None:
        fetch = ["dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
        subprocess.run(["mvn", "-q", "-B", "-f", _POM, *fetch], check=True)

    digest = hashlib.sha256(_POM.read_bytes()).hexdigest()[:12]
    return made_once(CACHE / f"generated-client-{digest}", download)


@pytest.fixture(scope="module")
def classpath(service: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Generate a client from the document of the running service, and compile it with a caller."""
    jars, root = _jars(), tmp_path_factory.mktemp("client")
    (generator,) = jars.glob("openapi-generator-cli-*.jar")
    document = root / "docs.json"
    document.write_bytes(service.http.get("/docs.json").raise_for_status().content)
    _run("java", "-jar", generator, "generate", "-g", "java", "-i", document, "-o", root)
    libraries = [str(jar) for jar in jars.glob("*.jar") if jar != generator]
    sources = (root / "src" / "main").rglob("*.java")
    classes = root / "classes"
    path = ":".join(libraries)
    _run("javac", "-nowarn", "-d", classes, "-cp", path, *sources, _FOLDER / "Caller.java")
    return f"{classes}:{path}"


def _run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-2_000:]}\n{done.stderr[-2_000:]}"
    return done.stdout


@pytest.mark.nightly
def test_a_generated_java_client_predicts_and_sends_a_label(service: Any, classpath: str) -> None:
    lines = _run("java", "-cp", classpath, "Caller", service.url).splitlines()
    assert lines[0] == "version 1"
    assert [line.split()[0:2] for line in lines[1:3]] == [["label", "1"], ["label", "0"]]
    assert all(line.endswith("of [0, 1]") for line in lines[1:3])
    assert lines[3:] == ["accepted 1", "refused 404"]
    events = [wire.decode(record.value) for record in service.events()]
    (prediction,) = [e for e in events if isinstance(e, PredictionEvent) and e.outcome == "ok"]
    assert prediction.inputs["price"].data == [3.0, None]
    assert prediction.inputs["colour"].data == ["red", "blue"]
    (label,) = [e for e in events if isinstance(e, FeedbackEvent)]
    assert (label.prediction_id, label.row, label.label) == (prediction.prediction_id, 1, 1)
