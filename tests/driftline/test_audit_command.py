"""`driftline history` and `driftline audit` on the command line."""

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner, Result
from msgspec.structs import replace

from driftline.audit import HistoryChanged
from driftline.cli import driftline
from eventlog.events import PredictionEvent
from eventlog.heartbeats import Heartbeats
from eventlog.segments import SegmentWriter
from eventlog.settings import Home, LogSettings
from registry.errors import RegistryConflict, UnknownModel
from registry.history.rows import (
    HistoryRow,
    Registration,
    RolloutVerdict,
    encode_detail,
    next_chain,
)
from registry.history.store import History
from registry.rollouts import Rollouts
from registry.settings import open_history
from tests.postgres_server import PostgresServer

T0 = 1_700_000_000_000_000
MINUTE = 60_000_000


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path))
    return Home(tmp_path)


@pytest.fixture
def history(home: Home) -> History:
    history = History(home.registry)
    for number, digest in (("1", "d1"), ("2", "d2")):
        history.register("taxi", number, time=T0, actor="ann", digest=digest, files={"a": "b"})
    history.promote("taxi", "champion", "1", time=T0 + MINUTE, actor="bob", why="first")
    history.promote("taxi", "champion", "2", time=T0 + 2 * MINUTE, actor="cyd", why="it is better")
    return history


def run(*arguments: str) -> Result:
    return CliRunner().invoke(driftline, arguments, env={"COLUMNS": "200"})


def edit_history(home: Home, statement: str) -> None:
    """Change the table as a person with rights on the file can."""
    with closing(sqlite3.connect(home.registry)) as connection, connection:
        connection.execute("DROP TRIGGER IF EXISTS history_no_update")
        connection.execute("DROP TRIGGER IF EXISTS history_no_delete")
        connection.execute(statement)


def test_the_history_shows_actor_change_time_and_reason(history: History) -> None:
    lines = [" ".join(line.split()) for line in run("history", "taxi").output.splitlines()]
    assert lines[4] == ("4 2023-11-14 22:15:20 UTC cyd promoted champion version 2 it is better")
    assert '"why":"it is better"' in run("history", "taxi", "--json").output


def test_the_history_can_be_read_at_80_columns(history: History) -> None:
    why = "the gates of the candidate passed and [bold]nothing[/bold] is worse; " * 4
    row = HistoryRow(
        0, "taxi", "barred", "1", T0, "key:release-manager", why=why, evidence="e" * 64
    )
    history.append("taxi", lambda _: [row])
    command = CliRunner().invoke(driftline, ["history", "taxi"], env={"COLUMNS": "80"})
    lines = command.output.splitlines()
    assert max(map(len, lines)) <= 80
    first = next(n for n, line in enumerate(lines) if "barred version 1" in line)
    entry = [line.strip() for line in lines[first:]]
    assert entry[1].startswith("key:release-manager: the gates of the candidate passed")
    assert "[bold]nothing[/bold]" in " ".join(entry)
    assert entry[-1] == "evidence eeeeeeeeeeee"
    assert len(entry) <= 7, "a reason is not a column of ten characters"


def test_changes_caused_by_a_verdict_refer_to_it(history: History) -> None:
    Rollouts(history).start("taxi", "1", "champion", [0.5], bake_s=60, actor="ann")
    verdict = RolloutVerdict("roll back", 0, "errors", {"errors": [9, 50, 10, 1_000]})
    Rollouts(history).abort(
        "taxi", "champion", actor="monitor", why="too many errors", bar=True, verdict=verdict
    )
    lines = run("history", "taxi").output.splitlines()[-3:]
    assert "verdict" in lines[0]
    reasons = ["too many errors", "verdict of revision 6", "verdict of revision 6"]
    assert [reason in line for reason, line in zip(reasons, lines, strict=True)] == [True] * 3


@pytest.mark.parametrize(
    ("at", "sentence"),
    [
        ("2023-11-14T22:14:19", "taxi champion named no version at 2023-11-14 22:14:19 UTC"),
        ("2023-11-14T22:14:20", "version 1 at 2023-11-14 22:14:20 UTC: bob set it in revision 3"),
        ("2023-11-14T23:15:19+0100", "version 1 at 2023-11-14 22:15:19 UTC: bob"),
        ("2023-11-14T22:15:21", "version 2 at 2023-11-14 22:15:21 UTC: cyd set it in revision 4"),
    ],
)
def test_the_version_at_a_time_is_named(history: History, at: str, sentence: str) -> None:
    assert sentence in run("history", "taxi", "--at", at).output


def test_times_out_of_the_order_of_revisions_are_reported(history: History) -> None:
    history.promote("taxi", "champion", "1", time=T0 + MINUTE + 1, actor="eve")  # a late clock
    doubtful = run("history", "taxi", "--at", "2023-11-14T22:15:00")
    assert "a clock was wrong: revision 4 is dated 2023-11-14 22:15:20" in doubtful.stderr
    assert "eve set it in revision 5" in doubtful.stdout
    certain = run("history", "taxi", "--at", "2023-11-14T22:16:00")
    assert (certain.stderr, "in revision 5" in certain.stdout) == ("", True)


