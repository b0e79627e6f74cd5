"""A service under load with its forwarder and brokers, as the target of faults."""

import subprocess
import sys
import time
from typing import Any

from kafka import KafkaAdminClient

from eventlog.kafka import KafkaSettings, create_topics
from tests.crash import kill, replace_worker
from tests.integration.chaos.oracle import Clients, Topic, p99, read_topic
from tests.preloaded import Command


class Stage:
    """What runs; `check` compares what clients wrote down with what is in the topic."""

    def __init__(self, service: Any, settings: KafkaSettings, *, replicas: int = 1) -> None:
        self.settings = settings
        self.service = service
        self._replicas = replicas
        self._forwarder: subprocess.Popen[bytes] | None = None
        self.clients = Clients(
            service.port, "/v2/models/tiny/infer", _body(), service.root / "answered.txt"
        )
        self.calm = 0.0  # p99 before the first fault, in milliseconds
        self.start_forwarder()

    def start_forwarder(self) -> None:
        log = (self.service.root / "forward.log").open("ab")
        self._forwarder = Command(
            [sys.executable, "-m", "driftline", "forward"],
            env={
                **self.service.environment,
                "DRIFTLINE_KAFKA_BOOTSTRAP_SERVERS": self.settings.bootstrap_servers,
                "DRIFTLINE_KAFKA_TOPIC_PREFIX": self.settings.topic_prefix,
                "DRIFTLINE_KAFKA_ACKNOWLEDGE_WITHIN": "3",
            },
            stdout=log,
            stderr=log,
        )

    def kill_forwarder(self) -> None:
        assert self._forwarder is not None
        kill(self._forwarder)

    def kill_worker(self) -> None:
        """End one serving worker at once, and wait until another has taken its place."""
        replace_worker(self.service.supervisor)

    def rest(self) -> None:
        """Take the measure of a calm service."""
        self.clients.until(more=500)
        self.calm = p99(self.clients.answers[-500:])

    def create_topics(self) -> None:
        create_topics(self.settings, partitions=3, replicas=self._replicas)

    def delete_topic(self) -> None:
        admin = KafkaAdminClient(**self.settings.connection)
        admin.delete_topics([self.settings.predictions])
        while self.settings.predictions in admin.list_topics():
            time.sleep(0.05)
        admin.close()

    def check(self, fault: str, since: float) -> Topic:
        """Everything answered so far is in the topic, and once after de-duplication."""
        answers = list(self.clients.answers)
        wanted = {answer.prediction_id for answer in answers}
        assert len(wanted) == len(answers)
        until = time.monotonic()
        topic = read_topic(self.settings, wanted, patience=300)
        twice = [name for name in wanted if len(topic.events[name]) != 1]
        assert twice == []
        during = [answer for answer in answers if since <= answer.at <= until]
        print(
            f"\n{fault}: {len(during)} answered meanwhile at {len(during) / (until - since):.0f}/s,"
            f" p99 {p99(during):.1f} ms (before {self.calm:.1f} ms);"
            f" {len(answers)} answered in all, 0 of them missing in the topic,"
            f" {topic.duplicates} records repeated, complete {time.monotonic() - until:.1f} s later"
        )
        return topic

    def stop(self) -> None:
        self.clients.stop()
        self.kill_forwarder()
        self.service.stop()


def _body() -> bytes:
    return (
        b'{"inputs":[{"name":"price","datatype":"FP32","shape":[1,1],"data":[0.5]},'
        b'{"name":"colour","datatype":"BYTES","shape":[1,1],"data":["red"]}]}'
    )
