"""Writes the tables of docs/scaling.md: python -m benchmarks.scaling_plan [FILE].

Unit costs are those that docs/performance.md has measured, the rest are stated assumptions; change
one here and the page follows.
"""

import sys
from math import ceil
from pathlib import Path

import msgspec

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
BEGIN, END = "<!-- computed: python -m benchmarks.scaling_plan -->", "<!-- end -->"
LOADS = (100, 1_000, 10_000, 100_000, 1_000_000)  # predictions a second, one row each
DAY = 86_400


class Costs(msgspec.Struct, frozen=True):
    """What one prediction of 30 features costs; CPU in microseconds, of one core."""

    # Measured, see docs/performance.md
    serve: float = 42.0
    forward: float = 42.5
    monitor: float = 57.1
    event_bytes: float = 900.0
    # Assumed
    busy: float = 0.5  # of a core, at the mean of a day: room for peaks, and for a pod that is lost
    compressed: float = 0.35  # of an event, once lz4 had a batch of them
    partition_bytes: float = 5e6  # a second, compressed, that one partition carries at ease
    broker_bytes: float = 60e6  # a second that one broker writes, its copies of others included
    copies: int = 3
    days_kept: int = 7
    core_hour: float = 0.04  # dollars
    gigabyte_month: float = 0.08  # dollars, of disk


class Plan(msgspec.Struct, frozen=True):
    """What a load needs."""

    load: int
    workers: int
    forwarders: int
    monitors: int
    partitions: int
    brokers: int
    gigabytes_a_day: float  # in Kafka, all copies
    dollars_a_month: float


def plan(load: int, costs: Costs) -> Plan:
    """Cores, partitions, brokers, disk and money for so many predictions a second."""
    workers, forwarders, monitors = (
        max(1, ceil(load * each / 1e6 / costs.busy))
        for each in (costs.serve, costs.forward, costs.monitor)
    )
    bytes_a_second = load * costs.event_bytes * costs.compressed
    written = bytes_a_second * costs.copies
    gigabytes = written * DAY / 1e9
    brokers = max(costs.copies, ceil(written / costs.broker_bytes))
    cores = workers + forwarders + monitors + 4 * brokers
    dollars = cores * 730 * costs.core_hour
    dollars += gigabytes * costs.days_kept * costs.gigabyte_month
    partitions = max(6, ceil(bytes_a_second / costs.partition_bytes), monitors)
    return Plan(load, workers, forwarders, monitors, partitions, brokers, gigabytes, dollars)


def table(costs: Costs) -> str:
    """The plans for every load."""
    heads = ["predictions/s", "a day", "serving cores", "forwarding cores", "monitoring cores"]
    heads += ["partitions", "brokers", "Kafka, GB a day", "about $ a month"]
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    for load in LOADS:
        one = plan(load, costs)
        cells = [f"{load:,}", f"{load * DAY / 1e6:,.0f} M", f"{one.workers:,}"]
        cells += [f"{one.forwarders:,}", f"{one.monitors:,}", f"{one.partitions:,}"]
        cells += [f"{one.brokers:,}", f"{one.gigabytes_a_day:,.0f}", f"{one.dollars_a_month:,.0f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(page: Path) -> None:
    """Put the table between its marks."""
    text = page.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n\n{table(Costs())}\n\n{END}{after}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE)
