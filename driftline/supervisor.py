"""Several processes under one roof: started together, restarted when they die, stopped in order."""

import asyncio
import os
import signal
from collections.abc import Callable, Sequence
from typing import IO, Literal

import httpx
import msgspec

from eventlog.parent_death import child_environment

_LONGEST_PAUSE = 30.0  # seconds between restarts of a process that keeps dying


class Child(msgspec.Struct, frozen=True):
    """A process to keep alive, and the URL that answers 200 once it is ready."""

    name: str
    command: list[str]
    health: str


class Supervisor:
    """Runs children until `stop` or until one of them fails to become ready at first start."""

    def __init__(
        self,
        children: Sequence[Child],
        say: Callable[[str], None],
        grace: float,
        output: IO[bytes] | None = None,
    ) -> None:
        """`say` gets one line per thing a person should know; `grace` is seconds to stop in.

        What the children print goes to `output`, by default where this process prints.
        """
        self._children = children
        self._say = say
        self._grace = grace
        self._output = output
        self._stopping = asyncio.Event()
        self._ready = {child.name: asyncio.Event() for child in children}
        self._failed = False

    def stop(self) -> None:
        """Begin the orderly end: children are stopped in the order they were given."""
        self._stopping.set()

    async def ready(self) -> bool:
        """Wait until every child is ready; False when the start failed or was given up."""
        everyone = asyncio.create_task(self._everyone_ready())
        stopped = asyncio.create_task(self._stopping.wait())
        done, pending = await asyncio.wait({everyone, stopped}, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        return everyone in done

    async def run(self) -> int:
        """Keep the children running until told to stop; the exit status for the shell."""
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
        pause = 1.0
        while True:
            process = await asyncio.create_subprocess_exec(
                *child.command,
                start_new_session=True,
                stdout=self._output,
                stderr=self._output,
                env=child_environment(),
            )
            watch = asyncio.create_task(self._announce(child))
            try:
                status = await process.wait()
            except asyncio.CancelledError:
                await self._end(process)
                raise
            finally:
                watch.cancel()
            if not self._ready[child.name].is_set():
                self._say(f"{child.name} could not start (exit status {status})")
                self._failed = True
                self.stop()
                return
            self._say(f"{child.name} ended (status {status}); starting it again in {pause:.0f} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _announce(self, child: Child) -> None:
        # Its certificate names its public address, not loopback; nothing secret is asked or told.
        async with httpx.AsyncClient(timeout=2, trust_env=False, verify=False) as client:  # noqa: S501
            while True:
                try:
                    response = await client.get(child.health)
                except httpx.HTTPError:
                    response = None
                if response is not None and response.is_success:
                    break
                await asyncio.sleep(0.1)
        self._ready[child.name].set()

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), self._grace)
        except TimeoutError:
            # The child leads a session of its own, so its workers go with it.
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
