"""Print results as Markdown tables."""

from collections.abc import Mapping, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.compare.contenders import Contender
from benchmarks.compare.measurement import Measurement

_BUSY = 0.9  # share of a core above which the generator may be the bottleneck


def compared(
    console: Console,
    title: str,
    contenders: Sequence[Contender],
    figures: Mapping[tuple[str, int], Measurement],
) -> None:
    """Print one row per contender and number of connections."""
    table = plain("connections", "server", "CPU µs/request", "ratio to bare handler", "requests/s")
    for heading in ("p50 ms", "p99 ms", "failed"):
        table.add_column(heading, justify="right")
    for connections in sorted({number for _, number in figures}):
        for contender in contenders:
            measurement = figures.get((contender.name, connections))
            if measurement is not None:
                floor = figures[contender.floor, connections].cpu_us
                table.add_row(str(connections), contender.name, *_cells(measurement, floor))
    show(console, title, table)


def plain(*headings: str) -> Table:
    """Return an empty table; its columns after the second are right-aligned."""
    table = Table(box=box.MARKDOWN)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number < 2 else "right", no_wrap=True)
    return table


def rate(measurement: Measurement) -> str:
    """Format requests per second, with a star if the generator was the bottleneck."""
    return f"{measurement.requests_s:,.0f}{'*' * (measurement.generator > _BUSY)}"


def show(console: Console, title: str, table: Table) -> None:
    """Print a table below its title."""
    console.print(f"\n### {title}\n")
    console.print(table)


def _cells(measurement: Measurement, floor: float) -> list[str]:
    if not measurement.requests_s:
        return ["–", "–", "0", "–", "–", f"{measurement.failed:.0%}"]
    return [
        f"{measurement.cpu_us:,.0f}",
        f"{measurement.cpu_us / floor:.2f}" if floor else "–",
        rate(measurement),
        f"{measurement.p50_ms:,.2f}",
        f"{measurement.p99_ms:,.2f}",
        f"{measurement.failed:.1%}" if measurement.failed else "",
    ]
