"""The images' commands run as their user on a read-only root, as an engine would run them."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from tests.deploy.composed import SERVICES, Composed
from tests.deploy.containers import PATIENCE, Bind, Container, Engine, Order
from tests.deploy.images import TARGETS, image
from tests.deploy.pods import Pod
from tests.postgres_server import PostgresServer
from tests.tiny_model import write_tiny

Installed = Callable[[str], Path]
# Runs where the image has Python and nothing else.
ASKS = """
import os, sys, urllib.request
url, key, body = sys.argv[1:]
headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {key}"} if key else {})
request = urllib.request.Request(url, body.encode() or None, headers)
print(urllib.request.urlopen(request, timeout=30).read().decode())
"""
PLACES = """
import os
folders = [folder for folder, _, _ in os.walk("/") if not folder.startswith("/proc")]
print(os.getuid(), *[folder for folder in folders if os.access(folder, os.W_OK)])
"""
WRITES_TO_KAFKA = """
from eventlog.kafka import KafkaSettings, KafkaSink, KafkaMessage
from eventlog.settings import from_environment
settings = from_environment(KafkaSettings, "DRIFTLINE_KAFKA_")
KafkaSink(settings).send([KafkaMessage(settings.predictions, b"", b"", [])])
"""
ROWS = [{"price": 5.0, "colour": "green"}]


def ask(container: Container, url: str, key: str = "", body: object = None) -> str:
    """What an address answers to a program in a container."""
    said = json.dumps(body) if body is not None else ""
    done = container.execute(["python", "-c", ASKS, url, key, said])
    assert done.returncode == 0, done.stderr + container.said()
    return done.stdout


def predict(container: Container, port: int, key: str = "") -> str:
    """The prediction id of a request whose rows were all answered."""
    call = {"model": "tiny", "rows": ROWS}
    reply = json.loads(ask(container, f"http://127.0.0.1:{port}/predict", key, call))
    assert len(reply["predictions"]) == len(ROWS)
    return str(reply["prediction_id"])


def metric(exposition: str, name: str) -> float:
    """The value of a metric without labels.

    Heartbeats are records too and come at any time, so an exact count of records holds by chance.
    """
    return float(exposition.split(f"\n{name} ", 1)[1].split("\n", 1)[0])


def until(holds: Callable[[], bool], *containers: Container) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "\n".join(one.said() for one in containers)
        time.sleep(0.2)


@pytest.fixture
def pythons(installed: Installed) -> Mapping[str, Path]:
    return {lock: installed(lock) for lock in sorted({image(name).lock for name in TARGETS})}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    (tmp_path / "engine").mkdir()
    engine = Engine(tmp_path / "engine", list(SERVICES))
    try:
        yield engine
    finally:
        engine.close()


@pytest.mark.nightly  # the pods below are its short version
@pytest.mark.timeout(600)  # a broker and nine runs of Java
def test_the_whole_compose_file_serves_forwards_and_watches(
    engine: Engine,
    tmp_path: Path,
    pythons: Mapping[str, Path],
    initialised: Callable[[], str],
    kafka_libraries: Path,
) -> None:
    initialised()
    composed = Composed(tmp_path, tmp_path / "secrets", pythons)
    running = {"kafka": engine.start(composed.kafka("kafka", kafka_libraries))}
    running["kafka"].until_healthy()
    engine.run(composed.kafka("kafka-users", kafka_libraries))
    assert "created driftline.predictions" in engine.run(composed.order("topics"))
    _register(engine, composed, tmp_path / "in")
    for name in ("service", "forwarder", "monitor", "receiver"):
        running[name] = engine.start(composed.order(name))
    for name in ("service", "monitor"):
        running[name].until_healthy()

    key = (tmp_path / "secrets" / "application-key").read_text().strip()
    label = {"prediction_id": predict(running["service"], 3000, key), "label": 1}
    ask(running["service"], "http://127.0.0.1:3000/v1/feedback", key, label)
    _everything_is_forwarded_and_monitored(running, tmp_path / "secrets")
    _only_the_forwarder_may_write(running)
    _nobody_can_write_elsewhere(running)
    del running["kafka"]  # a broker ends in its own time
    assert {name: one.stop() for name, one in running.items()} == dict.fromkeys(running, 0)


def _register(engine: Engine, composed: Composed, files: Path) -> None:
    """As docs/how-to/containers.md has it."""
    write_tiny(files)
    paths = [
        "/in/model.onnx",
        "--manifest",
        "/in/manifest.yaml",
        "--reference",
        "/in/reference.parquet",
    ]
    calls = {"register": [*paths, "--name", "tiny"], "promote": ["tiny", "--version", "1"]}
    for verb, words in calls.items():
        engine.run(composed.tools(verb, words, Bind(files, "/in")))


def _everything_is_forwarded_and_monitored(running: dict[str, Container], secrets: Path) -> None:
    key = (secrets / "prometheus-key").read_text().strip()
    parts = [running[name] for name in ("service", "forwarder", "monitor")]

    def forwarded() -> bool:
        said = ask(running["service"], "http://forwarder:3200/metrics")
        return metric(said, "driftline_forwarder_acknowledged_records_total") >= 2

    def monitored() -> bool:
        said = ask(running["monitor"], "http://monitor:3100/metrics", key)
        counts = re.findall(r"^driftline_monitored_events_total.* (\S+)$", said, re.MULTILINE)
        return sum(map(float, counts)) == 2

    until(forwarded, *parts)
    until(monitored, *parts)


def _only_the_forwarder_may_write(running: dict[str, Container]) -> None:
    refused = running["monitor"].execute(["python", "-c", WRITES_TO_KAFKA])
    assert "AuthorizationFailed" in refused.stderr


def _nobody_can_write_elsewhere(running: dict[str, Container]) -> None:
    for name in ("service", "forwarder", "monitor", "receiver"):
        done = running[name].execute(["python", "-c", PLACES])
        user, *places = done.stdout.split()
        assert int(user) == image("service").user
        declared = ("/tmp", "/dev/shm", *image("service").volumes)
        assert [one for one in places if not one.startswith(declared)] == []


def test_a_pod_serves_provisioned_models_and_ends_without_kafka(
    engine: Engine, tmp_path: Path, pythons: Mapping[str, Path], initialised: Callable[[], str]
) -> None:
    initialised()
    write_tiny(tmp_path / "models" / "tiny" / "1")
    brought = {"models": tmp_path / "models", "keys": tmp_path / "secrets"}
    pod = Pod("base/service.yaml", tmp_path, pythons, brought)
    assert "tiny champion is version 1" in engine.run(pod.order("models", {}))
    patient = {"DRIFTLINE_KAFKA_ACKNOWLEDGE_WITHIN": "3600"}
    signed = {"DRIFTLINE_SERVICE_ID_SECRETS": "4f1c9a2be07d5568"}
    orders = [pod.order("service", signed), with_variables(pod.order("forwarder", {}), patient)]
    service, _ = running = [engine.start(one) for one in orders]
    service.until_healthy()
    predict(service, 3000, (tmp_path / "secrets" / "application-key").read_text().strip())
    metrics, waiting = "http://127.0.0.1:3200/metrics", "driftline_forwarder_in_flight_records"
    until(lambda: metric(ask(service, metrics), waiting) >= 1, *running)
    assert [one.stop() for one in running] == [0, 0]


def test_a_monitors_pod_uses_postgresql_and_ends_without_kafka(
    engine: Engine,
    tmp_path: Path,
    pythons: Mapping[str, Path],
    initialised: Callable[[], str],
    postgres: PostgresServer,
) -> None:
    initialised()
    write_tiny(tmp_path / "models" / "tiny" / "1")
    brought = {"models": tmp_path / "models", "keys": tmp_path / "secrets"}
    pod = Pod("base/monitor.yaml", tmp_path, pythons, brought)
    engine.run(pod.order("models", {}))
    # The server's socket, because containers have a network of their own.
    postgres.folder.chmod(0o711)
    url = postgres.schema().replace("127.0.0.1", "").replace("?", "?host=/run/postgresql&")
    secrets = {"DRIFTLINE_MONITOR_DATABASE": url}
    socket = Bind(postgres.folder, "/run/postgresql")
    monitor = engine.start(pod.order("monitor", secrets, socket))
    monitor.until_healthy()
    assert monitor.stop() == 0


@pytest.mark.nightly
def test_a_pod_as_kserve_starts_it_replies(
    engine: Engine, tmp_path: Path, pythons: Mapping[str, Path]
) -> None:
    write_tiny(tmp_path / "models")
    pod = Pod("kserve/serving-runtime.yaml", tmp_path, pythons, {})
    models = Bind(tmp_path / "models", "/mnt/models")  # KServe's storage initializer brings them
    asked = pod.order("kserve-container", {}, models)
    container = engine.start(named(asked, "tiny"))
    container.until_healthy()
    predict(container, 8080)
    assert container.stop() == 0


def with_variables(asked: Order, more: Mapping[str, str]) -> Order:
    """With other settings than the manifest's."""
    return replace(asked, environment={**asked.environment, **more})


def named(asked: Order, model: str) -> Order:
    """With the name of the InferenceService filled in."""
    return replace(asked, command=[word.replace("{{.Name}}", model) for word in asked.command])
