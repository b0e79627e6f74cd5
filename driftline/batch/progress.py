"""Show the progress of a job: a bar in a terminal, else a line every few seconds."""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self

import click

from driftline.terminal import unescaped_stream

_EVERY_S = 10.0  # seconds between lines


class RowProgress(Protocol):
    """A display of finished rows, shown inside a `with` block."""

    def __enter__(self) -> Self:
        """Start the display."""
        ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the display."""
        ...

    def add(self, rows: int) -> None:
        """Add finished rows."""
        ...


def progress_display(total: int | None, *, quiet: bool) -> RowProgress:
    """Return the display that fits standard error; `total` is None if it is unknown."""
    if quiet:
        return Lines(total, lambda _: None)
    if sys.stderr.isatty():
        return Bar(total)
    return Lines(total, lambda line: click.echo(line, err=True))


class Bar:
    """A progress bar with rows, rate and remaining time."""

    def __init__(self, total: int | None) -> None:
        from rich.console import Console  # noqa: PLC0415 - needed for terminals only
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Display  # noqa: PLC0415

        self._display = Display(
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("rows, {task.fields[rate]:,.0f} rows/s"),
            TimeRemainingColumn(),
            console=Console(file=unescaped_stream(sys.stderr)),
        )
        self._task = self._display.add_task("", total=total, rate=0.0)
        self._pace = Pace(total)

    def __enter__(self) -> Self:
        """Start the display."""
        self._display.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the display."""
        self._display.stop()

    def add(self, rows: int) -> None:
        """Add finished rows."""
        self._pace.add(rows)
        self._display.update(self._task, advance=rows, rate=self._pace.rate)


class Lines:
    """A line of text every ten seconds."""

    def __init__(self, total: int | None, write: Callable[[str], None]) -> None:
        self._pace, self._write = Pace(total), write
        self._next = time.monotonic() + _EVERY_S

    def __enter__(self) -> Self:
        """Start the display."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop the display."""

    def add(self, rows: int) -> None:
        """Add finished rows."""
        self._pace.add(rows)
        if time.monotonic() >= self._next:
            self._write(self._pace.line())
            self._next = time.monotonic() + _EVERY_S


class Pace:
    """The number of finished rows, their rate, and the remaining time at that rate."""

    def __init__(self, total: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._total, self._clock = total, clock
        self._began: float | None = None
        self._before = 0  # rows that earlier processes finished
        self._done = 0

    def add(self, rows: int) -> None:
        """Add finished rows; the first call adds the rows of earlier processes."""
        self._done += rows
        if self._began is None:
            self._began, self._before = self._clock(), self._done

    @property
    def rate(self) -> float:
        """Rows per second in this process."""
        seconds = 0.0 if self._began is None else self._clock() - self._began
        return (self._done - self._before) / seconds if seconds else 0.0

    def line(self) -> str:
        """Return the progress in one line."""
        of = "" if self._total is None else f" of {self._total:,}"
        rest = ""
        if self._total is not None and self.rate:
            rest = f", {(self._total - self._done) / self.rate:.0f} s left"
        return f"{self._done:,}{of} rows, {self.rate:,.0f} rows/s{rest}"
