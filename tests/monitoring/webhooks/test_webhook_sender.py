import base64
import time
from email.utils import formatdate
from pathlib import Path
from typing import Any

import msgspec
import pytest
from standardwebhooks.webhooks import Webhook

from eventlog.errors import SettingError
from monitoring.results import Delivery, DisabledReceiver
from monitoring.settings import MonitorSettings
from monitoring.storage.database import Database
from monitoring.storage.journal import Journal
from monitoring.storage.store import Store
from monitoring.webhooks.body import trial
from monitoring.webhooks.delivery import Receiver, Sender, sender_thread
from monitoring.webhooks.egress import Egress
from monitoring.webhooks.retries import LONGEST_RETRY_AFTER, MAX_ATTEMPTS, SECOND
from monitoring.webhooks.signature import Signer
from telemetry.clock import now_us

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()


class FakeOutbox:
    """An outbox in memory; `due` respects the time of the next attempt."""

    def __init__(self, *deliveries: Delivery) -> None:
        self.deliveries = {delivery.webhook_id: delivery for delivery in deliveries}
        self.stops: list[DisabledReceiver] = []

    def due(self, now: int) -> list[Delivery]:
        return [
            delivery
            for delivery in self.deliveries.values()
            if delivery.state == "pending" and delivery.next_attempt <= now
        ]

    def delivered(self, webhook_id: str) -> None:
        self._change(webhook_id, state="delivered")

    def failed(self, webhook_id: str, error: str, next_attempt: int | None) -> None:
        self._change(
            webhook_id,
            attempts=self.deliveries[webhook_id].attempts + 1,
            last_error=error,
            next_attempt=next_attempt or 0,
            state="pending" if next_attempt else "dead",
        )

    def disable(self, disabled: DisabledReceiver) -> None:
        self.stops.append(disabled)

    def disabled(self) -> list[DisabledReceiver]:
        return self.stops

    def _change(self, webhook_id: str, **changes: Any) -> None:
        self.deliveries[webhook_id] = msgspec.structs.replace(
            self.deliveries[webhook_id], **changes
        )


class Clock:
    def __init__(self) -> None:
        self.now = time.time_ns() // 1_000

    def __call__(self) -> int:
        return self.now


def delivery(webhook_id: str = "msg-1") -> Delivery:
    return Delivery(webhook_id=webhook_id, body=trial(webhook_id, 0), created=0)


def receiver(url: str) -> Receiver:
    return Receiver(url, Signer([SECRET]), Egress(["127.0.0.1"], seconds=2))


def sender(outbox: FakeOutbox | Store, url: str, clock: Clock) -> Sender:
    return Sender(outbox, receiver(url), clock=clock, jitter=lambda: 0.0)


async def test_due_webhook_is_signed_and_delivered_once(letterbox: Any) -> None:
    outbox, clock = FakeOutbox(delivery()), Clock()
    sending = sender(outbox, letterbox.url, clock)
    await sending.send_due()
    await sending.send_due()
    [(headers, body)] = letterbox.received
    assert Webhook(SECRET).verify(body, headers)["id"] == "msg-1"
    assert headers["webhook-id"] == "msg-1"
    assert outbox.deliveries["msg-1"].state == "delivered"


async def test_failed_webhook_is_retried_with_a_new_timestamp(
    letterbox: Any,
) -> None:
    outbox, clock = FakeOutbox(delivery()), Clock()
    letterbox.status, letterbox.body = 503, b"come\nback"
    sending = sender(outbox, letterbox.url, clock)
    await sending.send_due()
    first = outbox.deliveries["msg-1"]
    assert (first.state, first.attempts, first.last_error) == ("pending", 1, "503: come back")
    assert first.next_attempt == clock.now + 5 * SECOND
    await sending.send_due()
    assert len(letterbox.received) == 1
    letterbox.status, letterbox.body = 204, b""
    clock.now = first.next_attempt
    await sending.send_due()
    stamps = [int(headers["webhook-timestamp"]) for headers, _ in letterbox.received]
    assert stamps[1] == stamps[0] + 5
    assert outbox.deliveries["msg-1"].state == "delivered"


