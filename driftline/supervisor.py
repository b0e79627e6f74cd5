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
_LONGEST_PAUSE = 30.0
_STABLE = 60.0  # seconds after which a failure does not count as repeated
_LIVED = 5.0  # seconds after which a child without a health check has started
_MOST_FAILURES = 5  # restarts in a row that fail before all children are stopped


class Child(msgspec.Struct, frozen=True):
    """A supervised process, and the URL that returns 200 once it is ready; "": no health check."""

    name: str
    command: list[str]
    health: str

    @property
    def page(self) -> str:
        """The URL that a person opens."""
        return urljoin(self.health, "/")


class Supervisor:
    """Run children until `stop`, or until one cannot start.

    A failure of the first start ends the run. Later, a few consecutive restarts may fail.
    """

    def __init__(
        self,
        children: Sequence[Child],
        say: Callable[[str], None],
        grace: float,
        output: IO[bytes] | None = None,
    ) -> None:
        """Prepare the supervisor; `say` receives messages for the operator.

        A child that does not stop within `grace` seconds is killed. `output` receives what the
        children print; None inherits the streams of this process.
        """
        self._children = children
        self._say = say
        self._grace = grace
        self._output = output
        self._stopping = asyncio.Event()
        self._ready = {child.name: asyncio.Event() for child in children}
        self._failed = False

    def stop(self) -> None:
        """Stop the children, one after the other in the given order."""
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
        keepers = [asyncio.create_task(self._keep(child)) for child in self._children]
        await self._stopping.wait()
        for keeper in keepers:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        return 1 if self._failed else 0

    async def _everyone_ready(self) -> Literal[True]:
        for event in self._ready.values():
            await event.wait()
        return True

    async def _keep(self, child: Child) -> None:
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
            watch = asyncio.create_task(self._announce(child, [ready, answered]))
            try:
                status = await process.wait()
            except asyncio.CancelledError:
                await self._end(process)
                raise
            finally:
                watch.cancel()
            lived = loop.time() - began
            started = answered.is_set() if child.health else lived > _LIVED
            failures = 0 if started else failures + 1
            if failures >= (1 if first else _MOST_FAILURES):
                tries = "" if first else f" {failures} times in a row"
                self._say(f"{child.name} could not start{tries} (exit status {status})")
                self._failed = True
                self.stop()
                return
            first = False
            if lived > _STABLE:
                pauses.reset()
            pause = pauses.next()
            self._say(f"{child.name} ended (status {status}); restart in {pause:.0f} s")
            await asyncio.sleep(pause)

    async def _announce(self, child: Child, events: Sequence[asyncio.Event]) -> None:
        """Set the events once the child answers; immediately for a child without a health check."""
        if not child.health:
            for event in events:
                event.set()
            return
        # The certificate names the public address, not loopback; a health check sends no secret.
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
