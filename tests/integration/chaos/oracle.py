"""The expected content of the topic: clients that record every reply they received."""

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from eventlog.kafka import KafkaSettings
from tests.depth import by_depth

# Requests a second, all clients together; a busy machine must still forward them all in time.
RATE = by_depth(60, 600)
CLIENTS = 12
_T = TypeVar("_T")


class Answer(msgspec.Struct, frozen=True):
    """One answered request."""

    prediction_id: str
    at: float  # time.monotonic() when it was answered
    seconds: float  # it took


class Clients:
    """Ask at a fixed rate until stopped; a client that loses its connection opens a new one."""

    def __init__(self, port: int, path: str, body: bytes, notes: Path) -> None:
        self.answers: list[Answer] = []
        self.failed = 0
        self._port = port
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        self._request = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
        self._notes = notes.open("a", buffering=1)
        self._stopping = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()), daemon=True)
        self._thread.start()

    def until(self, more: int = 0, seconds: float = 0.0) -> None:
        """Return once so many more were answered and so much time has passed.

        A short run, whose clients ask less often, waits for two fifths of them.
        """
        wanted = len(self.answers) + by_depth(2 * more // 5, more)
        end = time.monotonic() + seconds
        deadline = end + 120
        while len(self.answers) < wanted or time.monotonic() < end:
            assert time.monotonic() < deadline, "the service does not answer"
            time.sleep(0.02)

    def stop(self) -> None:
        self._stopping = True
        self._thread.join()
        self._notes.close()

    async def _all(self) -> None:
        await asyncio.gather(*(self._client(number) for number in range(CLIENTS)))

    async def _client(self, number: int) -> None:
        pause = CLIENTS / RATE
        due = time.monotonic() + number * pause / CLIENTS
        while not self._stopping:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                while not self._stopping:
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                    # Who fell behind does not catch up: the others' requests count, too.
                    due = max(due + pause, time.monotonic() - pause)
                    await self._ask(reader, writer)
                writer.close()
            except (OSError, asyncio.IncompleteReadError):
                self.failed += 1
                await asyncio.sleep(0.05)

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = time.monotonic()
        writer.write(self._request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        size = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
        await reader.readexactly(size)
        if not head.startswith(b"http/1.1 200"):
            self.failed += 1
            return
        name = head.split(b"driftline-prediction-id:")[1].split(b"\r\n")[0].strip().decode()
        self._notes.write(f"{name}\n")
        now = time.monotonic()
        self.answers.append(Answer(name, now, now - sent))


def p99(answers: Collection[Answer]) -> float:
    """In milliseconds."""
    ordered = sorted(answer.seconds for answer in answers)
    return 1000 * ordered[int(0.99 * len(ordered))]


class Topic(msgspec.Struct):
    """What a topic was found to hold."""

    records: int = 0
    events: dict[str, set[str]] = {}  # prediction id -> ids of its events

    @property
    def duplicates(self) -> int:
        """Records that repeat an event."""
        return self.records - sum(len(ids) for ids in self.events.values())


def read_topic(settings: KafkaSettings, wanted: Collection[str], patience: float) -> Topic:
    """Read from the beginning to the end, and on until everything wanted was found."""
    deadline = time.monotonic() + patience
    consumer = KafkaConsumer(bootstrap_servers=settings.bootstrap_servers)
    try:
        topic = settings.predictions
        partitions = _asked(lambda: consumer.partitions_for_topic(topic), deadline)
        places = [TopicPartition(topic, n) for n in partitions or ()]
        consumer.assign(places)
        consumer.seek_to_beginning()
        ends = _asked(lambda: consumer.end_offsets(places), deadline)
        found, missing = Topic(), set(wanted)
        while missing or _asked(lambda: _is_behind(consumer, ends), deadline):
            assert time.monotonic() < deadline, f"{len(missing)} answers are not in the topic"
            for batch in consumer.poll(500).values():
                for record in batch:
                    name = msgspec.json.decode(record.value)["prediction_id"]
                    event_id = next(value for key, value in record.headers if key == "ce_id")
                    found.events.setdefault(name, set()).add(event_id.decode())
                    found.records += 1
                    missing.discard(name)
        return found
    finally:
        consumer.close()


def _asked(question: Callable[[], _T], deadline: float) -> _T:
    """The answer of whichever broker lives: the client may ask one first that was killed."""
    while True:
        try:
            return question()
        except KafkaError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _is_behind(consumer: KafkaConsumer, ends: Mapping[TopicPartition, int]) -> bool:
    return any(consumer.position(place) < end for place, end in ends.items())