async def test_retry_after_in_seconds_delays_the_next_attempt(letterbox: Any) -> None:
    outbox, clock = FakeOutbox(delivery()), Clock()
    letterbox.status, letterbox.headers = 429, {"retry-after": "600"}
    await sender(outbox, letterbox.url, clock).send_due()
    assert outbox.deliveries["msg-1"].next_attempt == clock.now + 600 * SECOND


async def test_retry_after_as_a_date_delays_the_next_attempt(letterbox: Any) -> None:
    outbox, clock = FakeOutbox(delivery()), Clock()
    wanted = clock.now // SECOND + 3_600
    letterbox.status, letterbox.headers = 503, {"retry-after": formatdate(wanted, usegmt=True)}
    await sender(outbox, letterbox.url, clock).send_due()
    assert outbox.deliveries["msg-1"].next_attempt == wanted * SECOND


async def test_retry_after_delays_by_at_most_a_day(letterbox: Any) -> None:
    outbox, clock = FakeOutbox(delivery()), Clock()
    letterbox.status, letterbox.headers = 503, {"retry-after": "99999999"}
    await sender(outbox, letterbox.url, clock).send_due()
    assert outbox.deliveries["msg-1"].next_attempt == clock.now + LONGEST_RETRY_AFTER


async def test_receiver_that_replied_gone_gets_no_webhook_after_a_restart(
    letterbox: Any, tmp_path: Path
) -> None:
    _written(tmp_path, "a", "b")
    letterbox.status = 410
    for _ in range(2):
        await sender(Store(tmp_path / "monitor.db"), letterbox.url, Clock()).send_due()
    assert [headers["webhook-id"] for headers, _ in letterbox.received] == ["a"]
    store = Store(tmp_path / "monitor.db")
    (stopped,) = store.disabled()
    assert (stopped.host, stopped.reason) == (
        "127.0.0.1",
        "410: the receiver asked for no further webhooks",
    )
    assert "/hook" not in repr(stopped)  # an address can contain a secret
    assert {one.state for one in store.deliveries()} == {"pending"}


async def test_enabled_receiver_gets_its_pending_webhooks(letterbox: Any, tmp_path: Path) -> None:
    store, clock = _written(tmp_path, "a", "b"), Clock()
    letterbox.status = 410
    await sender(store, letterbox.url, clock).send_due()
    letterbox.status = 204
    store.enable()
    await sender(store, letterbox.url, clock).send_due()
    assert {one.state for one in store.deliveries()} == {"delivered"}


async def test_another_address_is_another_receiver(letterbox: Any, tmp_path: Path) -> None:
    store, clock = _written(tmp_path, "a", "b"), Clock()
    letterbox.status = 410
    await sender(store, letterbox.url, clock).send_due()
    letterbox.status = 204
    await sender(store, f"{letterbox.url}/moved", clock).send_due()
    assert {one.state for one in store.deliveries()} == {"delivered"}
    assert len(store.disabled()) == 1


def _written(folder: Path, *names: str) -> Store:
    """Return a monitor's store with webhooks to send."""
    database = Database(folder / "monitor.db")
    with database.transaction():
        for place, name in enumerate(names):
            Journal(database).add_delivery(name, trial(name, 0), place)
    database.close()
    return Store(folder / "monitor.db")


async def test_undeliverable_webhook_is_dead_after_more_than_a_day() -> None:
    outbox, clock = FakeOutbox(delivery()), Clock()
    sending, begin, last = sender(outbox, "http://receiver.example/refused", clock), clock.now, 0
    for _ in range(MAX_ATTEMPTS):
        assert outbox.deliveries["msg-1"].state == "pending"
        await sending.send_due()
        last, clock.now = clock.now, outbox.deliveries["msg-1"].next_attempt
    assert outbox.deliveries["msg-1"].state == "dead"
    assert last - begin > 24 * 3_600 * SECOND
    assert "starts with http://" in outbox.deliveries["msg-1"].last_error


