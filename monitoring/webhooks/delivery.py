"""Deliver due webhooks from the outbox, until each webhook is received or given up (dead).

If the process crashes between the receiver's reply and the record of it in the outbox, the webhook
is delivered again with the same id. No webhook is lost.
"""

import asyncio
import logging
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import Protocol

import httpx
from msgspec.structs import replace

from eventlog.errors import SettingError
from monitoring.alarms.retrain_request import NOTICE
from monitoring.errors import DatabaseUnavailable, DeliveryFailed
from monitoring.results import Delivery, DisabledReceiver
from monitoring.settings import PREFIX, MonitorSettings, split_list
from monitoring.webhooks.adapters import ADAPTERS, Adapter
from monitoring.webhooks.egress import Egress, HttpResponse, check_address
from monitoring.webhooks.retries import SECOND, next_attempt, parse_retry_after
from monitoring.webhooks.signature import Signer
from telemetry.clock import now_us

log = logging.getLogger(__name__)

Clock = Callable[[], int]  # microseconds since the Unix epoch


class Outbox(Protocol):
    """Interface of the store of pending webhooks."""

    def due(self, now: int) -> list[Delivery]:
        """Return pending webhooks whose next attempt is not after `now`."""
        ...

    def delivered(self, webhook_id: str) -> None:
        """Record that the receiver accepted a webhook."""
        ...

    def failed(self, webhook_id: str, error: str, next_attempt: int | None) -> None:
        """Record a failed attempt; `next_attempt` is None if no further attempt is made."""
        ...

    def disable(self, disabled: DisabledReceiver) -> None:
        """Disable a receiver until an operator enables it."""
        ...

    def disabled(self) -> list[DisabledReceiver]:
        """Return the disabled receivers."""
        ...


