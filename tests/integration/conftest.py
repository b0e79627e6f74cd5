"""A real Apache Kafka broker for the tests, which can be started, killed and frozen."""

import hashlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO

import pytest

from eventlog.kafka import KafkaSettings, create_topics
from tests.crash import kill
from tests.once import made_once

HEAP = ("-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")  # starts fast on few cores
CLUSTER = "4L6g3nShT-eMCtK--X86sw"
ARCHIVE = "kafka.jsa"


def _java_digest() -> str:
    """Name the Java that runs: another one cannot read this one's archive of classes."""
    java = Path(shutil.which("java") or "java").resolve()
    state = java.stat()
    return hashlib.sha256(f"{java}{state.st_size}{state.st_mtime_ns}".encode()).hexdigest()[:12]


class Broker:
    """One KRaft node on loopback, with all its data below one folder."""

    def __init__(
        self,
        libraries: Path,
        folder: Path,
        port: int,
        controllers: Sequence[int],
        *,
        node: int = 1,
        advertised: int | None = None,
        session: int = 2,
    ) -> None:
        """`controllers` are the ports of every node's controller, of node 1 first.

        `advertised` is the port that clients connect to, if it is not `port`. A killed node comes
        back, and another leads its partitions, `session` seconds later at the earliest.
        """
        self.bootstrap = f"127.0.0.1:{advertised or port}"
        self.port = port
        self._libraries = libraries
        self._controller = controllers[node - 1]
        self._java = ["java", *HEAP, "-cp", f"{libraries}/*"]
        self._classes = libraries.with_name(f"{libraries.name}-classes-{_java_digest()}")
        self._formatted = libraries.with_name(f"{libraries.name}-node-{node}")
        self._folder = folder
        self.data = folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self.properties = folder / "server.properties"
        folder.mkdir(parents=True, exist_ok=True)
        voters = [f"{n}@127.0.0.1:{controller}" for n, controller in enumerate(controllers, 1)]
        own = f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{self._controller}"
        self.properties.write_text(
            "process.roles=broker,controller\n"
            f"node.id={node}\n"
            f"controller.quorum.voters={','.join(voters)}\n"
            f"listeners={own}\n"
            f"advertised.listeners=PLAINTEXT://{self.bootstrap}\n"
            "controller.listener.names=CONTROLLER\n"
            f"broker.session.timeout.ms={1000 * session}\n"
            f"broker.heartbeat.interval.ms={200 * session}\n"
            f"log.dirs={folder}/data\n"
            f"offsets.topic.replication.factor={len(controllers)}\n"
            "offsets.topic.num.partitions=1\n"
            "transaction.state.log.replication.factor=1\n"
            "transaction.state.log.min.isr=1\n"
            "group.initial.rebalance.delay.ms=0\n"
            "auto.create.topics.enable=false\n"
        )

    def start(self, *, wait: bool = True) -> None:
        """Start on the data that is there, and wait until the node answers."""
        if not self.data.exists():
            shutil.copytree(made_once(self._formatted, self._format), self.data)
        # With it, a start costs half.
        archive = made_once(self._classes, self._archive_classes)
        with (self._folder / "broker.log").open("ab") as log:
            self._process = self._run(log, f"-XX:SharedArchiveFile={archive / ARCHIVE}")
        if wait:
            self.await_port()

    def kill(self) -> None:
        """End at once, as a crash does."""
        assert self._process is not None
        kill(self._process)

    def wipe(self) -> None:
        """Forget everything, as a new disk does; only while it does not run."""
        shutil.rmtree(self.data)

    def freeze(self) -> None:
        """Stop answering while every connection stays open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End for good."""
        if self._process is not None and self._process.poll() is None:
            self.thaw()
            self.kill()

    def _format(self, folder: Path) -> None:
        """Format a disk: it depends on the node's number alone, and starts a Java."""
        self.run_tool("kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c")
        shutil.move(self.data, folder)

    def _archive_classes(self, archive: Path) -> None:
        """Let a node of its own run on the same ports, and write the classes it has loaded."""
        folder = self._folder / "archive"
        node = Broker(self._libraries, folder, self.port, [self._controller])
        shutil.copytree(made_once(node._formatted, node._format), node.data)
        archive.mkdir()
        with (folder / "broker.log").open("wb") as log:
            node._process = node._run(log, f"-XX:ArchiveClassesAtExit={archive / ARCHIVE}")
        try:
            node.await_port()
            node._process.terminate()
            node._process.wait(timeout=180)
        finally:
            node.stop()

    def _run(self, log: IO[bytes], *options: str) -> "subprocess.Popen[bytes]":
        command = [*self._java, *options, "kafka.Kafka", str(self.properties)]
        return subprocess.Popen(command, stdout=log, stderr=log)

    def run_tool(self, tool: str, *arguments: str) -> None:
        command = [*self._java, tool, *arguments, str(self.properties)]
        subprocess.run(command, check=True, capture_output=True)

    def await_port(self) -> None:
        """Wait until the node answers."""
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                assert self._process is not None
                assert self._process.poll() is None, (self._folder / "broker.log").read_text()
                time.sleep(0.1)
            else:
                return
        raise TimeoutError("the broker did not open its port within 180 s")


@pytest.fixture
def broker(kafka_libraries: Path, tmp_path: Path, free_port: Callable[[], int]) -> Iterator[Broker]:
    """A node that is not started yet."""
    node = Broker(kafka_libraries, tmp_path / "kafka", free_port(), [free_port()])
    try:
        yield node
    finally:
        node.stop()


@pytest.fixture
def three_brokers(
    kafka_libraries: Path, tmp_path: Path, free_port: Callable[[], int]
) -> Iterator[list[Broker]]:
    """A running cluster of three nodes."""
    controllers = [free_port() for _ in range(3)]
    nodes = [
        Broker(kafka_libraries, tmp_path / f"kafka-{n}", free_port(), controllers, node=n)
        for n in (1, 2, 3)
    ]
    try:
        for node in nodes:
            node.start(wait=False)
        for node in nodes:
            node.await_port()
        yield nodes
    finally:
        for node in nodes:
            node.stop()


@pytest.fixture(scope="session")
def cluster(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    free_port: Callable[[], int],
) -> Iterator[str]:
    """Where a cluster answers that tests share: an existing one, or a node of our own."""
    if named := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield named
        return
    libraries = request.getfixturevalue("kafka_libraries")
    folder = tmp_path_factory.mktemp("kafka")
    node = Broker(libraries, folder, free_port(), [free_port()], session=9)  # never killed
    try:
        node.start()
        yield node.bootstrap
    finally:
        node.stop()


@pytest.fixture
def own_topics(cluster: str) -> KafkaSettings:
    """Names of topics of this test's own on the shared cluster, which has none of them yet."""
    return KafkaSettings(
        bootstrap_servers=cluster,
        acknowledge_within=60,
        topic_prefix=f"test-{secrets.token_hex(4)}",
    )


@pytest.fixture
def topics(own_topics: KafkaSettings) -> KafkaSettings:
    """Topics of this test's own, three partitions each, on the shared cluster."""
    create_topics(own_topics, partitions=3, replicas=1)
    return own_topics
