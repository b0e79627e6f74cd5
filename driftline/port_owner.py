"""Find the process that listens on a port of this machine; Linux only."""

import os
from contextlib import suppress
from pathlib import Path

_LISTENING = "0A"  # state TCP_LISTEN in /proc/net/tcp


def port_owner(port: int, proc: Path = Path("/proc")) -> str:
    """Return the process as `pid 123 (name)`, or "" if it belongs to another user."""
    sockets = {f"socket:[{inode}]" for inode in _listeners(port, proc)}
    for process in proc.glob("[0-9]*"):
        with suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                if sockets and _target(descriptor) in sockets:
                    name = (process / "comm").read_text().strip()
                    return f"pid {process.name} ({name})"
    return ""


def _target(descriptor: Path) -> str:
    with suppress(OSError):
        return os.readlink(descriptor)  # noqa: PTH115 - pathlib would resolve a path
    return ""


def _listeners(port: int, proc: Path) -> set[str]:
    """Return the inodes of sockets that listen on the port."""
    inodes = set()
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in (proc / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(fields[9])
    return inodes
