"""Supervise child processes: start them together, restart them, stop them in order."""

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from typing import IO, Literal
from urllib.parse import urljoin

import msgspec

from eventlog.parent_death import child_environment
from telemetry.backoff import Backoff

FIRST_PAUSE = 1.0  # seconds before a restart, doubled while a process fails repeatedly
_LONGEST_PAUSE = 30.0  # seconds
_STABLE = 60.0  # seconds of running after which the pause is reset
_START_S = 5.0  # seconds of running after which a child without a health check has started
_MOST_FAILURES = 5  # consecutive failed restarts after which all children are stopped


class Child(msgspec.Struct, frozen=True):
    """A supervised process."""

    name: str
    command: list[str]
    health: str  # URL that returns 2xx when the process is ready, "" without a health check

    @property
    def page(self) -> str:
        """The URL to open in a browser."""
        return urljoin(self.health, "/")


class Supervisor:
    """Runs children until `stop` is called or a child cannot start.

    If the first start of a child fails, all children are stopped. After a successful start, several
    consecutive restarts may fail.
    """

    def __init__(
        self,
        children: Sequence[Child],
        notify: Callable[[str], None],
        grace: float,
        output: IO[bytes] | None = None,
    ) -> None:
        """Store the settings; `notify` is called with messages for the operator.

        A child that does not stop within `grace` seconds is killed. The children print to `output`,
        or to this process's streams if it is None.
        """
        self._children = children
        self._notify = notify
        self._grace = grace
        self._output = output
        self._stopping = asyncio.Event()
        self._ready = {child.name: asyncio.Event() for child in children}
        self._failed = False

    def stop(self) -> None:
        """Stop the children, one after another in the given order."""
        self._stopping.set()

    async def ready(self) -> bool:
        """Wait until every child is ready; return False if the start failed or was stopped."""
        everyone = asyncio.create_task(self._everyone_ready())
        stopped = asyncio.create_task(self._stopping.wait())
        done, pending = await asyncio.wait({everyone, stopped}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        return everyone in done

    async def run(self) -> int:
        """Keep the children running until `stop`; return the exit status."""
        tasks = [asyncio.create_task(self._supervise(child)) for child in self._children]
        await self._stopping.wait()
        for task in tasks:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        return 1 if self._failed else 0

    async def _everyone_ready(self) -> Literal[True]:
        for event in self._ready.values():
            await event.wait()
        return True

    async def _supervise(self, child: Child) -> None:
        """Start the child, and restart it after each exit until it fails too often."""
        pauses, loop = Backoff(FIRST_PAUSE, _LONGEST_PAUSE), asyncio.get_running_loop()
        ready, failures, first = self._ready[child.name], 0, True
        while True:
            began = loop.time()
            answered = asyncio.Event()
            process = await asyncio.create_subprocess_exec(
                *child.command,
                start_new_session=True,
                stdout=self._output,
                stderr=self._output,
                env=child_environment(),
            )
            health_check = asyncio.create_task(self._await_ready(child, [ready, answered]))
            try:
                status = await process.wait()
            except asyncio.CancelledError:
                await self._end(process)
                raise
            finally:
                health_check.cancel()
            seconds = loop.time() - began
            started = answered.is_set() if child.health else seconds > _START_S
            failures = 0 if started else failures + 1
            if failures >= (1 if first else _MOST_FAILURES):
                tries = "" if first else f" {failures} times in a row"
                self._notify(f"{child.name} could not start{tries} (exit status {status})")
                self._failed = True
                self.stop()
                return
            first = False
            if seconds > _STABLE:
                pauses.reset()
            pause = pauses.next()
            self._notify(f"{child.name} exited (status {status}); restart in {pause:.0f} s")
            await asyncio.sleep(pause)

    async def _await_ready(self, child: Child, events: Sequence[asyncio.Event]) -> None:
        """Set the events when the child is ready: immediately if it has no health check."""
        if not child.health:
            for event in events:
                event.set()
            return
        # Not verified, because a certificate names the public address, not loopback, and a health
        # check sends no secret.
        import httpx  # noqa: PLC0415 - not needed for --help

        async with httpx.AsyncClient(timeout=2, trust_env=False, verify=False) as client:  # noqa: S501
            while True:
                try:
                    response = await client.get(child.health)
                except httpx.HTTPError:
                    response = None
                if response is not None and response.is_success:
                    break
                await asyncio.sleep(0.1)
        for event in events:
            event.set()

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), self._grace)
        except TimeoutError:
            # The child leads its own session, so this kills its workers too.
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
