"""Register, serve, log, monitor, alarm, request retraining: with real processes and flights."""

import asyncio
import base64
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import data
import httpx
import pandas as pd
import pytest
from replay import flights, replay, transports
from retrainer import Retrainer

from eventlog.events import FeedbackEvent, PredictionEvent
from eventlog.segments import SegmentReader
from eventlog.settings import Home
from monitoring.storage.store import Store
from registry.store import Registry

ROOT = Path(__file__).parents[2]
FLIGHTS = ROOT / "examples" / "flights"
SECRET = "whsec_" + base64.b64encode(b"a secret that only this test knows").decode()
JULY, AUGUST = (int(datetime(2013, m, 1, tzinfo=UTC).timestamp() * 1e6) for m in (7, 8))
EVERY = 10  # flights; the slice is about 2,900 requests


class Loop:
    """`driftline up` on a home of its own, and a receiver of its webhooks."""

    def __init__(self, home: Home, free_port: Callable[[], int]) -> None:
        self.home = home
        self.rest, self.grpc, self.monitor = free_port(), free_port(), free_port()
        self.requests: list[dict[str, Any]] = []
        self.retrainer = Retrainer(free_port(), SECRET, self.requests.append)
        threading.Thread(target=self.retrainer.serve_forever, daemon=True).start()
        self.process: subprocess.Popen[str] | None = None

    def up(self) -> None:
        ports = ["--port", self.rest, "--grpc-port", self.grpc, "--monitor-port", self.monitor]
        webhook = f"http://127.0.0.1:{self.retrainer.server_port}/retrain"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "driftline", "up", *map(str, ports)],
            env={
                **os.environ,
                "DRIFTLINE_MONITOR_WEBHOOK_URL": webhook,
                "DRIFTLINE_MONITOR_WEBHOOK_SECRETS": SECRET,
                "DRIFTLINE_MONITOR_WEBHOOK_ALLOWED_HOSTS": "127.0.0.1",
            },
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if "monitor ready" in line:
                return
        raise AssertionError("driftline up ended before it was ready")

    def down(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=60)
        return self.process.returncode

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.monitor}{path}", trust_env=False)

    def until(self, what: str, holds: Callable[[], Any]) -> None:
        deadline = time.monotonic() + 180
        while not holds():
            assert time.monotonic() < deadline, f"never came: {what}"
            time.sleep(0.1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    root = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRIFTLINE_HOME", str(root))
        patch.setenv("BENTOML_HOME", str(root / "bentoml"))
        yield Home(root)


@pytest.fixture(scope="module")
def loop(home: Home, free_port: Callable[[], int]) -> Iterator[Loop]:
    loop = Loop(home, free_port)
    yield loop
    loop.retrainer.shutdown()
    if loop.process is not None and loop.process.poll() is None:
        loop.down()


def _driftline(*arguments: str) -> str:
    command = [sys.executable, "-m", "driftline", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_whole_loop(home: Home, loop: Loop, trained_flights: Path) -> None:
    manifest = home.root / "manifest.yaml"
    # A tenth of the flights makes small windows and a month makes few: ask a little less of both.
    text = (FLIGHTS / "manifest.yaml").read_text()
    manifest.write_text(text.replace("drifted_share: 0.25", "drifted_share: 0.1"))
    files = ["--manifest", str(manifest)]
    files += ["--reference", str(trained_flights / "reference.parquet")]
    model = str(trained_flights / "model.onnx")
    assert "flights" in _driftline("register", model, "--name", "flights", *files)
    _driftline("promote", "flights", "--version", "1")
    version = Registry(home).version("flights", "1")
    everything = flights(data.load(), version.manifest)
    traffic = [f for f in everything if JULY <= f.event_time < AUGUST][::EVERY]

    loop.up()
    labels = asyncio.run(_drive(loop, version.manifest, traffic))
    stranger = {"prediction_id": "nobody-asked", "label": 1}
    reply = httpx.post(f"http://127.0.0.1:{loop.rest}/v1/feedback", json=stranger, trust_env=False)
    assert reply.json() == {"accepted": 1}
    labels += 1

    asked = len(traffic) + _ask_as_the_readme_does(loop)
    answered = asked + labels
    store = Store(home.monitor)
    loop.until("monitored", lambda: store.totals().get("monitored_events", 0) == answered)
    loop.until("an alarm", lambda: loop.get("/api/alarms").json())
    loop.until("a webhook", lambda: loop.requests)
    loop.until("the last scores", lambda: store.totals()["waiting_scores"] == 0)
    loop.until("its receipt", lambda: store.deliveries()[0].state == "delivered")
    _check_the_webhook(loop, store, version.digest)
    assert loop.get("/").status_code == 200
    assert b"flights" in loop.get("/models/flights/1").content
    assert loop.down() == 0

    _check_the_counts(home, asked, labels)
    _check_the_scores(store)


async def _drive(loop: Loop, manifest: Any, traffic: list[Any]) -> int:
    async with transports(manifest, loop.rest, loop.grpc) as (rest, grpc):
        return await replay(traffic, [rest, grpc], rest, lambda _count, _time: None)


def _ask_as_the_readme_does(loop: Loop) -> int:
    """One prediction by named features and its label; how many requests that was."""
    url = f"http://127.0.0.1:{loop.rest}/predict"
    body = (FLIGHTS / "request.json").read_bytes()
    headers = {"content-type": "application/json"}
    reply = httpx.post(url, content=body, headers=headers, trust_env=False)
    assert reply.status_code == 200, reply.text
    (answer,) = reply.json()["predictions"]
    assert answer["label"] in {0, 1}
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
    return 1


def _check_the_webhook(loop: Loop, store: Store, digest: str) -> None:
    (alarm,) = [a for a in store.alarms() if a.rule == "drift"]
    request = loop.requests[0]
    reported = request["data"]
    assert request["type"] == "driftline.retrain.requested.v1"
    assert request["id"] == store.deliveries()[-1].webhook_id
    assert (reported["model"], reported["version"], reported["digest"]) == ("flights", "1", digest)
    assert reported["alarm_id"] == alarm.alarm_id
    assert reported["columns"][0]["column"] == "temp", "July is warmer than March"
    assert reported["columns"][0]["value"] > reported["columns"][0]["threshold"]
    assert reported["positions"], "the log's offsets say up to where the window was read"
    path = reported["rows_url"].split(f":{loop.monitor}")[1]
    rows = pd.read_parquet(io.BytesIO(loop.get(path).content))
    assert len(rows) > 500
    assert {"temp", "carrier", "prediction", "probability_1", "label"} <= set(rows.columns)
    assert rows["label"].notna().mean() > 0.9
    forged = httpx.post(
        f"http://127.0.0.1:{loop.retrainer.server_port}/retrain",
        content=json.dumps(request),
        headers={"webhook-id": "x", "webhook-timestamp": str(int(time.time()))}
        | {"webhook-signature": "v1,AAAA"},
        trust_env=False,
    )
    assert forged.status_code == 401


def _check_the_scores(store: Store) -> None:
    """What was served is what was registered, and the drift is reported with its effect."""
    scored = [result.scores for result in store.results("flights", "1") if result.sampled > 500]
    assert scored
    for scores in scored:
        reported = {score.about: score for score in scores}
        parity = reported["parity", "", ""]
        assert (parity.value, parity.note.split(" of ")[0]) == (0.0, "0")
        assert reported["latency_p50", "", ""].value is not None
        assert reported["rows", "", "origin=EWR"].value is not None
        assert reported["selection_rate_gap", "", "origin"].value is not None
        drifted = {s.column for s in scores if s.name == "drift" and s.breached and s.column}
        features = drifted - {"prediction", "probability"}
        assert features == {s.column for s in scores if s.name == "effect" and s.column}


def _check_the_counts(home: Home, asked: int, labels: int) -> None:
    """answered = logged = monitored, and rows = labelled + pending + expired in every window."""
    reader = SegmentReader(home.log, {})
    events = [record.event for record in iter_records(reader)]
    predictions = [e for e in events if isinstance(e, PredictionEvent)]
    assert len(predictions) == asked
    assert {e.outcome for e in predictions} == {"ok"}
    assert {e.protocol for e in predictions} == {"rest", "grpc", "predict"}
    assert len([e for e in events if isinstance(e, FeedbackEvent)]) == labels
    store = Store(home.monitor)
    totals = store.totals()
    assert totals["monitored_events"] == asked + labels
    assert totals["unverified_labels"] == 1, "a label for a made-up prediction is counted"
    assert totals["dead_letters"] == 0
    assert sum(ledger.lost + ledger.duplicated for ledger in store.ledger()) == 0
    results = [*store.results("flights", "1"), *store.live("flights", "1")]
    assert totals["late_rows"] == 1, "the README's flight comes when its week is long closed"
    assert sum(result.rows for result in results) + totals["late_rows"] == asked
    for result in results:
        assert result.rows == result.labelled + result.pending + result.expired
    assert sum(result.labelled for result in results) <= labels - 1


def iter_records(reader: SegmentReader) -> Iterator[Any]:
    while records := reader.poll(1000):
        yield from records
