"""The pages of a model's history and of a prediction's trace."""

from collections.abc import Iterator
from functools import partial

import httpx
import pytest

from driftline.trace import read_trace
from eventlog.events import PredictionEvent
from eventlog.segments import SegmentWriter
from eventlog.settings import Home, LogSettings
from monitoring.web.app import app
from monitoring.web.records import RecordDesk
from monitoring.web.server import serving
from registry.history.store import History
from tests.monitoring.web.conftest import FakeStore

T0 = 1_700_000_000_000_000


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecordDesk]:
    home = Home(tmp_path_factory.mktemp("records"))
    history = History(home.registry)
    history.register("tiny", "1", time=T0, actor="key:ann", digest="d1")
    for n in range(300):
        why = "<b>" if n == 299 else f"reason {n}"
        history.promote(
            "tiny", "champion" if n % 2 else "other", "1", time=T0, actor="key:bob", why=why
        )
        history.load("tiny", "1", time=T0 + n, actor="key:bob")
        history.unload("tiny", "1", time=T0 + n, actor="key:bob")
    writer = SegmentWriter.claim(home.log, "here", LogSettings())
    writer.append(
        [
            PredictionEvent(
                source=writer.source, epoch=writer.epoch, sequence=0, time=T0, received=T0,
                prediction_id="p<1>", model="tiny", protocol="rest", outcome="ok", version="1",
                digest="d1", alias="champion", revision=3,
            )
        ]
    )  # fmt: skip
    writer.close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BENTOML_HOME", str(home.root / "bentoml"))
        yield RecordDesk(history, partial(read_trace, home))


@pytest.fixture(scope="module")
def page(desk: RecordDesk, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    made = app(FakeStore, tmp_path_factory.mktemp("reports"), records_desk=desk)
    with (
        serving(made, "127.0.0.1", 0) as address,
        httpx.Client(base_url=address, trust_env=False) as client,
    ):
        yield client


def test_the_history_is_shown_page_by_page_newest_first(page: httpx.Client) -> None:
    rows = page.get("/api/models/tiny/history").json()
    assert [row["revision"] for row in rows] == list(range(1, len(rows) + 1))
    shown = page.get("/models/tiny/history").text
    assert "Times are in UTC." in shown  # not event time
    assert shown.count("<tr>") == 1 + 200
    assert "unloaded version 1" in shown
    assert "key:bob" in shown
    earlier = f"?before={len(rows) - 199}"
    assert f'href="{earlier}"' in shown
    assert "Earlier changes" in page.get(f"/models/tiny/history{earlier}").text
    last = page.get("/models/tiny/history?before=5").text
    assert "key:ann" in last
    assert "Earlier changes" not in last
    assert "promoted other version 1" in last
    assert page.get("/models/none/history").status_code == 404
    assert page.get("/models/tiny/history?before=x").status_code == 400


def test_a_prediction_is_traced(page: httpx.Client) -> None:
    shown = page.get("/predictions/p%3C1%3E").text
    assert "Prediction <code>p&lt;1&gt;</code>" in shown
    assert "here-0:" in shown
    assert "key:ann" in shown
    assert "Not found here" in shown
    assert '<a href="/models/tiny/history">' in shown
    found = page.get("/api/predictions/p%3C1%3E").json()
    assert found["event"]["version"] == "1"


def test_an_unknown_prediction_is_named(page: httpx.Client, desk: RecordDesk) -> None:
    reply = page.get("/api/predictions/unknown")
    assert (reply.status_code, "no prediction 'unknown' found" in reply.text) == (404, True)
    assert page.get(f"/predictions/{'x' * 600}").status_code == 400
    desk.searching = True
    assert page.get("/predictions/unknown").status_code == 503
    desk.searching = False
