"""A monitor in its own process: many versions drift, and each sends a webhook."""

import time
from pathlib import Path

from msgspec.structs import replace

from eventlog.log import Record
from monitoring.storage.store import Store
from monitoring.webhooks.delivery import Receiver, Sender, sender_thread
from monitoring.webhooks.egress import Egress
from monitoring.webhooks.signature import Signer
from registry.manifest import Version
from tests.monitoring.log_in_memory import HOUR, T0, VERSION, Log, Monitor


def all_drift(versions: int) -> list[Record]:
    """Return seven hours of every version; the scorer finds drift from hour 3 on."""
    log = Log()
    for hour in range(7):
        for number in range(versions):
            for n in range(10):
                name = f"p{hour}-{number}-{n}"
                log.predict(T0 + hour * HOUR + number * 10 + n, name, version=str(number))
    for number in range(versions):
        log.pass_time(T0 + 6 * HOUR, version=str(number))
    return log.records


def watch(where: Path, url: str, secret: str, versions: int) -> None:
    """Ingest the log and send webhooks until none is pending."""

    def find(_model: str, number: str) -> Version:
        return replace(VERSION, number=number)

    receiver = Receiver(url, Signer([secret]), Egress(["127.0.0.1"], seconds=5))
    monitor = Monitor(where, all_drift(versions), find=find)
    store = Store(where)
    with sender_thread(lambda: Sender(Store(where), receiver, jitter=lambda: 0.0), idle=0.001):
        while monitor.consumer.step(200) or monitor.consumer.scoring:
            pass
        while any(one.state == "pending" for one in store.deliveries()):
            time.sleep(0.001)
