"""`kill -9` while a webhook is sent: the webhook is repeated and has one effect.

Twelve kills, or fifty in `make nightly`.
"""

import base64
import http.server
import multiprocessing
import random
import signal
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from standardwebhooks.webhooks import Webhook

from monitoring.storage.store import Store
from tests.crash import kill_pid
from tests.depth import by_depth
from tests.monitoring.webhooks.asking_for_many import watch

KILLS = by_depth(12, 50)
SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


class TrainingReceiver:
    """A receiver that acts once on each webhook id and kills its sender at random."""

    def __init__(self) -> None:
        self.chance = random.Random(7)
        self.sender = 0  # process id
        self.kills = 0
        self.bodies: dict[str, set[bytes]] = defaultdict(set)
        self.calls: Counter[str] = Counter()
        self.effects: Counter[str] = Counter()  # by alarm

    def take(self, headers: dict[str, str], body: bytes) -> None:
        """Verify the webhook and act on it if its id is new."""
        Webhook(SECRET).verify(body, headers)
        name = headers["webhook-id"]
        self.bodies[name].add(body)
        self.calls[name] += 1
        if self.calls[name] == 1:
            self.effects[msgspec.json.decode(body)["data"]["alarm_id"]] += 1

    def kill(self) -> None:
        """Kill the sender process."""
        kill_pid(self.sender)


@contextmanager
def _listening(training: TrainingReceiver) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            moment = training.chance.random() if training.kills < KILLS else 1
            if moment < 0.1:  # before the webhook is read
                training.kill()
                return
            training.take({n.lower(): v for n, v in self.headers.items()}, body)
            if moment < 0.4:  # after the effect, before the reply
                training.kill()
                return
            self.send_response(204)
            self.end_headers()
            if moment < 0.9:  # after the reply, before or after the sender records it
                time.sleep(training.chance.random() * 0.003)  # a random moment to kill
                training.kill()

        def log_message(self, *_arguments: object) -> None:
            pass

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                assert training.kills  # killed senders close the connection

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_repeatedly_killed_sender_has_every_effect_once(tmp_path: Path) -> None:
    forkserver = multiprocessing.get_context("forkserver")
    forkserver.set_forkserver_preload(["tests.monitoring.webhooks.asking_for_many"])
    where, training = tmp_path / "monitor.db", TrainingReceiver()
    with _listening(training) as url:
        while True:
            process = forkserver.Process(
                target=watch, args=(where, url, SECRET, KILLS + 10), daemon=True
            )
            process.start()
            assert process.pid
            training.sender = process.pid
            process.join(timeout=60)
            if process.exitcode == 0:
                break
            assert process.exitcode == -signal.SIGKILL
            training.kills += 1
    store = Store(where)
    alarms = {alarm.alarm_id for alarm in store.alarms()}
    assert training.kills == KILLS
    assert len(alarms) == KILLS + 10
    assert training.effects == dict.fromkeys(alarms, 1)
    assert {one.webhook_id for one in store.deliveries()} == set(training.calls)
    assert {one.state for one in store.deliveries()} == {"delivered"}
    assert max(training.calls.values()) > 1  # unrecorded webhooks were sent again
    calls = training.calls.total()
    print(f"{KILLS} kills, {calls} calls, {len(alarms)} alarms with one effect each")
    assert all(len(bodies) == 1 for bodies in training.bodies.values())
