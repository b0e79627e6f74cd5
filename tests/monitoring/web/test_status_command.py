import base64
import http.server
import json
import re
import threading
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from click.testing import CliRunner, Result
from standardwebhooks.webhooks import Webhook

from driftline import alarms, status
from driftline.webhooks import webhooks
from eventlog.errors import SettingError
from eventlog.settings import Home
from monitoring.presenter import formats
from monitoring.presenter.headline import alarm_badge
from monitoring.results import Alarm, AlarmStep, DisabledReceiver, LateCounts, Window
from monitoring.results import Result as Outcome
from monitoring.storage.database import Database
from monitoring.storage.journal import Journal
from monitoring.storage.store import Store
from monitoring.web.app import app
from monitoring.web.server import serving
from monitoring.web.window_view import coverage, value
from registry.store import Registry
from tests.monitoring.web.test_web_pages import text_of

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")


def run(*arguments: str) -> Result:
    known = [*status.commands(), *alarms.commands()]
    command = {one.name: one for one in known}[arguments[0]]
    return CliRunner().invoke(command, arguments[1:])


def test_status_states_the_number_of_late_rows(home: Path) -> None:
    assert "1,234" not in run("status").output
    database = Database(home / "monitor.db")
    with database.transaction():
        Journal(database).count_late({("flights", "1", 0): LateCounts(events=2, rows=1_234)})
    database.close()
    assert "1,234" in run("status").output


@pytest.mark.usefixtures("home")
def test_status_and_page_agree() -> None:
    said = run("status").output
    assert "flights version 1: ROC AUC fell to 0.651" in said.replace("\n", " ")
    assert "answered 262,104, logged 262,104, monitored 262,104, lost 0" in said
    assert said.index("\nflights 1 ") < said.index("\nfraud 12 ") < said.index("\nchurn 1 ")
    assert "performance, drift" in said
    assert "17 rows" in said


