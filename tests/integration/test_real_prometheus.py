"""A real Prometheus scrapes a running stack, and every published query returns data."""

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from eventlog.kafka import KafkaSettings
from registry.approvals import Approvals
from registry.history.rows import ApprovalRule, ReleasePolicy
from registry.history.store import History
from tests.deploy.prometheus_tools import PROMETHEUS, RULES, tool
from tests.preloaded import Command
from tests.service.conftest import Service

DASHBOARDS = sorted((PROMETHEUS.parent / "grafana" / "dashboards").glob("*.json"))
START = 1_700_000_000_000_000  # event time of the first window
MINUTE = 60_000_000
COLOURS = ["green", "red", "blue"]  # the first one is unseen in the reference
ROWS = 120
SCRAPE_S = 1
# Short windows, one of which is enough for an alarm.
WATCHED = {
    "window": {"length": 60, "grace": 0, "label_wait": 60},
    "alarms": {"min_rows": 50, "consecutive": 1, "min_score": 0.99},
    "segments": ["colour"],
}
FIRING = 'ALERTS{alertname="DriftlineModelAlarm", alertstate="firing", rule="drift"}'
NV_COUNTS = ["nv_inference_request_success", "nv_inference_count"]
# What a stack has none of after a minute: a judged hour, predicted files, a schedule that is due,
# a damaged batch.
LATER = [
    "driftline_traffic_requests",
    "driftline_traffic_expected",
    "driftline_batch_day_outside_share",
    "driftline_schedule_undecided_seconds",
    "driftline_monitor_damaged_batch_offset",
]
_SELECTOR = re.compile(r"\b((?:driftline[\w:]*|up)(?:\{[^}]*\})?)")


class Stack:
    """Service, forwarder, monitor and Prometheus, each a process of its own."""

    def __init__(
        self, service: Service, kafka: KafkaSettings, free_port: Callable[[], int]
    ) -> None:
        self.service = service
        self.asked = 0  # predictions
        self._root = service.root
        self._processes: list[subprocess.Popen[bytes]] = []
        self._ports = {"service": service.port, "monitor": free_port(), "forwarder": free_port()}
        self._prometheus = free_port()
        self._environment = service.environment | {
            "DRIFTLINE_KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "DRIFTLINE_KAFKA_TOPIC_PREFIX": kafka.topic_prefix,
            "DRIFTLINE_FORWARDER_METRICS_PORT": str(self._ports["forwarder"]),
        }

    def start(self) -> None:
        driftline = [sys.executable, "-m", "driftline"]
        self._run("monitor", *driftline, "monitor", "--port", str(self._ports["monitor"]))
        self._run("forward", *driftline, "forward")
        self._run(
            "prometheus",
            tool("prometheus"),
            f"--config.file={self._configuration()}",
            f"--storage.tsdb.path={self._root / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{self._prometheus}",
        )

    def stop(self) -> None:
        for process in self._processes:
            process.send_signal(signal.SIGTERM)
        for process in self._processes:
            process.wait(60)

    def ask(self, query: str) -> list[Any]:
        """What Prometheus answers; an empty list while it does not."""
        url = f"http://127.0.0.1:{self._prometheus}/api/v1/query"
        try:
            reply = httpx.get(url, params={"query": query}, trust_env=False)
        except httpx.TransportError:
            return []
        if reply.status_code == 503:  # it starts
            return []
        assert reply.status_code == 200, f"{query}: {reply.text}"
        found: list[Any] = reply.json()["data"]["result"]
        return found

    def is_exported(self, name: str) -> bool:
        """Whether the monitor exports this metric, with values or without."""
        url = f"http://127.0.0.1:{self._ports['monitor']}/metrics"
        return f"# TYPE {name} " in httpx.get(url, trust_env=False).text

    def number(self, query: str) -> int:
        """The value of the one series that a query finds."""
        (one,) = self.ask(query)
        return int(one["value"][1])

    def predict(self, minute: int, row: int) -> None:
        """One prediction of shifted inputs, and its label, often a wrong one."""
        call = {
            "model": "tiny",
            "rows": [{"price": 5.0 + row % 7, "colour": COLOURS[row % len(COLOURS)]}],
            "event_time": START + minute * MINUTE + row,
        }
        reply = self.service.http.post("/predict", json=call)
        assert reply.status_code == 200, reply.text
        self.asked += 1
        label = {"prediction_id": reply.json()["prediction_id"], "label": row % 2}
        assert self.service.http.post("/v1/feedback", json=label).is_success

    def said(self, name: str) -> str:
        return (self._root / f"{name}.log").read_text()

    def _run(self, name: str, *command: str) -> None:
        log = (self._root / f"{name}.log").open("wb")
        self._processes.append(Command(command, env=self._environment, stdout=log, stderr=log))

    def _configuration(self) -> Path:
        """The configuration that we hand out, at the addresses of this test and in a hurry."""
        given = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
        given["global"] = dict.fromkeys(["scrape_interval", "evaluation_interval"], f"{SCRAPE_S}s")
        given["rule_files"] = [str(path) for path in RULES]
        del given["alerting"]
        for job in given["scrape_configs"]:
            (static,) = job["static_configs"]
            (target,) = static["targets"]
            static["targets"] = [f"127.0.0.1:{self._ports[target.split(':')[0]]}"]
        path = self._root / "prometheus.yml"
        path.write_text(yaml.safe_dump(given))
        return path


