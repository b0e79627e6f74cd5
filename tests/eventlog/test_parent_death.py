"""A child process ends with its parent, even if the parent is killed."""

import os
import signal
import subprocess
import sys

import pytest

from eventlog.parent_death import PARENT

# A parent that starts one child and sleeps; the child reports its signals on the shared output.
PARENT_CODE = """
import subprocess, sys, time
from eventlog.parent_death import child_environment
subprocess.Popen([sys.executable, "-c", sys.argv[1]], env=child_environment())
time.sleep(600)
"""
CHILD_CODE = """
import signal, sys, time
from eventlog.parent_death import end_with_parent
def end(*_):
    print("SIGTERM", flush=True)
    {end}
signal.signal(signal.SIGTERM, end)
end_with_parent(grace=0.2, platform={platform!r})
print("follows", flush=True)
while True:
    time.sleep(600)
"""


@pytest.mark.parametrize("platform", ["linux", "darwin"])
@pytest.mark.parametrize("end", ["sys.exit()", "pass"])
def test_a_child_ends_cleanly_or_is_killed_after_its_grace_period(platform: str, end: str) -> None:
    child = CHILD_CODE.format(end=end, platform=platform)
    command = [sys.executable, "-c", PARENT_CODE, child]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "follows\n"
        parent.kill()
        assert parent.stdout.read() == "SIGTERM\n"  # up to the end: nobody holds the pipe any more


def test_a_child_whose_parent_has_died_does_not_start() -> None:
    code = "from eventlog.parent_death import end_with_parent; end_with_parent(); print('started')"
    environment = {**os.environ, PARENT: "1073741824"}
    command = [sys.executable, "-c", code]
    child = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (child.returncode, child.stdout) == (1, "")
    assert child.stderr == ("driftline: the process 1073741824 that started this one has ended\n")


def test_a_detached_process_outlives_its_parent() -> None:
    alone = CHILD_CODE.format(end="sys.exit()", platform="linux")
    code = PARENT_CODE.replace("env=child_environment()", "")
    command = [sys.executable, "-c", code, alone]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "follows\n"
        parent.kill()
        parent.wait()
        os.killpg(parent.pid, signal.SIGTERM)  # raises where no child is left
        assert parent.stdout.read() == "SIGTERM\n"
