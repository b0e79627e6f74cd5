"""A registry server in a separate process, and commands as from another machine."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner, Result

from access.keyfile import KeyFile
from access.keys import make_key
from driftline.cli import driftline
from eventlog.parent_death import PARENT
from eventlog.settings import Home
from registry.history.store import History
from registry.store import Registry
from tests.preloaded import Command

ROLES = {
    "trainer": ["register:taxi"],
    "risk": ["approve", "read"],
    "releaser": ["promote:taxi"],
    "owner": ["admin", "read"],
    "everything": ["register", "approve", "promote", "admin", "read", "operate"],
}


class RegistryServer:
    """`driftline registry serve` on a home of its own, with one key for each role."""

    def __init__(self, root: Path, port: int, **settings: str) -> None:
        self.home = Home(root / "server")
        self.url = f"http://127.0.0.1:{port}"
        self.log = root / "server.log"
        self.keys: dict[str, str] = {}
        file = KeyFile.of(self.home, {})
        file.change_roles(lambda *_: ROLES)
        for role in ROLES:
            key, text = make_key(
                [], name=role, scopes=[], roles=[role], expires="", now=time.time()
            )
            file.change(lambda held, key=key: [*held, key])  # type: ignore[misc]
            self.keys[role] = text
        prefix = "DRIFTLINE_REGISTRY_SERVER_"
        environment = {
            **os.environ,
            PARENT: str(os.getpid()),
            "DRIFTLINE_HOME": str(self.home.root),
            "BENTOML_HOME": str(root / "bentoml"),
            **{f"{prefix}{name.upper()}": value for name, value in settings.items()},
        }
        command = [sys.executable, "-m", "driftline", "registry", "serve", "--port", str(port)]
        with self.log.open("wb") as out:
            self.process = Command(command, env=environment, stdout=out, stderr=out)
        self.until(self._answers)

    @property
    def history(self) -> History:
        return History(self.home.registry)

    @property
    def registry(self) -> Registry:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("BENTOML_HOME", str(self.home.root.parent / "bentoml"))
            return Registry(self.home)

    def call(self, method: str, path: str, role: str = "everything", **more: Any) -> httpx.Response:
        headers = {
            "authorization": f"Bearer {self.keys.get(role, role)}",
            **more.pop("headers", {}),
        }
        return httpx.request(
            method, self.url + path, headers=headers, trust_env=False, timeout=30, **more
        )

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 120
        while not holds():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", trust_env=False).is_success
        except httpx.HTTPError:
            return False

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


class Elsewhere:
    """Commands on a machine without a registry of its own."""

    def __init__(self, server: RegistryServer, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._server = server
        self._patch = patch
        patch.setenv("DRIFTLINE_HOME", str(folder / "elsewhere"))
        patch.setenv("DRIFTLINE_REGISTRY_SERVER", server.url)
        self.home = folder / "elsewhere"

    def run(self, role: str, *arguments: object) -> Result:
        self._patch.setenv("DRIFTLINE_API_KEY", self._server.keys.get(role, role))
        return CliRunner().invoke(driftline, [str(argument) for argument in arguments])
