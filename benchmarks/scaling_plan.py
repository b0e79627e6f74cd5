"""Generate the tables of docs/scaling.md: `python -m benchmarks.scaling_plan [FILE]`.

Unit costs are measurements from docs/performance.md; the other values are assumptions.
"""

import sys
from math import ceil
from pathlib import Path

import msgspec

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"
BEGIN, END = "<!-- computed: python -m benchmarks.scaling_plan -->", "<!-- end -->"
LOADS = (100, 1_000, 10_000, 100_000, 1_000_000)  # predictions of one row per second
DAY = 86_400


class Costs(msgspec.Struct, frozen=True):
    """The costs of one prediction with 30 features; CPU in microseconds of one core."""

    # Measured, see docs/performance.md.
    serve: float = 37.0
    forward: float = 47.6
    monitor: float = 52.2
    database: float = 20.0  # CPU of the PostgreSQL server that several monitors share
    event_bytes: float = 900.0
    # Assumed
    busy: float = 0.5  # mean load of a core; the rest is for peaks and the loss of a pod
    compressed: float = 0.35  # compression ratio of a batch by lz4
    partition_bytes: float = 5e6  # compressed bytes per second of one partition
    broker_bytes: float = 60e6  # bytes per second that one broker writes, including replicas
    copies: int = 3  # replicas of a Kafka partition
    days_kept: int = 7  # retention in Kafka
    database_cores: int = 16  # cores of a PostgreSQL server; each group of models has one server
    core_hour: float = 0.04  # dollars
    gigabyte_month: float = 0.08  # dollars per GB of disk


class Plan(msgspec.Struct, frozen=True):
    """The resources that a load needs."""

    load: int
    workers: int
    forwarders: int
    monitors: int
    databases: int  # PostgreSQL cores; 0 for one monitor, which uses SQLite
    groups: int  # groups of models, each with its own topics, monitors and database
    partitions: int
    brokers: int
    gigabytes_a_day: float  # in Kafka, including all replicas
    dollars_a_month: float


def plan(load: int, costs: Costs) -> Plan:
    """Return cores, partitions, brokers, disk and cost for `load` predictions per second."""
    workers, forwarders, monitors, databases = (
        max(1, ceil(load * each / 1e6 / costs.busy))
        for each in (costs.serve, costs.forward, costs.monitor, costs.database)
    )
    if monitors == 1:
        databases = 0
    bytes_a_second = load * costs.event_bytes * costs.compressed
    written = bytes_a_second * costs.copies
    gigabytes = written * DAY / 1e9
    brokers = max(costs.copies, ceil(written / costs.broker_bytes))
    cores = workers + forwarders + monitors + databases + 4 * brokers
    dollars = cores * 730 * costs.core_hour
    dollars += gigabytes * costs.days_kept * costs.gigabyte_month
    partitions = max(6, ceil(bytes_a_second / costs.partition_bytes), monitors)
    return Plan(
        load=load,
        workers=workers,
        forwarders=forwarders,
        monitors=monitors,
        databases=databases,
        groups=max(1, ceil(databases / costs.database_cores)),
        partitions=partitions,
        brokers=brokers,
        gigabytes_a_day=gigabytes,
        dollars_a_month=dollars,
    )


def table(costs: Costs) -> str:
    """Return the plans of all loads as a Markdown table."""
    heads = ["predictions/s", "per day", "serving cores", "forwarding cores", "monitoring cores"]
    heads += ["PostgreSQL cores", "groups of models", "partitions", "brokers"]
    heads += ["Kafka, GB per day", "about $ per month"]
    lines = [f"| {' | '.join(heads)} |", "|" + " --- |" * len(heads)]
    for load in LOADS:
        machines = plan(load, costs)
        cells = [f"{load:,}", f"{load * DAY / 1e6:,.0f} M", f"{machines.workers:,}"]
        cells += [
            f"{machines.forwarders:,}",
            f"{machines.monitors:,}",
            f"{machines.databases:,}",
            f"{machines.groups:,}",
            f"{machines.partitions:,}",
            f"{machines.brokers:,}",
            f"{machines.gigabytes_a_day:,.0f}",
            f"{machines.dollars_a_month:,.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(page: Path) -> None:
    """Replace the table between its marks in the page."""
    text = page.read_text()
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    page.write_text(f"{before}{BEGIN}\n\n{table(Costs())}\n\n{END}{after}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE)