async def test_failed_delivery_does_not_delay_the_next(letterbox: Any) -> None:
    outbox = FakeOutbox(delivery("a"), delivery("b"))
    letterbox.status = 500
    await sender(outbox, letterbox.url, Clock()).send_due()
    assert [headers["webhook-id"] for headers, _ in letterbox.received] == ["a", "b"]


async def test_redirect_is_a_failed_attempt(letterbox: Any) -> None:
    outbox = FakeOutbox(delivery())
    letterbox.status, letterbox.headers = 301, {"location": "http://169.254.169.254/"}
    await sender(outbox, letterbox.url, Clock()).send_due()
    assert outbox.deliveries["msg-1"].last_error == "301: redirects are not followed"


def wait_until(condition: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("the condition was not met in time")
        time.sleep(0.01)


def test_sender_thread_sends_and_stops(letterbox: Any) -> None:
    outbox = FakeOutbox(delivery())
    with sender_thread(lambda: Sender(outbox, receiver(letterbox.url), clock=now_us)):
        wait_until(lambda: outbox.deliveries["msg-1"].state == "delivered")
    assert len(letterbox.received) == 1


class BrokenOutbox(FakeOutbox):
    """Fails at the first call of `due`."""

    broken = True

    def due(self, now: int) -> list[Delivery]:
        if self.broken:
            self.broken = False
            raise OSError("disk full")
        return super().due(now)


def test_sender_thread_continues_after_a_failing_outbox(letterbox: Any) -> None:
    outbox = BrokenOutbox(delivery())
    with sender_thread(lambda: Sender(outbox, receiver(letterbox.url)), idle=0.01):
        wait_until(lambda: outbox.deliveries["msg-1"].state == "delivered")


@pytest.mark.parametrize("error", [TypeError("x"), UnicodeEncodeError("ascii", "é", 0, 1, "no")])
async def test_unexpected_error_is_a_failed_attempt_and_the_next_webhook_is_sent(
    error: Exception,
) -> None:
    outbox = FakeOutbox(*(Delivery(webhook_id=name, body=b"{}", created=0) for name in ("a", "b")))

    class Broken:
        name = "x"

        async def post(self, webhook_id: str, _body: bytes, _now: int) -> Any:
            raise error

    sender = Sender(outbox, Broken(), clock=lambda: 1_000)  # type: ignore[arg-type]
    await sender.send_due()
    assert [one.attempts for one in outbox.deliveries.values()] == [1, 1]
    assert all(type(error).__name__ in one.last_error for one in outbox.deliveries.values())


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"webhook_url": "https://[::1"}, "WEBHOOK_URL: webhook address is not a valid URL"),
        ({"webhook_url": "https://a.example:99999/"}, "WEBHOOK_URL: .*(cannot be read|port)"),
        (
            {"webhook_url": "https://a\x00b.example/"},
            "WEBHOOK_URL: webhook address is not a valid URL",
        ),
        (
            {"webhook_url": "https://" + "a" * 70_000},
            "WEBHOOK_URL: webhook address is not a valid URL",
        ),
        ({"webhook_url": "receiver.example"}, "WEBHOOK_URL: .*names no host"),
        ({"webhook_url": "http://receiver.example"}, "WEBHOOK_URL: .*expected https"),
        ({"webhook_url": "https://u:p@receiver.example"}, "WEBHOOK_URL: .*user or password"),
        ({"webhook_token": "é"}, "WEBHOOK_TOKEN: has characters"),
        ({"webhook_token": "a\r\nx: y"}, "WEBHOOK_TOKEN: has characters"),
        ({"webhook_secrets": "whsec_short"}, "secret number 1"),
        ({"webhook_secrets": ""}, "no webhook secret"),
    ],
)
def test_unusable_webhook_settings_are_refused_at_start(
    settings: dict[str, str], reason: str
) -> None:
    usable = {"webhook_url": "https://receiver.example/", "webhook_secrets": SECRET}
    assert Receiver.configured(MonitorSettings(**usable)) is not None  # type: ignore[arg-type]
    with pytest.raises(SettingError, match=reason):
        Receiver.configured(MonitorSettings(**{**usable, **settings}))  # type: ignore[arg-type]
