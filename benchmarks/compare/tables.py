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
    table = plain("connections", "server", "CPU µs/request", "of its floor", "requests/s")
    for heading in ("p50 ms", "p99 ms", "failed"):
        table.add_column(heading, justify="right")
    for connections in sorted({number for _, number in figures}):
        for contender in contenders:
            seen = figures.get((contender.name, connections))
            if seen is not None:
                floor = figures[contender.floor, connections].cpu_us
                table.add_row(str(connections), contender.name, *_cells(seen, floor))
    show(console, title, table)


def plain(*headings: str) -> Table:
    """Return an empty table; its columns after the second are right-aligned."""
    table = Table(box=box.MARKDOWN)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="left" if number < 2 else "right", no_wrap=True)
    return table


def rate(seen: Measurement) -> str:
    """Format requests per second, with a star if the generator was the bottleneck."""
    return f"{seen.requests_s:,.0f}{'*' * (seen.generator > _BUSY)}"


def show(console: Console, title: str, table: Table) -> None:
    """Print a table below its title."""
    console.print(f"\n### {title}\n")
    console.print(table)


def _cells(seen: Measurement, floor: float) -> list[str]:
    if not seen.requests_s:
        return ["–", "–", "0", "–", "–", f"{seen.failed:.0%}"]
    return [
        f"{seen.cpu_us:,.0f}",
        f"{seen.cpu_us / floor:.2f}" if floor else "–",
        rate(seen),
        f"{seen.p50_ms:,.2f}",
        f"{seen.p99_ms:,.2f}",
        f"{seen.failed:.1%}" if seen.failed else "",
    ]
