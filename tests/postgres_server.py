"""A real PostgreSQL server for the tests, as an unprivileged user on a loopback port."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import psutil
import psycopg
import pytest

from tests.crash import frozen

_DEBIAN = Path("/usr/lib/postgresql")  # one folder per version
_OPTIONS = "-c listen_addresses=127.0.0.1 -c max_connections=300 -c fsync=off"


class PostgresServer:
    """One server with all its data below one folder; starts and ends at will."""

    def __init__(self, programs: Path, folder: Path, port: int) -> None:
        self._programs = programs
        self.folder = folder
        self._port = port
        # The server refuses to run as root.
        self._user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
        self.url = f"postgresql://tester@127.0.0.1:{port}/postgres"

    def create(self) -> None:
        """Make an empty cluster."""
        shutil.chown(self.folder, self._user)
        how = ["--auth=trust", "--username=tester", "--encoding=UTF8", "--locale=C.UTF-8"]
        self._run("initdb", "--no-sync", *how)

    def start(self) -> None:
        """Start on the data that is there; returns once it answers."""
        options = f"{_OPTIONS} -p {self._port} -k {self.folder}"
        self._run("pg_ctl", "start", "-w", "-l", f"{self.folder}/server.log", "-o", options)

    def revive(self) -> None:
        """Start it unless it runs: it ends itself where it cannot write its log."""
        pid = Path(f"{self.folder}/data/postmaster.pid")
        if not pid.exists() or not Path(f"/proc/{pid.read_text().split()[0]}").exists():
            self.start()

    def stop(self, how: str = "immediate") -> None:
        """End it; `immediate` is as a crash."""
        self._run("pg_ctl", "stop", "-w", "-m", how)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop all its processes while the block runs: it accepts connections and never replies."""
        pid = int(Path(f"{self.folder}/data/postmaster.pid").read_text().split()[0])
        parent = psutil.Process(pid)
        with ExitStack() as stack:
            for process in [parent, *parent.children()]:
                stack.enter_context(frozen(process.pid))
            yield

    def schema(self) -> str:
        """The address of a new, empty place in the database."""
        name = f"test_{uuid4().hex}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        return f"{self.url}?options=-csearch_path%3D{name}"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), "-D", f"{self.folder}/data", *arguments]
        subprocess.run(
            command,
            user=self._user,
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
            stdout=subprocess.DEVNULL,
            check=True,
        )


def _programs() -> Path:
    if found := shutil.which("initdb"):
        return Path(found).parent
    versions = sorted(_DEBIAN.glob("*/bin/initdb"))
    if not versions:
        pytest.skip("REAL POSTGRESQL NOT TESTED: no initdb on this machine")
    return versions[-1].parent


@contextmanager
def running(port: int) -> Iterator[PostgresServer]:
    """A server while the block runs; skips the test where there is none to run."""
    # Not below tmp_path, into which only the user of the tests may look.
    with (
        tempfile.TemporaryDirectory(prefix="postgres-") as folder,
        running_in(Path(folder), port) as server,
    ):
        yield server


@contextmanager
def running_in(folder: Path, port: int) -> Iterator[PostgresServer]:
    """A server with its data in an empty folder that every user may look into."""
    server = PostgresServer(_programs(), folder, port)
    server.create()
    server.start()
    try:
        yield server
    finally:
        server.revive()
        server.stop()
