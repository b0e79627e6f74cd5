"""Name the sources of a log folder so that no other folder's sources have the same names.

    <log>/identity    12 random hex digits, written once, before the first source

A source is named `<host>-<identity>-<slot>`. Events, cursors, positions of the monitor and rows of
the ledger contain this name. If the folder is deleted and created again, or if two hosts have the
same name, the names of the sources still differ. Their events therefore never get mixed up.
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
    """Return the prefix of the names of this host's writers in a log folder; raises OSError."""
    return f"{host}-{log_identity(log)}"


def log_identity(log: Path) -> str:
    """Return the identity of a log folder; create folder and identity if missing. Raises OSError.

    If the file is damaged, a new identity is created, and new sources replace the old sources.
    """
    make_folder(log)
    file = open_private(log / _FILE)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed or the process ends
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
