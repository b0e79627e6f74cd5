"""The depth of a test run: short by default, full length in `make nightly`."""

import os
from typing import TypeVar

Amount = TypeVar("Amount", int, float)

NIGHTLY = os.environ.get("DRIFTLINE_NIGHTLY") == "1"


def by_depth(short: Amount, nightly: Amount) -> Amount:
    """Return the amount for this run: of rounds, kills, rows or seconds."""
    return nightly if NIGHTLY else short
