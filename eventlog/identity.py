"""Name the sources of one log folder so that no other folder ever has the same name.

    <log>/identity    12 random hex digits, written once, before the first source

A source is named `<host>-<identity>-<slot>`. Its name is in every event, cursor, position of a
monitor and ledger row, and so is the identity. If the folder is deleted, or if two hosts have one
name, the sources differ, and no event is taken for another one.
"""

import fcntl
import logging
import os
import re
import secrets
from pathlib import Path

from eventlog.durable_files import make_folder, open_private, sync_folder

_logger = logging.getLogger(__name__)

_FILE = "identity"
_DIGITS = re.compile(rb"[0-9a-f]{12}")


def writer_name(log: Path, host: str) -> str:
    """Return the name of this host's writers in a log folder; raises OSError."""
    return f"{host}-{log_identity(log)}"


def log_identity(log: Path) -> str:
    """Return the identity of a log folder; the first call creates both. Raises OSError.

    A damaged file gets a new identity: sources under the old one end, and new ones begin.
    """
    make_folder(log)
    file = open_private(log / _FILE)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)  # released by close, or by the end of the process
        content = os.read(file, 64)
        if not _DIGITS.fullmatch(content):
            if content:
                _logger.warning("%s is damaged; its sources continue under new names", log / _FILE)
            content = secrets.token_hex(6).encode()
            os.ftruncate(file, 0)
            os.pwrite(file, content, 0)
            os.fsync(file)
            sync_folder(log)
    finally:
        os.close(file)
    return content.decode()