def test_a_model_without_rows_is_named(history: History) -> None:
    assert isinstance(run("history", "bus").exception, UnknownModel)


@pytest.mark.parametrize(
    "change",
    [
        "time = 'noon'",
        "time = 9223372036854775807",
        "time = -9223372036854775808",
        "model = x'ff00'",
        "actor = x'fffe'",
        "detail = x'7b'",
        "number = x'80'",
    ],
)
def test_impossible_values_are_shown_and_detected(
    home: Home, history: History, change: str
) -> None:
    edit_history(home, f"UPDATE history SET {change} WHERE revision = 3")
    assert run("history", "taxi").exit_code == 0
    assert run("history", "taxi", "--json").exit_code == 0
    found = run("audit", "verify").exception
    assert isinstance(found, HistoryChanged)
    assert "revision 3 was changed" in str(found)
    assert history.aliases("taxi")["champion"] == "2"


def test_an_unchanged_history_is_verified(history: History) -> None:
    result = run("audit", "verify")
    assert result.exit_code == 0
    assert "4 rows agree with their chain, 0 predictions" in result.output
    revision, chain = history.head()
    assert run("audit", "head").output == f"{revision}:{chain}\n"
    assert run("audit", "verify", "--head", f"{revision}:{chain}").exit_code == 0


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        (
            "UPDATE history SET number = '1' WHERE revision = 4",
            "revision 4 was changed: taxi",
        ),
        ("UPDATE history SET actor = 'bob' WHERE revision = 2", "revision 2 was changed"),
        ("DELETE FROM history WHERE revision = 2", "revision 2 is missing: revision 3 follows"),
    ],
)
def test_an_edited_or_removed_row_is_reported_as_first_difference(
    home: Home, history: History, statement: str, fault: str
) -> None:
    edit_history(home, statement)
    assert fault in str(run("audit", "verify").exception)


def test_a_stored_head_detects_a_cut_tail(home: Home, history: History) -> None:
    kept = run("audit", "head").output.strip()
    edit_history(home, "DELETE FROM history WHERE revision = 4")
    assert run("audit", "verify").exit_code == 0
    found = str(run("audit", "verify", "--head", kept).exception)
    assert found == "the tail is missing: the last revision is 3, expected 4"


def test_a_stored_head_detects_a_recomputed_chain(home: Home, history: History) -> None:
    kept = run("audit", "head").output.strip()
    rows = list(history.all_rows())
    forged = replace(rows[3], actor="bob")
    chain = next_chain(rows[2].chain, forged)
    edit_history(home, f"UPDATE history SET actor = 'bob', chain = '{chain}' WHERE revision = 4")
    assert run("audit", "verify").exit_code == 0
    assert "revision 4 or an earlier one was replaced" in str(
        run("audit", "verify", "--head", kept).exception
    )


def _event(**fields: object) -> PredictionEvent:
    usual: dict[str, object] = {
        "source": "here-0", "epoch": 1, "sequence": 0, "time": T0, "received": T0,
        "prediction_id": "p", "model": "taxi", "protocol": "rest", "outcome": "ok",
        "version": "2", "digest": "d2", "alias": "champion", "revision": 4,
    }  # fmt: skip
    return PredictionEvent(**usual | fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({}, ""),
        ({"alias": "", "version": "1", "digest": "d1", "revision": 2}, ""),
        ({"revision": 5}, "answered at revision 5, but the history ends at 4: its tail was cut"),
        ({"digest": "ee"}, "answered by digest ee..., but revision 2 registered d2"),
        ({"version": "9"}, "this version is not registered in the history"),
        ({"revision": 3}, "no row up to revision 3 points champion at it"),
    ],
)
def test_the_history_is_compared_with_the_log(
    home: Home, history: History, fields: dict[str, object], fault: str
) -> None:
    writer = SegmentWriter.claim(home.log, "here", LogSettings())
    event = _event(source=writer.source, epoch=writer.epoch, **fields)
    writer.append([event])
    writer.close()
    result = run("audit", "verify")
    assert fault in str(result.exception)
    assert (result.exit_code == 0) is not bool(fault)
    assert run("audit", "verify", "--no-log").exit_code == 0


def _forge(home: Home, rows: list[HistoryRow], first: int) -> None:
    """Edit the rows from a revision on, and compute their chain again."""
    chain = rows[first - 2].chain
    for row in rows[first - 1 :]:
        chain = next_chain(chain, replace(row, actor="eve"))
        edit_history(
            home,
            f"UPDATE history SET actor = 'eve', chain = '{chain}' WHERE revision = {row.revision}",
        )


