"""The garbage collector of a process that takes in the log."""

import gc


def expect_rows() -> None:
    """Have it look less often through rows by the ten thousand for cycles that they never form."""
    gc.set_threshold(100_000, 50, 100)