def test_no_verdict_is_broken_on_a_narrow_terminal(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    latest = Store(home / "monitor.db").results("flights", "1")[-1]
    worse = msgspec.structs.replace(latest, verdict="degraded", revision=latest.revision + 1)
    database = Database(home / "monitor.db")
    with database.transaction():
        Journal(database).add_result(worse)
    database.close()
    monkeypatch.setenv("COLUMNS", "80")
    versions = run("status").output.split("lost 0")[1].split("firing (")[0].splitlines()
    assert versions[1] == "flights 1: degraded, performance, drift"
    assert versions[2].rstrip() == (
        "  7–13 Oct 2013: 6,797 rows, 0% drifted, ROC AUC 0.694, 0% labelled"
    )
    assert max(map(len, versions)) <= 80


@pytest.fixture
def page(home: Path) -> Iterator[httpx.Client]:
    """The page on the same database and the same registry as the terminal's."""

    def store() -> Store:
        return Store(home / "monitor.db")

    made = app(store, home / "reports", catalogue=Registry(Home(home)))
    with (
        serving(made, "127.0.0.1", 0) as address,
        httpx.Client(base_url=address, trust_env=False) as client,
    ):
        yield client


def test_terminal_page_and_api_show_the_same_in_the_same_order(
    home: Path, page: httpx.Client
) -> None:
    store = Store(home / "monitor.db")
    drift = next(one for one in store.alarms() if one.rule == "drift" and one.state == "firing")
    store.acknowledge(drift.alarm_id, AlarmStep(0, "acknowledged", "ann", "a known sale"))
    store.disable(
        DisabledReceiver(receiver="x", host="train.example", since=0, reason="410: no more")
    )
    seen = page.get("/api/overview").json()
    assert json.loads(run("status", "--json").output) == seen
    assert [one["model"] for one in seen["models"]] == ["flights", "fraud", "newcomer", "churn"]
    terminal, browser = _words(run("status").output), _words(text_of(page.get("/")))
    for said in [
        seen["headline"]["text"],
        f"lost {seen['ledger']['lost']}",
        *seen["stopped"],
        *(alarm["sentence"] for alarm in seen["alarms"]),
        *(alarm["state"] for alarm in seen["alarms"]),
        "acknowledged by ann, 1 Jan 1970, 00:00 UTC: a known sale",
    ]:
        assert _words(said) in terminal
        assert _words(said) in browser
    rows = zip(_lines(run("status").output, seen), _parts(page.get("/").text, seen), strict=True)
    for (line, part), row in zip(rows, seen["models"], strict=True):
        for said in _of_row(row):
            assert said in line
            assert said in part
    sentences = [_words(alarm["sentence"]) for alarm in seen["alarms"]]
    assert len(sentences) == 2
    assert terminal.rindex(sentences[0]) < terminal.rindex(sentences[1])
    assert browser.rindex(sentences[0]) < browser.rindex(sentences[1])


def test_terminal_and_api_show_the_same_alarms(home: Path, page: httpx.Client) -> None:
    listed = page.get("/api/alarms").json()
    assert json.loads(run("alarms", "list", "--json").output) == listed
    assert [one["state"] for one in listed] == ["firing", "firing", "resolved"]
    said = run("alarms").output
    places = [said.index(one["alarm_id"]) for one in listed]
    assert places == sorted(places)
    assert all(_words(one["sentence"]) in _words(said) for one in listed)


def _words(text: str) -> str:
    return " ".join(unescape(text).split())


def _of_row(row: dict[str, Any]) -> list[str]:
    """What is said of one version."""
    if row["latest"] is None:
        return ["first window open: 17 rows, 14–20 Oct 2013"]
    latest = msgspec.convert(row["latest"], Outcome)
    alarms = [alarm_badge(msgspec.convert(alarm, Alarm)) for alarm in row["alarms"]]
    return [
        formats.period(latest.window),
        latest.verdict,
        formats.percent(value(latest, "drifted_share")),
        formats.number(latest.rows),
        formats.percent(coverage(latest)),
        *(alarms or ["none"]),
    ]


def _lines(output: str, seen: dict[str, Any]) -> list[str]:
    """The terminal's line of each version, in the API's order; without a window, they end it."""
    lines = output.splitlines()
    found = [
        next(
            n for n, line in enumerate(lines) if line.startswith(f"{row['model']} {row['version']}")
        )
        for row in seen["models"]
    ]
    last = [row["latest"] is None for row in seen["models"]]
    assert [found[n] for n in sorted(range(len(found)), key=lambda n: last[n])] == sorted(found)
    return [lines[n] for n in found]


def _parts(html: str, seen: dict[str, Any]) -> list[str]:
    """The page's row of each version, in the API's order."""
    rows = re.findall(r"<tr class=\"rank.*?</tr>", html, flags=re.DOTALL)
    texts = [_words(re.sub(r"<[^>]*>", " ", row)) for row in rows]
    for text, row in zip(texts, seen["models"], strict=True):
        assert text.startswith(f"{row['model']} version {row['version']}")
    return texts


def test_an_empty_home_states_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path))
    monkeypatch.delenv("BENTOML_HOME", raising=False)
    assert "No predictions yet." in run("status").output
    assert "send the first one to /predict" in run("status").output
    assert run("alarms").output == "No alarm was ever raised.\n"


@pytest.mark.usefixtures("home")
def test_alarms_lists_every_alarm_with_its_sentence() -> None:
    said = run("alarms").output
    assert said.count("firing") == 2
    assert "resolved" in said
    assert "24 Jun 2013" in said