@pytest.mark.parametrize(
    ("harm", "fault"),
    [
        (lambda home, rows: _forge(home, rows, 4), "row 4 changed after event here-0:"),
        (lambda home, rows: _forge(home, rows, 3), "row 3 changed after event here-0:"),
        (lambda home, rows: _forge(home, rows, 2), "row 2 changed after event here-0:"),
        (
            lambda home, _: edit_history(home, "DELETE FROM history WHERE revision > 2"),
            "rows from 3 on are missing: event here-0:",
        ),
    ],
)
def test_heads_in_the_log_detect_a_recomputed_chain(
    home: Home,
    history: History,
    harm: Callable[[Home, list[HistoryRow]], None],
    fault: str,
) -> None:
    rows = list(history.all_rows())
    writer = SegmentWriter.claim(home.log, "here", LogSettings())
    heartbeats = Heartbeats(writer, lambda: T0 + 9 * MINUTE)
    for row in rows:
        heartbeats.follow(row.revision, row.chain)
        heartbeats.tick()
    writer.close()
    assert "4 heads of the log agree with the rows" in run("audit", "verify").output
    harm(home, rows)
    assert run("audit", "verify", "--no-log").exit_code == 0  # the chain alone agrees
    assert fault in str(run("audit", "verify").exception)


def test_a_head_covers_all_rows_since_the_previous_head(home: Home, history: History) -> None:
    rows = list(history.all_rows())
    writer = SegmentWriter.claim(home.log, "here", LogSettings())
    heartbeats = Heartbeats(writer, lambda: T0)
    for row in (rows[0], rows[3]):
        heartbeats.follow(row.revision, row.chain)
        heartbeats.tick()
    writer.close()
    _forge(home, rows, 3)
    assert "rows 2 to 4 changed after event here-0:" in str(run("audit", "verify").exception)


def test_an_export_is_verified_on_another_machine(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "history.jsonl"
    assert "4 rows written" in run("audit", "export", str(file)).output
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path / "elsewhere"))
    assert "4 rows agree" in run("audit", "verify", "--file", str(file)).output
    file.write_text(file.read_text().replace("it is better", "it is older"))
    assert isinstance(run("audit", "verify", "--file", str(file)).exception, HistoryChanged)
    file.write_text("garbage\n")
    found = str(run("audit", "verify", "--file", str(file)).exception)
    assert "history.jsonl line 1" in found


def test_a_promotion_with_an_outdated_expected_revision_is_refused(
    history: History,
) -> None:
    with pytest.raises(RegistryConflict, match="cyd promoted champion version 2 first"):
        history.promote("taxi", "champion", "1", time=T0, actor="", expected_revision=3)


def test_the_encoding_of_a_row_never_changes() -> None:
    row = HistoryRow(
        1, "taxi", "registered", "1", T0, "ann", digest="d1", why="é", evidence="e",
        detail=encode_detail(Registration({"model.onnx": "ab"})),
    )  # fmt: skip
    assert next_chain("0" * 64, row) == (
        "bceb97de0d0b970f5b4791b3234932753783d657e5b783fcd54217fec509ae13"
    )


def test_a_machines_copy_detects_rows_replaced_on_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, postgres: PostgresServer
) -> None:
    monkeypatch.setenv("DRIFTLINE_HOME", str(tmp_path))
    monkeypatch.setenv("DRIFTLINE_REGISTRY", postgres.schema())
    history = open_history(Home(tmp_path))
    history.register("taxi", "1", time=T0, actor="ann", digest="d1")
    history.promote("taxi", "champion", "1", time=T0, actor="bob")
    assert history.revision() == 2
    assert run("audit", "verify").exit_code == 0
    rows = list(history.all_rows())
    forged = replace(rows[1], actor="eve")
    with psycopg.connect(os.environ["DRIFTLINE_REGISTRY"]) as server:
        server.execute("ALTER TABLE history DISABLE TRIGGER USER")
        server.execute(
            "UPDATE history SET actor = 'eve', chain = %s WHERE revision = 2",
            [next_chain(rows[0].chain, forged)],
        )
    history.close()
    found = str(run("audit", "verify").exception)
    assert "revision 2 or an earlier one was replaced" in found


def test_the_history_shows_changes_of_rollouts_and_damaged_rows(
    history: History,
) -> None:
    rollouts = Rollouts(history)
    rollouts.start("taxi", "1", "champion", [0.5, 1.0], bake_s=60, actor="ann")
    rollouts.advance("taxi", "champion", actor="ann")
    row = HistoryRow(0, "taxi", "verdict", "1", T0, "monitor", "champion", detail='{"verdict": 1}')
    history.append("taxi", lambda _: [row])
    output = run("history", "taxi").output
    for what in ("start", "step 2", "cannot be read"):
        assert what in " ".join(output.split())


@pytest.mark.parametrize("option", ["--tolerate", "--latency-objective"])
@pytest.mark.parametrize("number", ["inf", "nan", "-1"])
def test_a_rollout_has_finite_limits(history: History, option: str, number: str) -> None:
    ended = run("rollout", "start", "taxi", "--version", "1", option, number)
    assert ended.exit_code != 0
    name = option[2:].partition("-")[0]  # the history says latency_ms
    assert name in ended.output + str(ended.exception)
    assert history.state("taxi").rollouts == {}
