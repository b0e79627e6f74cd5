"""Whatever fails, every reply is in the topic: clients record replies, a checker compares.

Short in `make test`, long in `make chaos`; both print their figures.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventlog.forwarder import BATCH
from eventlog.kafka import KafkaSettings
from tests.depth import by_depth
from tests.integration.chaos.proxy import Proxy
from tests.integration.chaos.stage import Stage
from tests.integration.conftest import Broker
from tests.service.conftest import Service

pytestmark = pytest.mark.timeout(3600)


def _service(root: Path, free_port: Callable[[], int]) -> Service:
    service = Service(root, free_port, workers="2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(root / "bentoml"))
        service.start_champion()
    return service


# First: the service and the clients of the other tests are not there yet.
def test_one_of_three_brokers_killed(
    three_brokers: list[Broker], tmp_path: Path, free_port: Callable[[], int]
) -> None:
    servers = ",".join(broker.bootstrap for broker in three_brokers)
    settings = KafkaSettings(bootstrap_servers=servers)
    stage = Stage(_service(tmp_path, free_port), settings, replicas=3)
    try:
        stage.create_topics()
        stage.rest()
        since = time.monotonic()
        three_brokers[0].kill()
        stage.clients.until(more=500, seconds=by_depth(1, 30))
        stage.check("one of three brokers killed", since)
    finally:
        stage.stop()


class Alone(Stage):
    """With one broker, behind a proxy."""

    broker: Broker
    proxy: Proxy

    def up(self) -> None:
        """Whatever is not there yet."""
        if not self.calm:
            self.absent(0.5)

    def absent(self, seconds: float) -> None:
        """The broker comes only after the service has been at work for a while."""
        self.clients.until(more=300, seconds=seconds)
        self.broker.start()
        self.create_topics()
        self.rest()


@pytest.fixture(scope="module")
def stage(
    kafka_libraries: Path, tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[Alone]:
    root = tmp_path_factory.mktemp("alone")
    proxy = Proxy(free_port(), port := free_port())
    broker = Broker(kafka_libraries, root / "kafka", port, [free_port()], advertised=proxy.port)
    stage = Alone(_service(root, free_port), KafkaSettings(bootstrap_servers=broker.bootstrap))
    stage.broker, stage.proxy = broker, proxy
    yield stage
    stage.stop()
    broker.stop()
    proxy.stop()


def test_broker_absent_at_start(stage: Alone) -> None:
    since = time.monotonic()
    stage.absent(by_depth(1, 30))
    stage.check("broker absent at start", since)


def test_broker_killed(stage: Alone) -> None:
    stage.up()
    since = time.monotonic()
    times = by_depth(1, 10)
    for _ in range(times):
        stage.broker.kill()
        stage.clients.until(more=300, seconds=by_depth(1, 30))
        stage.broker.start()
        stage.clients.until(more=300)
    stage.check(f"broker killed {times} times", since)


def test_broker_frozen(stage: Alone) -> None:
    stage.up()
    since = time.monotonic()
    stage.broker.freeze()
    stage.clients.until(more=300, seconds=by_depth(4, 60))  # longer than a batch may take
    stage.broker.thaw()
    stage.check("broker frozen", since)


@pytest.mark.nightly  # test_connection_reset is its short version
def test_connection_cut(stage: Alone) -> None:
    stage.up()
    since = time.monotonic()
    stage.proxy.cut()
    stage.clients.until(more=300, seconds=by_depth(1, 30))
    stage.proxy.heal()
    stage.check("connection cut", since)


def test_connection_slowed(stage: Alone) -> None:
    stage.up()
    since = time.monotonic()
    stage.proxy.delay = 0.2
    stage.clients.until(more=300, seconds=by_depth(1, 30))
    stage.proxy.heal()
    stage.check("connection slowed by 200 ms a chunk", since)


def test_connection_reset(stage: Alone) -> None:
    stage.up()
    since = time.monotonic()
    times = by_depth(5, 100)
    for _ in range(times):
        stage.proxy.reset()
        stage.clients.until(more=150)
    stage.check(f"connection reset {times} times", since)


@pytest.mark.nightly  # test_forwarding_to_kafka.py recreates a topic every time
def test_topic_deleted(stage: Alone) -> None:
    stage.up()
    since = time.monotonic()
    stage.delete_topic()
    stage.clients.until(more=300)
    stage.create_topics()
    stage.check("topic deleted", since)


def test_broker_wiped_and_recreated(stage: Alone) -> None:
    stage.up()
    since = time.monotonic()
    stage.broker.kill()
    stage.broker.wipe()
    stage.clients.until(more=300, seconds=by_depth(0, 30))
    stage.broker.start()
    stage.create_topics()
    stage.check("broker wiped and recreated", since)


def test_forwarder_killed(stage: Alone) -> None:
    stage.up()
    before = stage.check("before the forwarder is killed", time.monotonic() - 1).duplicates
    since = time.monotonic()
    times = by_depth(3, 50)
    for _ in range(times):
        stage.kill_forwarder()
        stage.clients.until(more=200)
        stage.start_forwarder()
        stage.clients.until(more=400)
    topic = stage.check(f"forwarder killed {times} times", since)
    assert topic.duplicates - before <= times * BATCH


def test_serving_worker_killed(stage: Alone) -> None:
    stage.up()
    since = time.monotonic()
    times = by_depth(1, 50)
    for _ in range(times):
        stage.kill_worker()
        stage.clients.until(more=200)
    stage.check(f"serving worker killed {times} times", since)
