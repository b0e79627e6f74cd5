"""Run the scoring process; it ends with CANNOT_START where its packages or its home do not work."""

import gc
import sys
import traceback

from eventlog.errors import DriftlineError
from monitoring.scoring.process import CANNOT_START


def main() -> None:
    """Score until standard input closes."""
    gc.disable()  # repeated collections during imports take a seventh of the start
    try:
        from monitoring.scoring.loop import ScoringLoop  # noqa: PLC0415 - an import error becomes a status

        loop = ScoringLoop()
    except (DriftlineError, OSError) as error:  # a setting or a home that its message names
        print(f"scoring: {error}", file=sys.stderr)  # noqa: T201 - the monitor's log
        sys.exit(CANNOT_START)
    except Exception:  # noqa: BLE001 - whatever it is, another try would fail as well
        traceback.print_exc()
        sys.exit(CANNOT_START)
    gc.freeze()
    gc.enable()
    loop.run()


if __name__ == "__main__":
    main()
