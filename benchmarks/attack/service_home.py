"""Create the home of a service to attack: one small model, and the honest callers' key."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from benchmarks.compare.models import Subject, subjects


@contextmanager
def service_home(folder: Path, changed: Mapping[str, str]) -> Iterator[tuple[Subject, str]]:
    """Yield the model and a key. While the block runs, the environment names the home.

    `changed` contains further environment variables.
    """
    changed = {
        "DRIFTLINE_HOME": str(folder),
        "BENTOML_HOME": str(folder / "bentoml"),
        **changed,
    }
    before = {name: os.environ.get(name) for name in changed}
    os.environ.update(changed)
    try:
        (small,) = subjects(folder / "models", {"small"})
        command = [sys.executable, "-m", "driftline", "keys", "create", "--name", "honest"]
        process = subprocess.run(  # noqa: S603 - Driftline's own command
            [*command, "--scope", "predict"], capture_output=True, text=True, check=True
        )
        match = re.search(r"dl_\w+", process.stdout)
        assert match is not None, process.stdout
        yield small, match[0]
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
