"""Re-run a few failed tests alone: `python -m tests.again STATUS`.

Machines are shared, and hundreds of tests wait for processes and brokers. One that fails beside
others and passes alone does not stop the run, but it is named: it depends on something that it
does not state, and is to be mended.
"""

import json
import subprocess
import sys
from pathlib import Path

MOST = 5  # more is no accident
_TESTS_FAILED = 1  # pytest's status
_FAILED = Path(".pytest_cache/v/cache/lastfailed")


def main(status: int) -> int:
    """Return the status of the run: of the first, unless its few failures pass alone."""
    failed = list(json.loads(_FAILED.read_text())) if _FAILED.exists() else []
    if status != _TESTS_FAILED or not 0 < len(failed) <= MOST:
        return status
    print(f"\nOnce more, alone: {len(failed)} of the tests that failed", flush=True)
    again = subprocess.run([sys.executable, "-m", "pytest", *failed], check=False)
    if again.returncode == 0:
        print("UNSTABLE, passed only alone; see CONTRIBUTING.md:", *failed, sep="\n  ")
    return again.returncode


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
