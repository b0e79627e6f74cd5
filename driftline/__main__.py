"""The `driftline` command as `python -m driftline`."""

import sys
from pathlib import Path

if not sys.flags.safe_path and Path(sys.path[0]).resolve() != Path(__file__).resolve().parents[1]:
    del sys.path[0]  # the current folder, which may contain a service.py or registry/

from driftline.cli import main

if __name__ == "__main__":
    main()
