"""A minimal container engine for these tests, made of Linux namespaces.

A container has a root of its own that nobody can write to, the image's user without any
capability, its own process 1, and the network of those that it is started with. What it reads is
bound in from this machine: the system, Python, and the environment that its lock names.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from deploy.slim import superfluous
from tests.deploy.images import Image

PATIENCE = 90  # seconds until something is ready
_LOOPBACK = """
import fcntl, socket, struct, sys
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh", b"lo", 0x41))  # up and running
print("up", flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Bind:
    """A place of this machine, as a container sees it."""

    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True)
class Order:
    """What a container is started with."""

    name: str
    user: int
    command: list[str]
    environment: dict[str, str]
    folder: str
    account: str
    binds: list[Bind]
    scratch: list[str] = field(default_factory=list)  # writable, and gone afterwards
    health: list[str] = field(default_factory=list)
    stop_signal: str = "SIGTERM"
    hidden: list[Path] = field(default_factory=list)  # of what is bound: as if it were not there


def order(name: str, image: Image, python: Path, **more: Any) -> Order:
    """A container of one of our images; `python` is of an environment as the image's lock says.

    `more` are fields of the order, beside what the image states itself.
    """
    environment = {"HOME": image.home} | image.environment | more.pop("environment", {})
    return Order(
        name=name,
        user=image.user,
        environment=environment,
        folder=image.folder,
        account=image.account,
        binds=[*_python(python), *more.pop("binds")],
        hidden=list(superfluous(Path(sys.prefix))),
        stop_signal=image.stop_signal,
        **{"health": image.health} | more,
    )


def _python(python: Path) -> list[Bind]:
    """The environment at the place that the images have it, and what its links lead to."""
    at = [Bind(python.parents[1], "/opt/driftline")]
    return at + [Bind(Path(path), path) for path in {sys.base_prefix, sys.prefix}]


class Engine:
    """Starts containers that share a network of their own, where nothing else listens."""

    def __init__(self, folder: Path, names: Sequence[str] = ()) -> None:
        """`names` are those by which containers call each other."""
        self._folder = folder
        self._names = names
        self._running: list[Container] = []
        self._network = subprocess.Popen(
            ["unshare", "--net", sys.executable, "-c", _LOOPBACK],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._network.stdout is not None
        if self._network.stdout.readline() != "up\n":
            pytest.skip("IMAGES NOT RUN: no network namespaces on this machine, or not as root")

    def start(self, order: Order) -> "Container":
        """Start it; ends with the engine, or before."""
        root = self._folder / order.name
        root.mkdir()
        names = " ".join(["localhost", socket.gethostname(), *self._names])
        (root / "hosts").write_text(f"127.0.0.1 {names}\n")
        (root / "passwd").write_text(f"root:x:0:0::/root:/bin/sh\n{order.account}\n")
        container = Container(order, root, f"/proc/{self._network.pid}/ns/net")
        self._running.append(container)
        return container

    def run(self, order: Order) -> str:
        """Run one to its end, which has to be a good one; what it said."""
        container = self.start(order)
        assert container.wait() == 0, container.said()
        return container.said()

    def close(self) -> None:
        """End everything at once."""
        for container in self._running:
            container.kill()
        self._network.communicate("")


class Container:
    """One that was started."""

    def __init__(self, order: Order, folder: Path, network: str) -> None:
        self.order = order
        self._log = folder / "said"
        root = folder / "root"
        root.mkdir()
        script = folder / "start.sh"
        script.write_text(
            "\n".join(["set -eu", *_mounts(order, folder, root), _become(order, root)])
        )
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [_tool("nsenter"), f"--net={network}", _tool("unshare"), "--mount", "--pid",
                 "--fork", "sh", script, *order.command],
                env=order.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def said(self) -> str:
        """What it wrote to standard output and error."""
        return f"{self.order.name}:\n{self._log.read_text()}"

    def execute(self, command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
        """Run a command inside, as its user."""
        into = ["--mount", "--pid", "--net", "--root", "--wd"]
        return subprocess.run(
            [_tool("nsenter"), f"--target={self._first}", *into, *_user(self.order.user), *command],
            env=self.order.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def until_healthy(self) -> None:
        """Wait until its own health check says so."""
        deadline = time.monotonic() + PATIENCE
        assert self.order.health
        while (asked := self.execute(self.order.health)).returncode:
            assert self._process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said() + asked.stderr
            time.sleep(0.2)

    def stop(self) -> int:
        """Ask it to end, as an engine does; its status."""
        os.kill(self._first, signal.Signals[self.order.stop_signal])
        return self.wait()

    def wait(self) -> int:
        """Its status, once it has ended."""
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end: {self.said()}") from None

    def kill(self) -> None:
        """End it now."""
        if self._process.poll() is None:
            os.kill(self._first, signal.SIGKILL)
            self._process.wait()

    @property
    def _first(self) -> int:
        """Its process 1, as this machine numbers it."""
        parent = self._process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children")
        deadline = time.monotonic() + PATIENCE
        while not (found := children.read_text().split()):
            assert self._process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.01)
        return int(found[0])


def _tool(name: str) -> str:
    found = shutil.which(name)
    assert found, name
    return found


def _mounts(order: Order, folder: Path, root: Path) -> list[str]:
    """Lines that make the root: everything read-only but what is declared."""
    system = [Path(path) for path in ("/usr", "/bin", "/sbin", "/lib", "/lib64")]
    binds = [Bind(path, str(path)) for path in system if path.is_dir() and not path.is_symlink()]
    binds += [Bind(Path(f"/dev/{name}"), f"/dev/{name}") for name in ("null", "zero", "urandom")]
    lines = [f"mount -t tmpfs -o mode=0755 none {root}", f"cp -a /etc {root}/etc"]
    lines += [f"cp {folder}/hosts {folder}/passwd {root}/etc"]
    lines += [f"ln -s {path.readlink()} {root}{path}" for path in system if path.is_symlink()]
    # First, because what is bound may lie below: a checkout in /tmp.
    for scratch in ("/dev/shm", *order.scratch):
        lines += [f"mkdir -p {root}{scratch}", f"mount -t tmpfs -o mode=1777 none {root}{scratch}"]
    for bind in [*binds, *order.binds]:
        at = f"{root}{bind.target}"
        make = (
            f"mkdir -p {at}"
            if bind.source.is_dir()
            else f"mkdir -p $(dirname {at}); [ -e {at} ] || : > {at}"
        )
        lines += [make, f"mount --bind {bind.source} {at}"]
        if not bind.writable and not bind.target.startswith("/dev/"):
            lines.append(f"mount -o remount,bind,ro {at}")
    lines.append(f"mkdir {root}/empty")
    for path in order.hidden:
        nothing = f"{root}/empty" if path.is_dir() else "/dev/null"
        lines.append(f"mount --bind {nothing} {root}{path}")
    lines += [f"mkdir -p {root}/proc", f"mount -t proc none {root}/proc"]
    return [*lines, f"mount -o remount,ro {root}"]


def _become(order: Order, root: Path) -> str:
    user = " ".join(_user(order.user))
    return f'exec chroot {root} {user} env --chdir={order.folder} "$@"'


def _user(number: int) -> list[str]:
    """Another user, who can never be more than he is."""
    ids = [f"--reuid={number}", f"--regid={number}", "--clear-groups"]
    return ["setpriv", *ids, "--no-new-privs", "--bounding-set=-all", "--inh-caps=-all"]
