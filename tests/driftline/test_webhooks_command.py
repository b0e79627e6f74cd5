"""Webhooks and dead letters in the terminal."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from driftline.cli import driftline
from monitoring.results import DisabledReceiver
from monitoring.storage.database import Database
from monitoring.storage.sql import dead_letters, outbox
from monitoring.storage.store import Store


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path))
    store = Store(tmp_path / "monitor.db")
    database = Database(tmp_path / "monitor.db")
    with database.transaction():
        database.write(outbox.ADD, "rr_1", b"{}", 1372636800000000, 13, 0, "dead", "500: broken")
        database.write(dead_letters.ADD, "here-0:1:7", "no such model", b'{"m', 0)
    database.close()
    return store


def test_an_abandoned_webhook_can_be_resent(store: Store) -> None:
    listed = CliRunner().invoke(driftline, ["webhooks", "list"])
    assert all(word in listed.output for word in ("rr_1", "dead", "500: broken"))
    assert store.due(2**62) == []
    assert CliRunner().invoke(driftline, ["webhooks", "retry", "rr_1"]).exit_code == 0
    (due,) = store.due(2**62)
    assert (due.webhook_id, due.attempts, due.state) == ("rr_1", 0, "pending")
    again = CliRunner().invoke(driftline, ["webhooks", "retry", "rr_1"])
    assert again.exit_code == 1
    assert "no dead webhook 'rr_1'" in again.output


def test_a_disabled_receiver_can_be_enabled_by_a_person(store: Store) -> None:
    store.disable(
        DisabledReceiver(receiver="x", host="train.example", since=0, reason="410: no more")
    )
    listed = CliRunner().invoke(driftline, ["webhooks", "list"]).output
    assert "train.example" in listed
    status = " ".join(CliRunner().invoke(driftline, ["status"]).output.split())
    assert "train.example" in status
    said = CliRunner().invoke(driftline, ["webhooks", "enable"])
    assert said.output == "train.example is enabled; pending webhooks are sent\n"
    assert store.disabled() == []
    again = CliRunner().invoke(driftline, ["webhooks", "enable"])
    assert (again.exit_code, "no receiver is disabled" in again.output) == (1, True)


def test_dead_letters_state_their_origin_and_reason(store: Store) -> None:
    listed = CliRunner().invoke(driftline, ["deadletters", "list"])
    assert all(word in listed.output for word in ("here-0:1:7", "no such model", '{"m'))
