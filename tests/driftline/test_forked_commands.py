"""A command forked by the tests behaves like one started by an interpreter."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import preloaded

DRIFTLINE = [sys.executable, "-m", "driftline"]


@pytest.mark.parametrize("arguments", [["--version"], ["nonsense"], ["config", "--json"]])
def test_a_forked_command_has_its_own_streams_status_environment_and_folder(
    arguments: list[str], tmp_path: Path
) -> None:
    environment = {**os.environ, "DRIFTLINE_HOME": "here", "DRIFTLINE_SERVICE_WORKERS": "3"}
    command = [*DRIFTLINE, *arguments]
    forked = preloaded.run(command, env=environment, cwd=tmp_path)
    plain = subprocess.run(
        command, env=environment, cwd=tmp_path, check=False, capture_output=True, text=True
    )
    assert (forked.returncode, forked.stdout) == (plain.returncode, plain.stdout)
    assert forked.stderr == plain.stderr


def test_the_end_of_a_fork_by_a_signal_is_reported() -> None:
    with preloaded.Command([*DRIFTLINE, "config"], stdout=subprocess.PIPE) as process:
        os.kill(process.pid, signal.SIGSTOP)
        assert process.poll() is None
        process.kill()
        assert process.wait(60) == -signal.SIGKILL
