"""What tests download, once for all test processes and runs."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

_CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "driftline"


def downloaded(name: str, download: Callable[[Path], None]) -> Path:
    """Return the folder `name` of the user's cache; `download` fills it where it is missing.

    One process downloads, and others wait for it. A download that fails leaves no folder.
    """
    folder = _CACHE / name
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / f"{name}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            fresh = folder.with_suffix(f".{os.getpid()}")
            download(fresh)
            fresh.rename(folder)
    return folder
