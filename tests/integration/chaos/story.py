"""Hours of requests and labels of many models, as records of a cluster's topics."""

import random
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from eventlog import wire
from eventlog.events import Event, FeedbackEvent, PredictionEvent, Tensor
from eventlog.kafka import KafkaSettings, KafkaSink, message
from eventlog.log import Record
from eventlog.settings import Home
from eventlog.shards import tag_of
from registry.bounded.check import check_in_process
from registry.manifest_file import read_fields
from registry.store import Registry
from tests.tiny_model import BINARY, write_tiny

HOUR = 3_600_000_000
T0 = 1_372_636_800_000_000
MONITORING = {
    "window": {"length": 3600, "grace": 900, "label_wait": 3 * 3600, "max_rows": 120},
    "alarms": {
        "min_rows": 30,
        "drifted_share": 0.5,
        "consecutive": 2,
        "min_score": 0.6,
        "min_traffic": 3,
    },
}


class Story(NamedTuple):
    """Drift and wrong predictions from the third hour on; labels an hour after the prediction.

    Busy models get half of the requests. They alone have a reference: a report of their drift takes
    a second, and the others learn a baseline.
    """

    models: int
    busy: int
    hours: int
    hourly: int  # predictions

    def register(self, home: Path, folder: Path) -> None:
        """Register the same files under every name; they are checked once, which takes a second."""
        write_tiny(folder, rows=1500, prediction=BINARY, monitoring=MONITORING)
        onnx, fields = (folder / "model.onnx").read_bytes(), read_fields(folder / "manifest.yaml")
        rows, registry = (folder / "reference.parquet").read_bytes(), Registry(Home(home))
        for reference, numbers in (
            (rows, range(self.busy)),
            (b"", range(self.busy, self.models)),
        ):
            (checked := folder / f"checked-{numbers.start}").mkdir()
            check_in_process(checked, onnx, fields, reference or None)
            for number in numbers:
                registry.add_checked(_name(number), checked, reference, "", "")

    def events(self) -> list[Event]:
        """Events of two workers: out of order within the grace, most with a label."""
        chance = np.random.default_rng(7)
        sent: list[tuple[int, dict[str, Any]]] = []
        for n in range(self.hours * self.hourly):
            at, model = T0 + n * HOUR // self.hourly, self._model(n)
            hour = n // self.hourly
            price = float(chance.normal()) + (2.0 if hour >= 2 else 0.0)
            yes = float(1 / (1 + np.exp(-price)))
            actual = int(chance.random() < (1 - yes if hour >= 2 else yes))
            time = at - int(chance.integers(HOUR // 6))
            prediction_id = f"{tag_of(model)}-p{n}"
            identity = {"prediction_id": prediction_id, "model": model, "time": time}
            sent.append((at, identity | _answer(n, price, yes)))
            if n % 20:
                label = {"prediction_id": prediction_id, "time": at + HOUR}
                sent.append((at + HOUR, label | {"label": actual}))
                if n % 7 == 0:  # a second label, which may differ
                    sent.append((at + HOUR + 1, label | {"label": n % 2}))
        sent.sort(key=lambda event: event[0])
        numbers: Counter[tuple[str, str]] = Counter()
        return [_stamped(n, received, fields, numbers) for n, (received, fields) in enumerate(sent)]

    def _model(self, n: int) -> str:
        quiet = self.models - self.busy
        return _name(n // 2 % self.busy if n % 2 else self.busy + n // 2 % quiet)


def _name(number: int) -> str:
    return f"model-{number}"


def _answer(n: int, price: float, yes: float) -> dict[str, Any]:
    return {
        "version": "1" if n % 97 else "9",  # which is not registered
        "protocol": "rest",
        "outcome": "ok",
        "rows": 1,
        "inputs": {
            "price": Tensor("FP32", [1, 1], [price]),
            "colour": Tensor("BYTES", [1, 1], ["red" if n % 2 else "blue"]),
        },
        "outputs": {
            "label": Tensor("INT64", [1], [int(yes > 0.5)]),
            "probabilities": Tensor("FP32", [1, 2], [1 - yes, yes]),
        },
    }


def _stamped(
    n: int, received: int, fields: dict[str, Any], numbers: Counter[tuple[str, str]]
) -> Event:
    source, shard = f"serving-{n % 2}", fields["prediction_id"][:3]
    stamp = {"source": source, "epoch": 1, "sequence": n // 2, "received": received}
    stamp |= {"shard": shard, "number": numbers[source, shard]}
    numbers[source, shard] += 1
    kind = PredictionEvent if "model" in fields else FeedbackEvent
    return kind(**stamp, **fields)


def send(events: list[Event], topics: KafkaSettings) -> None:
    """Send a tenth of the records a second time, a little later."""
    chance = random.Random(3)
    records = [Record(e.source, e.epoch, e.sequence, e, wire.encode(e)) for e in events]
    sink, recent = KafkaSink(topics), list[Record]()
    for begin in range(0, len(records), 500):
        batch = []
        for record in records[begin : begin + 500]:
            batch.append(record)
            recent = [*recent[-50:], record]
            if chance.random() < 0.1:
                batch.append(chance.choice(recent))
        sink.send([message(record, topics) for record in batch])
    sink.close()
