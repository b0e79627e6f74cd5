"""Notes of people on windows and alarms, with author and time."""

from pathlib import Path

import httpx
from click.testing import CliRunner

from driftline.alarms import alarms as command
from monitoring.notes import LONGEST_NOTE
from monitoring.presenter.links import model_path, notes_path, window_path
from monitoring.storage.store import Store
from monitoring.web.app import app
from monitoring.web.server import serving
from tests.access.key_store import Door
from tests.hostile_names import MARKUP
from tests.monitoring.web.conftest import FakeStore, week
from tests.monitoring.web.test_web_access import basic, bearer

START = week(33).start


def test_notes_are_written_in_a_browser_with_author_and_time(
    store: FakeStore, tmp_path: Path
) -> None:
    door = Door()
    header = door.keys.add("operate", name="ann")
    reader = door.keys.add("read", name="ben")
    door.later()
    alarm = store.all_alarms[0]
    on_window = notes_path("flights", "1", START)
    on_alarm = f"/api/alarms/{alarm.alarm_id}/notes"
    shown_at = window_path("flights", "1", START)
    with (
        serving(app(lambda: store, tmp_path, authorizer=door.authorizer), "127.0.0.1", 0) as base,
        httpx.Client(base_url=base, trust_env=False) as client,
    ):
        browser = {**basic(header), "accept": "text/html"}
        assert f'action="{on_window}"' in client.get(shown_at, headers=browser).text
        assert client.post(on_window, json={"text": "x"}, headers=bearer(reader)).status_code == 403
        hostile = next(iter(MARKUP.values()))
        done = client.post(on_window, data={"text": f"holidays {hostile}"}, headers=browser)
        assert (done.status_code, done.headers["location"]) == (303, f"{shown_at}#notes")
        page = client.get(shown_at, headers=browser).text
        assert "holidays" in page
        assert hostile not in page
        assert "key:ann" in page
        done = client.post(on_alarm, data={"text": "the carrier changed"}, headers=browser)
        assert (done.status_code, done.headers["location"]) == (303, model_path("flights", "1"))
        for path in ("/", "/models/flights/1"):
            assert "the carrier changed" in client.get(path, headers=browser).text
        assert "1 note<" in client.get("/models/flights/1", headers=browser).text
        listed = client.get("/api/models/flights/versions/1/notes", headers=bearer(reader)).json()
        assert [(note["start"], note["alarm_id"]) for note in listed] == [
            (START, ""),
            (None, alarm.alarm_id),
        ]
        address = f"/api/notes/{listed[0]['note_id']}/delete"
        assert client.post(address, headers=bearer(reader)).status_code == 403
        assert client.post(address, headers=bearer(header)).status_code == 200
        assert client.post(address, headers=bearer(header)).status_code == 404
    assert [note.actor for note in store.written] == ["key:ann"]


def test_wrong_notes_are_refused(client: httpx.Client, store: FakeStore) -> None:
    wrong = [{}, {"text": " "}, {"text": "a\0"}, {"text": "x" * (LONGEST_NOTE + 1)}, {"text": 3}]
    for path in (notes_path("flights", "1", START), "/api/alarms/drift-24/notes"):
        for body in wrong:
            refused = client.post(path, json=body)
            assert (refused.status_code, "Traceback" in refused.text) == (400, False)
    for path in (notes_path("flights", "1", START + 1), "/api/alarms/none/notes"):
        assert client.post(path, json={"text": "x"}).status_code == 404
    assert store.written == []


def test_the_terminal_writes_lists_and_deletes_notes(home: Path) -> None:
    def run(*arguments: str) -> str:
        reply = CliRunner().invoke(command, [*arguments])
        assert reply.exit_code == 0, reply.output
        return reply.output

    name = run("note", "drift-24", "looked at it\nfiring (critical) nothing").partition(":")[0]
    assert "looked at it firing (critical) nothing" in " ".join(run("list").split())
    line = run("notes", "--model", "flights")
    assert line.startswith(f"{name}: alarm drift-24 of flights version 1, note of ")
    assert len(line.splitlines()) == 1
    assert run("notes", "--model", "other") == "There are no notes.\n"
    assert Store(home / "monitor.db").notes("flights", "1")[0].note_id == name
    run("delete-note", name)
    assert Store(home / "monitor.db").notes("flights", "1") == []
    missing = CliRunner().invoke(command, ["delete-note", name])
    assert missing.exit_code != 0