class Receiver:
    """A receiver of webhooks: its address, signatures, format, and the egress guard."""

    @classmethod
    def configured(
        cls, settings: MonitorSettings, prefix: str = f"{PREFIX}WEBHOOK_"
    ) -> "Receiver | None":
        """Return the receiver that the settings describe, or None if no address is set.

        `prefix` is the prefix of its settings in error messages.

        Raises:
            SettingError: the address, the token or the secrets cannot be used.
        """
        if not settings.webhook_url:
            return None
        _require_usable(settings, prefix)
        secrets = split_list(settings.webhook_secrets)
        unsigned = settings.webhook_format != "cloudevents" and not secrets
        return cls(
            settings.webhook_url,
            None if unsigned else Signer(secrets),
            Egress(split_list(settings.webhook_allowed_hosts)),
            ADAPTERS[settings.webhook_format],
            settings.webhook_token,
        )

    def __init__(
        self,
        url: str,
        signer: Signer | None,
        egress: Egress,
        adapter: Adapter = ADAPTERS["cloudevents"],
        token: str = "",
    ) -> None:
        """`token` is sent as a bearer token; without `signer`, webhooks are not signed."""
        self.url = url
        self.name = sha256(url.encode()).hexdigest()[:16]
        self._signer = signer
        self._egress = egress
        self._adapter = adapter
        self._token = token

    async def post(self, webhook_id: str, body: bytes, now: int) -> HttpResponse:
        """Sign with the time `now`, post once, and return the response.

        Raises:
            DeliveryFailed: the address is not allowed, or no response came.
        """
        message = self._adapter.message(body)
        headers = dict(message.headers)
        if self._signer is not None:
            headers |= self._signer.headers(webhook_id, now // SECOND, message.body)
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        return await self._egress.post(self.url, headers, message.body)

    def received(self, response: HttpResponse) -> bool:
        """Return whether the receiver has the webhook, from this attempt or an earlier one."""
        return self._adapter.received(response.status)


class Sender:
    """Delivers the due webhooks of one outbox to one receiver."""

    def __init__(
        self,
        outbox: Outbox,
        receiver: Receiver,
        *,
        clock: Clock = now_us,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._outbox = outbox
        self._receiver = receiver
        self._clock = clock
        self._jitter = jitter

    async def run(self, idle: float) -> None:
        """Deliver until cancelled; read the outbox every `idle` seconds."""
        while True:
            try:
                await self.send_due()
            except DatabaseUnavailable as error:
                log.warning("%s; the outbox is read again later", error)
            except Exception:
                log.exception("the outbox could not be processed; retrying")
            await asyncio.sleep(idle)

    async def send_due(self) -> None:
        """Attempt to deliver every due webhook once, unless the receiver is disabled."""
        for delivery in self._outbox.due(self._clock()):
            if any(entry.receiver == self._receiver.name for entry in self._outbox.disabled()):
                return
            await self._send(delivery)

    async def _send(self, delivery: Delivery) -> None:
        try:
            response = await self._receiver.post(delivery.webhook_id, delivery.body, self._clock())
        except DeliveryFailed as error:
            self._retry(delivery, str(error), retry_after=None)
            return
        except DatabaseUnavailable:
            raise
        except Exception as error:
            # Counted as a failed attempt, because later webhooks must still be sent.
            log.exception("webhook %s could not be sent", delivery.webhook_id)
            self._retry(delivery, f"{type(error).__name__}: {error}"[:300], retry_after=None)
            return
        if self._receiver.received(response):
            self._outbox.delivered(delivery.webhook_id)
        elif response.status == 410:
            self._disable(delivery)
        else:
            self._retry(delivery, _explain(response.status, response.text), response.retry_after)

    def _disable(self, delivery: Delivery) -> None:
        """Disable the receiver; its webhooks stay pending until an operator enables it."""
        now, reason = self._clock(), "410: the receiver asked for no further webhooks"
        host = httpx.URL(self._receiver.url).host
        self._outbox.disable(
            DisabledReceiver(receiver=self._receiver.name, host=host, since=now, reason=reason)
        )
        self._outbox.failed(delivery.webhook_id, reason, now)
        log.warning("%s; nothing is sent to %s until it is enabled", reason, host)

    def _retry(self, delivery: Delivery, error: str, retry_after: str | None) -> None:
        now = self._clock()
        delay = parse_retry_after(retry_after, now)
        moment = next_attempt(delivery.attempts + 1, now, delay, self._jitter())
        self._outbox.failed(delivery.webhook_id, error, moment)


async def _open_and_run(make: Callable[[], Sender], idle: float) -> None:
    """Open the outbox, retrying until the database is available, and deliver webhooks."""
    while True:
        try:
            sender = make()
        except DatabaseUnavailable as error:
            log.warning("%s; the outbox is opened again later", error)
            await asyncio.sleep(idle)
        else:
            await sender.run(idle)


def approval_receiver(settings: MonitorSettings) -> Receiver | None:
    """Return the receiver of requests for approval, or None if no address is set."""
    approval_settings = replace(
        settings,
        webhook_url=settings.approval_webhook_url,
        webhook_format=settings.approval_webhook_format,
        webhook_token=settings.approval_webhook_token,
    )
    return Receiver.configured(approval_settings, f"{PREFIX}APPROVAL_WEBHOOK_")


def alarm_receiver(settings: MonitorSettings) -> Receiver | None:
    """Return the receiver of alarms that request no retraining, or None if no address is set."""
    alarm_settings = replace(
        settings,
        webhook_url=settings.alarm_webhook_url,
        webhook_format=settings.alarm_webhook_format,
        webhook_token=settings.alarm_webhook_token,
    )
    return Receiver.configured(alarm_settings, f"{PREFIX}ALARM_WEBHOOK_")


class OutboxPart:
    """The part of an outbox whose webhooks are sent to one of several receivers."""

    def __init__(self, outbox: Outbox, includes: Callable[[Delivery], bool]) -> None:
        self._outbox = outbox
        self._includes = includes
        self.delivered = outbox.delivered
        self.failed = outbox.failed
        self.disable = outbox.disable
        self.disabled = outbox.disabled

    def due(self, now: int) -> list[Delivery]:
        """Return the part's pending webhooks whose next attempt is not after `now`."""
        return [delivery for delivery in self._outbox.due(now) if self._includes(delivery)]


def is_notice(delivery: Delivery) -> bool:
    """Return whether a webhook reports an alarm that requests no retraining."""
    return delivery.webhook_id.startswith(NOTICE)


def _require_usable(settings: MonitorSettings, prefix: str) -> None:
    """Raise SettingError if no request can be made with the address or the token."""
    try:
        check_address(settings.webhook_url, split_list(settings.webhook_allowed_hosts))
    except DeliveryFailed as error:
        raise SettingError(f"{prefix}URL: {error}") from None
    token = settings.webhook_token
    if not (token.isascii() and token.isprintable()):
        raise SettingError(
            f"{prefix}TOKEN: has characters that are not allowed in a header; expected printable "
            "ASCII, on one line"
        )


def _explain(status: int, text: str) -> str:
    if 300 <= status < 400:
        return f"{status}: redirects are not followed"
    return f"{status}: {' '.join(text.split())[:200]}".rstrip(": ")


@contextmanager
def sender_thread(make: Callable[[], Sender], idle: float = 1.0) -> Iterator[None]:
    """Run a sender in a separate thread while the block runs.

    `make` is called in that thread, because a database connection can only be used by the thread
    that opened it. The end of the block cancels the current delivery, which stays due, and waits
    for the thread.
    """
    stop = threading.Event()

    async def until_stopped() -> None:
        work = asyncio.create_task(_open_and_run(make, idle))
        await asyncio.to_thread(stop.wait)
        work.cancel()
        await asyncio.wait([work])

    thread = threading.Thread(
        target=lambda: asyncio.run(until_stopped()), name="webhooks", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
