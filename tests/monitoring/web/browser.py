"""A headless Chromium, controlled by its DevTools protocol."""

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import ClientConnection, connect


class Browser:
    """One page of it."""

    def __init__(self, line: ClientConnection) -> None:
        self._line = line
        self._numbers = count(1)

    def show(self, address: str, width: int) -> None:
        """Load a page into a window of this width, in pixels, and wait until it is drawn."""
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self._do("Emulation.setDeviceMetricsOverride", **size)
        self._do("Page.enable")
        self._do("Page.navigate", url=address)
        self._until("Page.loadEventFired")

    def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression on the page, or of what it promises."""
        done = self._do("Runtime.evaluate", expression=expression, awaitPromise=True)
        return done["result"].get("value")

    def _do(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._line.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (reported := self._hear()).get("id") != number:
            pass
        result: dict[str, Any] = reported["result"]
        return result

    def _until(self, event: str) -> None:
        while self._hear().get("method") != event:
            pass

    def _hear(self) -> dict[str, Any]:
        reported: dict[str, Any] = json.loads(self._line.recv(timeout=60))
        return reported


@contextmanager
def browsing(chromium: str, options: list[str], profile: Path) -> Iterator[Browser]:
    """A browser while the block runs."""
    command = [chromium, *options, "--remote-debugging-port=0", f"--user-data-dir={profile}"]
    process = subprocess.Popen(
        [*command, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        pages = httpx.get(f"http://127.0.0.1:{_port(profile)}/json", trust_env=False).json()
        page = next(one for one in pages if one["type"] == "page")
        with connect(page["webSocketDebuggerUrl"], max_size=None, proxy=None) as line:
            yield Browser(line)
    finally:
        process.terminate()
        process.wait(30)


def _port(profile: Path) -> int:
    """Where it listens: it writes that into its profile."""
    reported, deadline = profile / "DevToolsActivePort", time.monotonic() + 180
    while not (reported.exists() and reported.read_text().strip()):
        assert time.monotonic() < deadline, "the browser did not start"
        time.sleep(0.05)
    return int(reported.read_text().split()[0])
