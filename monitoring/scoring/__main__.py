"""Entry point of the scoring process; it exits with CANNOT_START if it cannot start."""

import gc
import sys
import traceback

from eventlog.errors import DriftlineError
from monitoring.scoring.process import CANNOT_START


def main() -> None:
    """Score windows until standard input closes."""
    gc.disable()  # garbage collection during the imports takes a seventh of the start-up time
    try:
        from monitoring.scoring.loop import ScoringLoop  # noqa: PLC0415 - an import error becomes a status

        loop = ScoringLoop()
    except (DriftlineError, OSError) as error:  # a wrong setting or an unusable home
        print(f"scoring: {error}", file=sys.stderr)  # noqa: T201 - the monitor's log
        sys.exit(CANNOT_START)
    except Exception:  # noqa: BLE001 - any error at the start would occur again in a new process
        traceback.print_exc()
        sys.exit(CANNOT_START)
    gc.freeze()
    gc.enable()
    loop.run()


if __name__ == "__main__":
    main()
