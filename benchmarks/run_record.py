"""Measure the cost of recording running requests: `python -m benchmarks.run_record`."""

import tempfile
import timeit
from pathlib import Path

from registry.manifest import Manifest, Version
from service.batching.batcher import RunsInFlight, UnrecordedRuns
from service.call import Call
from service.crashes.run_record import RunRecord, VersionRuns

_CALLS, _REPEATS = 300, 400
_VERSION = Version(
    model="flights", number="7", digest="0" * 64, created=0, manifest=Manifest(), path=""
)


class _Log:
    epoch = 1
    next_sequence = 1_000_000


def main() -> None:
    """Print the minimum cost of several repeats, minus that without a record, in nanoseconds."""
    with tempfile.TemporaryDirectory() as folder:
        record = RunRecord(Path(folder), _Log())
        runs = VersionRuns(record, _VERSION, str)
        for count in (1, 8, 64):
            calls = [_call() for _ in range(count)]
            nothing = _cost(UnrecordedRuns(), calls, enters=False)
            inline = _cost(runs, calls, enters=False) - nothing
            threaded = _cost(runs, calls, enters=True) - nothing
            print(f"{count:3} requests: {inline:5.0f} ns inline, {threaded:5.0f} ns in a thread")
        record.close()


def _call() -> Call:
    return Call(
        protocol="rest",
        model="flights",
        selector="",
        received=1_764_000_000_000_000,
        started=0.0,
        deadline=1.0,
        prediction_id="0123456789ab-1f",
    )


def _cost(runs: RunsInFlight[Call], calls: list[Call], *, enters: bool) -> float:
    def run() -> None:
        slot = runs.begin(calls)
        if enters:
            runs.enter(slot)
        runs.end(slot)

    return min(timeit.repeat(run, number=_CALLS, repeat=_REPEATS)) / _CALLS * 1e9


if __name__ == "__main__":
    main()
