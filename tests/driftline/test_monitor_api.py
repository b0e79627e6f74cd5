"""The figures of a remote monitor, for `driftline rollout status --server`."""

import httpx
import msgspec
import pytest

from driftline.monitor_api import awaited_conditions
from monitoring.presenter.rollout_panel import RolloutPanel
from monitoring.web.rollouts import AliasPanel
from registry.history.rollout_state import Rollout

ROLLOUT = Rollout(
    id="r1", alias="champion", number="2", before="1", steps=[0.5], bake_s=60, step=0,
    phase="running", since=7, started=7, actor="ann",
)  # fmt: skip
PANEL = AliasPanel(
    alias="champion",
    panel=RolloutPanel("bus", "champion", ROLLOUT, awaited=["Not enough data about it."]),
)


@pytest.fixture(autouse=True)
def page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTLINE_MONITOR_PAGE_URL", "https://monitor.test/")
    monkeypatch.setenv("DRIFTLINE_API_KEY", "dl_secret")


def answering(reply: httpx.Response) -> httpx.MockTransport:
    def answer(request: httpx.Request) -> httpx.Response:
        address = "https://monitor.test/api/models/bus%20line/rollouts/champion"
        assert str(request.url) == address
        assert request.headers["authorization"] == "Bearer dl_secret"
        return reply

    return httpx.MockTransport(answer)


def ask(transport: httpx.BaseTransport, rollout: str = "r1") -> list[str]:
    return list(awaited_conditions("bus line", "champion", rollout, transport))


def test_the_monitor_states_the_conditions_that_a_rollout_awaits() -> None:
    transport = answering(httpx.Response(200, content=msgspec.json.encode(PANEL)))
    assert ask(transport) == ["Not enough data about it."]
    assert ask(transport, "r2") == []  # it follows an earlier rollout still
    assert ask(answering(httpx.Response(200, content=b'{"panel": null}'))) == []


@pytest.mark.parametrize(
    ("reply", "reason"),
    [(httpx.Response(403), "status 403"), (httpx.Response(200, content=b"<html>"), "JSON is")],
)
def test_a_monitor_that_does_not_reply_is_named(
    reply: httpx.Response, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(answering(reply)) == []
    printed = capsys.readouterr().err
    assert "driftline: cannot query the monitor at https://monitor.test: " in printed
    assert reason in printed


def test_without_an_address_no_monitor_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DRIFTLINE_MONITOR_PAGE_URL")
    assert ask(answering(httpx.Response(500))) == []
