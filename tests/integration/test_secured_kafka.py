"""A real broker with TLS, client certificates and SCRAM, and foreign readers."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from cryptography.hazmat.primitives import serialization

from eventlog.errors import DriftlineError
from eventlog.events import PredictionEvent, Tensor
from eventlog.forwarder import Cursors, Forwarder
from eventlog.kafka import KafkaSettings, KafkaSink, create_topics
from eventlog.segments import SegmentReader, SegmentWriter
from tests.eventlog.event_makers import append
from tests.integration.conftest import CLUSTER, Broker
from tests.integration.test_forwarding_to_kafka import Forwarding, sequences_of, topic_records

EXAMPLE = Path(__file__).parents[2] / "examples" / "consumer.py"
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
LISTENERS = """
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL,\
SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
ssl.keystore.type=PEM
ssl.keystore.location={folder}/server.pem
ssl.truststore.type=PEM
ssl.truststore.location={folder}/ca.pem
listener.name.ssl.ssl.client.auth=required
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={login}
listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config={login}
"""
LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required;"


class Secured:
    """A node that listens in four ways."""

    def __init__(self, broker: Broker, folder: Path, free_port: Callable[[], int]) -> None:
        self.broker = broker
        self.folder = folder
        ways = ("SSL", "SASL_PLAINTEXT", "SASL_SSL")
        self._ports = {way: free_port() for way in ways}
        self._certify()
        more = ",".join(f"{way}://127.0.0.1:{port}" for way, port in self._ports.items())
        lines = broker.properties.read_text().splitlines()
        lines = [
            f"{line},{more}" if line.startswith(("listeners=", "advertised.listeners=")) else line
            for line in lines
        ]
        rest = LISTENERS.format(folder=folder, login=LOGIN)
        broker.properties.write_text("\n".join(lines) + rest)
        user = "SCRAM-SHA-512=[name=driftline,password=quite-secret]"
        format_ = ("format", "-t", CLUSTER, "--add-scram", user, "-c")
        broker.run_tool("kafka.tools.StorageTool", *format_)
        broker.start()

    def settings(self, way: Any, **given: Any) -> KafkaSettings:
        return KafkaSettings(
            bootstrap_servers=f"127.0.0.1:{self._ports[way]}",
            security_protocol=way,
            acknowledge_within=5,
            **given,
        )

    def file(self, name: str) -> str:
        return str(self.folder / name)

    def _certify(self) -> None:
        authority, stranger = trustme.CA(), trustme.CA()
        authority.cert_pem.write_to_path(self.file("ca.pem"))
        stranger.cert_pem.write_to_path(self.file("stranger.pem"))
        certificates = {
            "server": authority.issue_cert("127.0.0.1"),
            "client": authority.issue_cert("client@driftline.example"),
        }
        for name, certificate in certificates.items():
            key = serialization.load_pem_private_key(certificate.private_key_pem.bytes(), None)
            chain = b"".join(pem.bytes() for pem in certificate.cert_chain_pems)
            private = key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,  # the only one that Kafka reads
                serialization.NoEncryption(),
            )
            (self.folder / f"{name}.pem").write_bytes(private + chain)


@pytest.fixture(scope="module")
def secured(
    kafka_libraries: Path, tmp_path_factory: pytest.TempPathFactory, free_port: Callable[[], int]
) -> Iterator[Secured]:
    folder = tmp_path_factory.mktemp("secured")
    broker = Broker(kafka_libraries, folder / "kafka", free_port(), [free_port()])
    try:
        yield Secured(broker, folder, free_port)
    finally:
        broker.stop()


def _forward(home: Path, settings: KafkaSettings, name: str) -> int:
    """Write three events and forward what is there; how many were acknowledged."""
    writer = SegmentWriter.claim(home / "log", name, clock=lambda: 1)
    writer.append(
        [
            PredictionEvent(
                source=writer.source,
                epoch=1,
                sequence=n,
                time=1,
                received=2,
                prediction_id=f"{name}-{n}",
                model="flights",
                protocol="rest",
                outcome="ok",
                traceparent=TRACE,
                outputs={"label": Tensor("INT64", [1], [n])},
            )
            for n in range(3)
        ]
    )
    cursors, sink = Cursors(home / "forwarded.json"), KafkaSink(settings)
    try:
        create_topics(settings, partitions=2, replicas=1)
        forwarder = Forwarder(lambda at: SegmentReader(home / "log", at), sink, cursors, settings)
        return forwarder.step()
    finally:
        sink.close()
        cursors.close()


def test_events_are_sent_over_mutual_tls_and_scram(secured: Secured, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("quite-secret\n")
    client = {"ssl_certfile": secured.file("client.pem"), "ssl_keyfile": secured.file("client.pem")}
    user = {
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_username": "driftline",
        "sasl_password_file": str(tmp_path / "password"),
    }
    ways = [
        secured.settings("SSL", ssl_cafile=secured.file("ca.pem"), compression="zstd", **client),
        secured.settings("SASL_PLAINTEXT", **user),
        secured.settings("SASL_SSL", ssl_cafile=secured.file("ca.pem"), **user),
    ]
    for n, way in enumerate(ways):
        assert _forward(tmp_path / str(n), way, f"secured-{n}") == 3


@pytest.mark.parametrize("way", ["SSL", "SASL_SSL"])
def test_a_killed_and_frozen_secured_broker_loses_no_event(
    secured: Secured, tmp_path: Path, way: str
) -> None:
    client = {"ssl_certfile": secured.file("client.pem"), "ssl_keyfile": secured.file("client.pem")}
    user = {
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_username": "driftline",
        "sasl_password": "quite-secret",
    }
    given = client if way == "SSL" else user
    settings = secured.settings(way, ssl_cafile=secured.file("ca.pem"), **given)
    settings = msgspec.structs.replace(
        settings, acknowledge_within=2, topic_prefix=f"faults-{way.lower().replace('_', '-')}"
    )
    create_topics(settings, partitions=2, replicas=1)
    writer = SegmentWriter.claim(tmp_path / "log", "host", clock=lambda: 1)
    forwarding = Forwarding(tmp_path, settings)
    try:
        append(writer, 100)
        forwarding.until(100)
        secured.broker.kill()
        append(writer, 100)
        secured.broker.start()
        forwarding.until(200)
        secured.broker.freeze()
        append(writer, 100)
        forwarding.until_failed()
        secured.broker.thaw()
        forwarding.until(300)
    finally:
        forwarding.stop()
    plain = msgspec.structs.replace(
        settings, bootstrap_servers=secured.broker.bootstrap, security_protocol="PLAINTEXT"
    )
    assert set(sequences_of(topic_records(plain, plain.feedback))) == set(range(300))


@pytest.mark.parametrize(
    ("way", "given"),
    [
        ("SSL", {"ssl_cafile": "ca.pem"}),  # no certificate of its own
        ("SASL_SSL", {"ssl_cafile": "stranger.pem"}),
        ("SASL_PLAINTEXT", {"sasl_password": "wrong"}),
    ],
)
def test_a_refused_client_logs_the_reason_and_loses_no_event(
    secured: Secured, tmp_path: Path, way: str, given: dict[str, str]
) -> None:
    given = {name: secured.file(v) if "file" in name else v for name, v in given.items()}
    if way != "SSL":
        user = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "driftline"}
        given = {"sasl_password": "quite-secret"} | user | given
    settings = secured.settings(way, **given)
    settings = msgspec.structs.replace(settings, acknowledge_within=2)
    sink = KafkaSink(settings)
    writer = SegmentWriter.claim(tmp_path / "log", "refused")
    append(writer, 1)
    cursors = Cursors(tmp_path / "forwarded.json")
    forwarder = Forwarder(lambda at: SegmentReader(tmp_path / "log", at), sink, cursors, settings)
    with pytest.raises(DriftlineError):
        forwarder.step()
    assert cursors.positions == {}
    cursors.close()
    sink.close()


def test_ten_lines_of_another_program_read_the_topic(secured: Secured, tmp_path: Path) -> None:
    plain = KafkaSettings(bootstrap_servers=secured.broker.bootstrap)
    assert _forward(tmp_path, plain, "example") == 3
    code = [line for line in EXAMPLE.read_text().splitlines()[2:] if line]
    assert len(code) <= 13  # ten, and the imports
    command = [sys.executable, str(EXAMPLE), secured.broker.bootstrap]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as consumer:
        try:
            assert consumer.stdout is not None
            line = consumer.stdout.readline()
        finally:
            consumer.kill()
    assert line.startswith("flights ok {'label': {'datatype': 'INT64'")


def test_kcat_shows_readable_json_with_its_headers(secured: Secured, tmp_path: Path) -> None:
    if shutil.which("kcat") is None:
        pytest.skip("KCAT NOT TESTED: it is not on this machine (Debian package kcat)")
    plain = KafkaSettings(bootstrap_servers=secured.broker.bootstrap)
    assert _forward(tmp_path, plain, "kcat") == 3
    command = ["kcat", "-C", "-e", "-q", "-b", plain.bootstrap_servers, "-t", plain.predictions]
    deadline = time.monotonic() + 180
    found: list[list[str]] = []
    while len(found) < 3:
        assert time.monotonic() < deadline
        shown = subprocess.run(
            [*command, "-f", r"%h\t%k\t%s\n"], check=True, capture_output=True, text=True
        )
        rows = [line.split("\t") for line in shown.stdout.splitlines()]
        found = [row for row in rows if row[1].startswith("kcat-")]
    headers, key, value = found[0]
    assert "ce_specversion=1.0,ce_id=kcat-0:1:" in headers
    assert f"traceparent={TRACE}" in headers
    assert msgspec.json.decode(value)["prediction_id"] == key