def test_a_person_acknowledges_resolves_and_silences(home: Path) -> None:
    firing = next(a for a in Store(home / "monitor.db").alarms() if a.state == "firing").alarm_id
    assert run("alarms", "acknowledge", firing).output == f"acknowledged {firing}\n"
    refused = run("alarms", "acknowledge", firing)
    assert isinstance(refused.exception, SettingError)
    assert "is firing" in str(refused.exception)
    said = run("alarms", "resolve", firing, "--reason", "a known sale").output
    assert said == f"resolved {firing}\n"
    listed = run("alarms", "list").output
    assert "acknowledged by" in listed
    assert "a known sale" in listed
    assert run("alarms", "silences").output == "No silence is active.\n"
    said = run(
        "alarms", "silence", "--model", "flights", "--for", "2d", "--reason", "a sale"
    ).output
    assert "every rule of flights until" in said
    name = said.split(":")[0]
    assert "a sale" in run("alarms", "silences").output
    assert run("alarms", "unsilence", name).output == f"ended {name}\n"
    assert run("alarms", "silences").output == "No silence is active.\n"
    wrong = run("alarms", "silence", "--for", "soon", "--reason", "x").exception
    assert "30m, 8h, 3d, 2w" in str(wrong)


def test_foreign_text_cannot_control_the_terminal(home: Path) -> None:
    database = Database(home / "monitor.db")
    with database.transaction():
        Journal(database).save_alarm(
            Alarm(
                alarm_id="x",
                model="[red]evil[/red]",
                version="1",
                rule="drift",
                state="firing",
                since=Window(0, 1),
                latest=Window(0, 1),
                sentence="\x1b]0;owned\x07 moved",
            )
        )
    database.close()
    said = run("alarms").output
    assert "\x1b" not in said
    assert "[red]evil[/red]" in said


@pytest.fixture
def receiver() -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A loopback receiver that answers 202."""
    received: list[tuple[dict[str, str], bytes]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append((dict(self.headers.items()), body))
            self.send_response(202)
            self.end_headers()
            self.wfile.write(b"thank you\x1b[2J")

        def log_message(self, *_arguments: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/", received
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_trial_webhook_is_signed_and_its_reply_is_shown(
    receiver: tuple[str, list[tuple[dict[str, str], bytes]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, received = receiver
    monkeypatch.setenv("DRIFTLINE_MONITOR_WEBHOOK_URL", url)
    monkeypatch.setenv("DRIFTLINE_MONITOR_WEBHOOK_SECRETS", SECRET)
    monkeypatch.setenv("DRIFTLINE_MONITOR_WEBHOOK_ALLOWED_HOSTS", "127.0.0.1")
    done = CliRunner().invoke(webhooks, ["test"])
    assert done.exit_code == 0
    assert f"{url} replied 202\nthank you" in done.output
    assert "\x1b" not in done.output
    headers, body = received[0]
    Webhook(SECRET).verify(body, headers)
    assert json.loads(body)["type"] == "driftline.webhook.trial.v1"


def test_a_trial_webhook_without_an_address_names_the_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DRIFTLINE_MONITOR_WEBHOOK_URL", raising=False)
    failed = CliRunner().invoke(webhooks, ["test"])
    assert isinstance(failed.exception, SettingError)
    assert "DRIFTLINE_MONITOR_WEBHOOK_URL" in str(failed.exception)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"URL": "http://127.0.0.1:9/"}, "starts with http://; expected https://"),
        ({"URL": "https://127.0.0.1:9/"}, r"resolves to 127.0.0.1 \(loopback\)"),
        ({"URL": "http://127.0.0.1:9/", "ALLOWED_HOSTS": "127.0.0.1"}, "ConnectError"),
    ],
)
def test_a_trial_webhook_that_cannot_be_sent_states_why(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], said: str
) -> None:
    monkeypatch.setenv("DRIFTLINE_MONITOR_WEBHOOK_SECRETS", SECRET)
    for name, setting in settings.items():
        monkeypatch.setenv(f"DRIFTLINE_MONITOR_WEBHOOK_{name}", setting)
    failed = CliRunner().invoke(webhooks, ["test"])
    assert failed.exit_code == 1
    assert re.search(said, str(failed.exception))