@pytest.fixture
def stack(
    topics: KafkaSettings,
    tmp_path: Path,
    free_port: Callable[[], int],
) -> Iterator[Stack]:
    tool("prometheus")
    with Service(tmp_path, free_port, triton_metrics="true") as service:
        service.start_champion(monitoring=WATCHED)
        _request_approval(service)
        stack = Stack(service, topics, free_port)
        try:
            stack.start()
            yield stack
        finally:
            stack.stop()


def _request_approval(service: Service) -> None:
    """Have a version of another model wait for an approval."""
    for text in ("the champion", "a candidate"):
        service.register("careful", description=text)
    approvals = Approvals(History(service.home.registry))
    policy = ReleasePolicy(approvals={"champion": ApprovalRule(required=1)})
    approvals.set_policy("careful", policy, actor="local:ann", why="the board")
    approvals.request("careful", "2", "champion", actor="local:ann", why="better")


def test_every_query_of_panels_variables_and_rules_returns_data(stack: Stack) -> None:
    for row in range(ROWS):
        stack.predict(0, row)
    asked = queries()
    assert len(asked) > 80
    missing = {
        query: place for query, place in asked.items() if not any(name in query for name in LATER)
    } | {FIRING: "the alert of the drift alarm"}
    deadline = time.monotonic() + 180
    while missing and time.monotonic() < deadline:
        for row in range(20):  # the second window stays open, so the first stays the latest
            stack.predict(1, row)
        time.sleep(SCRAPE_S)  # nothing new comes sooner
        if not stack.ask(FIRING):  # it comes last
            continue
        missing = {query: place for query, place in missing.items() if not stack.ask(query)}
    assert missing == {}, stack.said("monitor") + stack.said("forward") + stack.said("prometheus")
    assert [name for name in LATER if not stack.is_exported(name)] == []
    _triton_s_names_say_the_same(stack)


def _triton_s_names_say_the_same(stack: Stack) -> None:
    deadline = time.monotonic() + 180
    while {stack.number(f'{name}{{model="tiny"}}') for name in NV_COUNTS} != {stack.asked}:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def queries() -> dict[str, str]:
    """Every query with the place that it comes from."""
    found: dict[str, str] = {}
    for path in DASHBOARDS:
        board = json.loads(path.read_text())
        for query, place in _of_board(board):
            found[_filled_in(query)] = f"{path.name}: {place}"
    for path in RULES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                if "record" in rule:
                    found[rule["expr"]] = rule["record"]
                for selector in _SELECTOR.findall(rule["expr"] if "alert" in rule else ""):
                    found[selector] = rule["alert"]
    return found


def _of_board(board: dict[str, Any]) -> Iterator[tuple[str, str]]:
    panels = [panel for one in board["panels"] for panel in (one, *one.get("panels", []))]
    for panel in panels:
        for target in panel.get("targets", []):
            yield target["expr"], panel["title"]
    for mark in board.get("annotations", {}).get("list", []):
        yield mark["expr"], mark["name"]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            (metric,) = re.findall(r"label_values\((.*), \w+\)", variable["query"])
            yield metric, variable["name"]


def _filled_in(query: str) -> str:
    """As Grafana asks it, with everything chosen."""
    for name in ("$model", "$version", "$segment", "$score"):
        query = query.replace(name, ".*")
    query = query.replace("$__rate_interval", "1m")
    assert "$" not in query
    return query
