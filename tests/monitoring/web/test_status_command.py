import base64
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from standardwebhooks.webhooks import Webhook

from driftline.status import commands
from driftline.webhooks import webhooks
from eventlog.errors import SettingError
from monitoring.core.results import Alarm, Window
from monitoring.state.database import Database
from monitoring.state.journal import Journal

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def run(*arguments: str) -> Result:
    command = {one.name: one for one in commands()}[arguments[0]]
    return CliRunner().invoke(command, arguments[1:])


@pytest.mark.usefixtures("home")
def test_status_says_what_the_page_says() -> None:
    said = run("status").output
    assert "flights version 1: ROC AUC fell to 0.651" in said.replace("\n", " ")
    assert "answered 262,104, logged 262,104, monitored 262,104, lost 0" in said
    assert said.index("\nflights 1 ") < said.index("\nfraud 12 ") < said.index("\nchurn 1 ")
    assert "performance, drift" in said
    assert "filling: 17 rows" in said


def test_an_empty_home_says_what_to_do_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path))
    assert "No predictions yet." in run("status").output
    assert "http://127.0.0.1:3000/predict" in run("status").output
    assert run("alarms").output == "No alarm was ever raised.\n"


@pytest.mark.usefixtures("home")
def test_alarms_lists_every_alarm_with_its_sentence() -> None:
    said = run("alarms").output
    assert said.count("firing") == 2
    assert "resolved" in said
    assert "24 Jun 2013" in said


def test_words_of_others_cannot_steer_the_terminal(home: Path) -> None:
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


def test_a_trial_is_signed_and_its_answer_shown(
    receiver: tuple[str, list[tuple[dict[str, str], bytes]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, received = receiver
    monkeypatch.setenv("DRIFTLINE_MONITOR_WEBHOOK_URL", url)
    monkeypatch.setenv("DRIFTLINE_MONITOR_WEBHOOK_SECRETS", SECRET)
    monkeypatch.setenv("DRIFTLINE_MONITOR_WEBHOOK_ALLOWED_HOSTS", "127.0.0.1")
    done = CliRunner().invoke(webhooks, ["test"])
    assert done.exit_code == 0
    assert f"{url} answered 202\nthank you" in done.output
    assert "\x1b" not in done.output
    headers, body = received[0]
    Webhook(SECRET).verify(body, headers)
    assert json.loads(body)["type"] == "driftline.webhook.trial.v1"


def test_a_trial_without_an_address_says_which_setting_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DRIFTLINE_MONITOR_WEBHOOK_URL", raising=False)
    failed = CliRunner().invoke(webhooks, ["test"])
    assert isinstance(failed.exception, SettingError)
    assert "DRIFTLINE_MONITOR_WEBHOOK_URL" in str(failed.exception)
