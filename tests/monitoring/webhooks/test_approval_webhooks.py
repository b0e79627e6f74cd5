"""Webhooks for approval requests: once for each pending request."""

import json
from pathlib import Path

import pytest

from eventlog.errors import SettingError
from monitoring.results import DisabledReceiver
from monitoring.settings import MonitorSettings
from monitoring.webhooks.approval_outbox import ApprovalOutbox
from monitoring.webhooks.delivery import Sender, approval_receiver
from registry.errors import RegistryUnavailable
from registry.pending_approvals import PendingApproval
from tests.monitoring.webhooks.conftest import OpenLetterbox

SECRET = "whsec_" + "QUJD" * 8
PAGE = "http://page.example"


def request(number: str = "2", requested: int = 7, report: str = "r1") -> PendingApproval:
    return PendingApproval(
        "taxi", number, "champion", f"d{number}", "key:eve", "better", requested, 9, 1, ["risk"],
        [], "1", report, "passed",
    )  # fmt: skip


class Requests:
    """A registry's pending requests, unreadable while `lost` is set."""

    def __init__(self, *waiting: PendingApproval) -> None:
        self.waiting = list(waiting)
        self.lost = False

    def read(self) -> list[PendingApproval]:
        if self.lost:
            raise RegistryUnavailable("lost")
        return self.waiting


def settings(url: str, form: str = "cloudevents") -> MonitorSettings:
    return MonitorSettings(
        approval_webhook_url=url,
        approval_webhook_format=form,  # type: ignore[arg-type]
        webhook_secrets=SECRET,
        webhook_allowed_hosts="127.0.0.1",
    )


async def test_approval_request_is_sent_once_and_signed(
    tmp_path: Path, open_letterbox: OpenLetterbox
) -> None:
    box, requests = open_letterbox(), Requests(request())
    receiver = approval_receiver(settings(box.url))
    assert receiver is not None
    for _ in range(2):  # also after a restart
        sender = Sender(ApprovalOutbox(tmp_path / "sent.json", requests, PAGE), receiver)
        await sender.send_due()
        await sender.send_due()
    ((headers, body),) = box.received
    assert headers["webhook-signature"].startswith("v1,")
    event = json.loads(body)
    assert event["type"] == "driftline.approval.requested.v1"
    assert event["data"]["page"] == f"{PAGE}/approvals/taxi/2/champion"
    assert event["data"]["approval"]["digest"] == "d2"
    requests.waiting.append(request("3"))
    await sender.send_due()
    assert len(box.received) == 2


async def test_failed_attempt_is_retried_until_the_request_is_decided(
    tmp_path: Path, open_letterbox: OpenLetterbox
) -> None:
    box, requests = open_letterbox(), Requests(request())
    box.status = 500
    now = 0
    receiver = approval_receiver(settings(box.url))
    assert receiver is not None
    outbox = ApprovalOutbox(tmp_path / "sent.json", requests, PAGE)
    sender = Sender(outbox, receiver, clock=lambda: now, jitter=lambda: 0.5)
    await sender.send_due()
    await sender.send_due()
    assert len(box.received) == 1, "not before the next attempt"
    now = 3_600_000_000
    await sender.send_due()
    first, second = (headers["webhook-id"] for headers, _ in box.received)
    assert first == second
    requests.lost, now = True, 1 << 50
    await sender.send_due()
    requests.lost, requests.waiting = False, []
    await sender.send_due()
    assert len(box.received) == 2
    assert json.loads((tmp_path / "sent.json").read_text())["sent"] == {}


async def test_every_format_describes_the_approval_request(
    tmp_path: Path, open_letterbox: OpenLetterbox
) -> None:
    sentence = (
        "Approval of risk requested for taxi version 2 as champion, by key:eve: better. "
        f"Gates: passed. {PAGE}/approvals/taxi/2/champion"
    )
    for form in ("slack", "alertmanager", "github"):
        box = open_letterbox()
        receiver = approval_receiver(settings(box.url, form))
        assert receiver is not None
        outbox = ApprovalOutbox(tmp_path / f"{form}.json", Requests(request()), PAGE)
        await Sender(outbox, receiver).send_due()
        message = json.loads(box.received[0][1])
        if form == "slack":
            assert message == {"text": sentence}
        elif form == "github":
            assert message["event_type"] == "driftline-approval"
        else:
            assert message[0]["annotations"]["summary"] == sentence
            assert message[0]["labels"]["alertname"] == "DriftlineApprovalRequested"


def test_another_gate_report_or_request_is_another_webhook(tmp_path: Path) -> None:
    requests = Requests(request(), request(report="r2"), request(requested=8))
    outbox = ApprovalOutbox(tmp_path / "sent.json", requests, PAGE)
    assert len({one.webhook_id for one in outbox.due(0)}) == 3


def test_damaged_file_is_resent_once_and_a_disabled_receiver_is_stored(tmp_path: Path) -> None:
    file = tmp_path / "sent.json"
    file.write_bytes(b"{")
    outbox = ApprovalOutbox(file, Requests(request()), PAGE)
    assert len(outbox.due(0)) == 1
    outbox.disable(DisabledReceiver(receiver="x", host="h", since=1, reason="410"))
    assert ApprovalOutbox(file, Requests(), PAGE).disabled()[0].receiver == "x"


def test_unusable_approval_webhook_address_is_refused() -> None:
    assert approval_receiver(MonitorSettings()) is None
    with pytest.raises(SettingError, match="DRIFTLINE_MONITOR_APPROVAL_WEBHOOK_URL"):
        approval_receiver(settings("ftp://a"))
