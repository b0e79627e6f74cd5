"""Create and cache a virtual environment for each other server from its lock file.

Environments are in ~/.cache/driftline (XDG_CACHE_HOME), named by the lock file's digest, so a
changed lock file gets a new environment.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

_LOCKS = Path(__file__).parent / "requirements"


def environment(peer: str) -> Path:
    """Return the `bin` folder of a server's environment; create the environment if needed."""
    lock = _LOCKS / f"{peer}.lock"
    digest = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    folder = cache / "driftline" / f"peer-{peer}-{digest}"
    complete = folder / "complete"
    if not complete.exists():
        _make(folder, lock)
        complete.touch()
    return folder / "bin"


def _make(folder: Path, lock: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    uv = Path(sys.executable).parent / "uv"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)  # noqa: S603
    subprocess.run(  # noqa: S603 - the project's own lock
        [uv, "pip", "install", "--quiet", "--require-hashes", "-r", lock],
        check=True,
        env={**os.environ, "VIRTUAL_ENV": str(folder)},
    )
