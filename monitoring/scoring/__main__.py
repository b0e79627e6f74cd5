"""Run the scoring process; it ends with CANNOT_START where its packages or its home do not work."""

import sys
import traceback

from monitoring.scoring.process import CANNOT_START


def main() -> None:
    """Score until standard input closes."""
    try:
        from monitoring.scoring.loop import ScoringLoop  # noqa: PLC0415 - its failure has a status

        loop = ScoringLoop()
    except Exception:  # noqa: BLE001 - whatever it is, another try would fail as well
        traceback.print_exc()
        sys.exit(CANNOT_START)
    loop.run()


if __name__ == "__main__":
    main()
