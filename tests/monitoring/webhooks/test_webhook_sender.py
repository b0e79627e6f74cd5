import base64
import time
from typing import Any

import msgspec
import pytest
from standardwebhooks.webhooks import Webhook

from monitoring.core.results import Delivery
from monitoring.webhooks.body import trial
from monitoring.webhooks.egress import Egress
from monitoring.webhooks.schedule import MAX_ATTEMPTS, SECOND
from monitoring.webhooks.sender import Receiver, Sender, sending, wall_clock
from monitoring.webhooks.signing import Signer

SECRET = "whsec_" + base64.b64encode(b"s" * 32).decode()


class FakeOutbox:
    """An outbox in memory; `due` obeys the moment of the next attempt."""

    def __init__(self, *deliveries: Delivery) -> None:
        self.deliveries = {delivery.webhook_id: delivery for delivery in deliveries}

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


def sender(outbox: FakeOutbox, url: str, clock: Clock) -> Sender:
    return Sender(outbox, receiver(url), clock=clock, jitter=lambda: 0.0)


async def test_a_due_webhook_arrives_signed_and_is_delivered_once(letterbox: Any) -> None:
    outbox, clock = FakeOutbox(delivery()), Clock()
    courier = sender(outbox, letterbox.url, clock)
    await courier.send_due()
    await courier.send_due()
    [(headers, body)] = letterbox.received
    assert Webhook(SECRET).verify(body, headers)["id"] == "msg-1"
    assert headers["webhook-id"] == "msg-1"
    assert outbox.deliveries["msg-1"].state == "delivered"


async def test_a_failing_receiver_is_tried_again_later_with_a_fresh_timestamp(
    letterbox: Any,
) -> None:
    outbox, clock = FakeOutbox(delivery()), Clock()
    letterbox.status, letterbox.body = 503, b"come\nback"
    courier = sender(outbox, letterbox.url, clock)
    await courier.send_due()
    first = outbox.deliveries["msg-1"]
    assert (first.state, first.attempts, first.last_error) == ("pending", 1, "503: come back")
    assert first.next_attempt == clock.now + 5 * SECOND
    await courier.send_due()
    assert len(letterbox.received) == 1
    letterbox.status, letterbox.body = 204, b""
    clock.now = first.next_attempt
    await courier.send_due()
    stamps = [int(headers["webhook-timestamp"]) for headers, _ in letterbox.received]
    assert stamps[1] == stamps[0] + 5
    assert outbox.deliveries["msg-1"].state == "delivered"


async def test_a_receiver_may_ask_for_more_time(letterbox: Any) -> None:
    outbox, clock = FakeOutbox(delivery()), Clock()
    letterbox.status, letterbox.headers = 429, {"retry-after": "600"}
    await sender(outbox, letterbox.url, clock).send_due()
    assert outbox.deliveries["msg-1"].next_attempt == clock.now + 600 * SECOND


async def test_gone_ends_a_delivery_at_once(letterbox: Any) -> None:
    outbox = FakeOutbox(delivery())
    letterbox.status = 410
    await sender(outbox, letterbox.url, Clock()).send_due()
    assert outbox.deliveries["msg-1"].state == "dead"


async def test_a_delivery_nobody_takes_is_dead_in_the_end() -> None:
    outbox, clock = FakeOutbox(delivery()), Clock()
    courier = sender(outbox, "http://receiver.example/refused", clock)
    for _ in range(MAX_ATTEMPTS):
        await courier.send_due()
        clock.now = outbox.deliveries["msg-1"].next_attempt
    assert outbox.deliveries["msg-1"].state == "dead"
    assert "begins with http://" in outbox.deliveries["msg-1"].last_error


async def test_one_failing_delivery_does_not_hold_up_the_next(letterbox: Any) -> None:
    outbox = FakeOutbox(delivery("a"), delivery("b"))
    letterbox.status = 500
    await sender(outbox, letterbox.url, Clock()).send_due()
    assert [headers["webhook-id"] for headers, _ in letterbox.received] == ["a", "b"]


async def test_a_redirect_is_a_failure_that_says_so(letterbox: Any) -> None:
    outbox = FakeOutbox(delivery())
    letterbox.status, letterbox.headers = 301, {"location": "http://169.254.169.254/"}
    await sender(outbox, letterbox.url, Clock()).send_due()
    assert outbox.deliveries["msg-1"].last_error == "301: redirects are not followed"


def wait_until(condition: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail("waited in vain")
        time.sleep(0.01)


def test_the_thread_sends_and_stops_cleanly(letterbox: Any) -> None:
    outbox = FakeOutbox(delivery())
    with sending(lambda: Sender(outbox, receiver(letterbox.url), clock=wall_clock)):
        wait_until(lambda: outbox.deliveries["msg-1"].state == "delivered")
    assert len(letterbox.received) == 1


class BrokenOutbox(FakeOutbox):
    """Fails when first looked into."""

    broken = True

    def due(self, now: int) -> list[Delivery]:
        if self.broken:
            self.broken = False
            raise OSError("disk full")
        return super().due(now)


def test_the_thread_outlives_an_outbox_that_fails_once(letterbox: Any) -> None:
    outbox = BrokenOutbox(delivery())
    with sending(lambda: Sender(outbox, receiver(letterbox.url)), idle=0.01):
        wait_until(lambda: outbox.deliveries["msg-1"].state == "delivered")
