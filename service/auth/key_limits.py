"""Limit the rates and the concurrent requests of each key in a worker. Pure except for a clock.

A rate is a token bucket of `BURST_S` seconds. A request that is larger than the bucket passes if
the bucket is full, and the key's next requests wait longer. The rows of a request are known only
after decoding, so they reduce the bucket for the next requests.
"""

import time
from collections.abc import Callable
from math import ceil

import msgspec

from service.errors import KeyLimitReached

BURST_S = 10  # size of a bucket, in seconds of its rate
LABELS_BURST_S = 60  # size of the bucket for labels, in seconds of its rate
_MOST_KEYS = 1_024  # number of accounts above which accounts without running requests are deleted

Count = Callable[[KeyLimitReached], None]


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of each key in a worker, in units per second; 0 means no limit."""

    requests: int = 0
    bytes: int = 0
    rows: int = 0
    labels: int = 0
    running: int = 0  # number of concurrent requests, not a rate


class KeyLimits:
    """The accounts of all keys in one worker; belongs to one event loop."""

    def __init__(
        self,
        rates: Rates | None = None,
        clock: Callable[[], float] = time.monotonic,
        count: Count = lambda _: None,
    ) -> None:
        """`count` is called with every refusal."""
        self._rates = rates = rates or Rates()
        self.bound_requests = bool(rates.requests or rates.bytes or rates.rows or rates.running)
        self._clock = clock
        self._count = count
        self._accounts: dict[str, Account] = {}

    def admit(self, key: str, size: int) -> "Account":
        """Count a request of `size` bytes; over a limit, count nothing and raise KeyLimitReached.

        Call the account's `end` once when the request is answered or cancelled.
        """
        account = self._accounts.get(key) or self._open(key)
        try:
            account.admit(size, self._clock())
        except KeyLimitReached as error:
            self._count(error)
            raise
        return account

    def admit_labels(self, key: str, labels: int) -> None:
        """Count labels of a key; over the limit, count nothing and raise KeyLimitReached."""
        if not self._rates.labels:
            return
        account, now = self._accounts.get(key) or self._open(key), self._clock()
        try:
            account.labels.require(labels, now)
        except KeyLimitReached as error:
            self._count(error)
            raise
        account.labels.spend(labels, now)

    def _open(self, key: str) -> "Account":
        if len(self._accounts) >= _MOST_KEYS:
            self._accounts = {
                name: account for name, account in self._accounts.items() if account.running
            }
        account = self._accounts[key] = Account(self._rates, self._clock())
        return account


class Account:
    """The token buckets of one key, and the number of its running or queued requests."""

    __slots__ = ("_bytes", "_most_running", "_requests", "_rows", "labels", "running")

    def __init__(self, rates: Rates, now: float) -> None:
        self._requests = TokenBucket("requests", rates.requests, BURST_S, now)
        self._bytes = TokenBucket("bytes", rates.bytes, BURST_S, now)
        self._rows = TokenBucket("rows", rates.rows, BURST_S, now)
        self.labels = TokenBucket("labels", rates.labels, LABELS_BURST_S, now)
        self._most_running = rates.running
        self.running = 0

    def admit(self, size: int, now: float) -> None:
        """Count a request; over a limit, count nothing and raise KeyLimitReached."""
        if self._most_running and self.running >= self._most_running:
            raise KeyLimitReached(
                f"{self.running} requests of this key are running or queued; expected at most "
                f"{self._most_running} at once"
            )
        # `require` and `spend` are inlined, because five calls would double the cost.
        requests, sizes, rows = self._requests, self._bytes, self._rows
        if requests.until > now:
            requests.require(1, now)
        else:
            requests.until = now
        if sizes.until > now:
            sizes.require(size, now)
        else:
            sizes.until = now
        if rows.until > now:
            rows.require(0, now)
        else:
            rows.until = now
        requests.until += requests.seconds
        sizes.until += size * sizes.seconds
        self.running += 1

    def add_rows(self, rows: int) -> None:
        """Count the rows of a request that was just admitted."""
        self._rows.until += rows * self._rows.seconds

    def end(self) -> None:
        """Record that an admitted request was answered or cancelled."""
        self.running -= 1


class TokenBucket:
    """A token bucket, stored as the time at which it is full again."""

    __slots__ = ("_burst_s", "_name", "_rate", "seconds", "until")

    def __init__(self, name: str, rate: int, burst_s: int, now: float) -> None:
        """`rate` is in units per second, 0 for no limit; the bucket's size is `burst_s` seconds."""
        self._name = name
        self._rate = rate
        self._burst_s = burst_s
        self.seconds = 1 / rate if rate else 0.0  # time to refill one unit
        self.until = now  # time at which the bucket is full

    def require(self, number: int, now: float) -> None:
        """Raise KeyLimitReached if the bucket has fewer units and is not full."""
        ahead = self.until - now
        if ahead > 0 and ahead + number * self.seconds > self._burst_s:
            raise KeyLimitReached(
                f"this key has sent too many {self._name}; expected at most {self._rate} per "
                f"second, averaged over {self._burst_s} s",
                retry_after=max(1, ceil(ahead + number * self.seconds - self._burst_s)),
            )

    def spend(self, number: int, now: float) -> None:
        """Take `number` units from the bucket."""
        self.until = max(self.until, now) + number * self.seconds
