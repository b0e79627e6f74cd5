"""A monitor process to be killed by tests: `python … <database> <seed>`.

It reads the eight hours in small steps and gets a tenth of the records twice.
"""

import random
import sys
from pathlib import Path

from tests.monitoring.log_in_memory import Monitor, eight_hours


def main() -> None:
    where, seed = sys.argv[1:]
    database = where if where.startswith("postgresql:") else Path(where)
    monitor = Monitor(database, eight_hours().records, random.Random(int(seed)))
    print("begun", flush=True)
    monitor.drain(limit=3)


if __name__ == "__main__":
    main()
