"""Create expensive fixtures once, for all test processes or all runs."""

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CACHE = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "driftline"


def made_once(folder: Path, make: Callable[[Path], None]) -> Path:
    """Return the folder; `make` fills it where it is missing.

    One process makes it, and others wait. An attempt that fails leaves no folder.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f"{folder.name}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            fresh = folder.with_name(f"{folder.name}.{os.getpid()}")
            make(fresh)
            fresh.rename(folder)
    return folder


def installed_once(lock: Path) -> Path:
    """Return a folder with the packages of a lock file; skip the test where they cannot be had."""

    def install(folder: Path) -> None:
        uv = [Path(sys.executable).with_name("uv"), "pip", "install", "--quiet", "--no-deps"]
        done = subprocess.run(
            [*uv, "--require-hashes", "--target", folder, "-r", lock],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"{lock.name} CANNOT BE INSTALLED HERE: {done.stderr.strip()[-300:]}")

    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    return made_once(CACHE / f"{lock.stem}-{digest[:12]}", install)
