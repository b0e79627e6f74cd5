"""`driftline compare`: compare two versions of a model on logged requests."""

from datetime import UTC, datetime
from typing import Any

import click

from eventlog.errors import DriftlineError, SettingError
from monitoring.comparisons import VersionComparison


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [compare]


class NotComparable(DriftlineError):
    """The log does not contain rows of both versions."""


_DAY = click.DateTime(["%Y-%m-%d"])


@click.command()
@click.argument("model")
@click.option("--versions", required=True, help="Two version numbers, for example 3,4.")
@click.option(
    "--source",
    type=click.Choice(["auto", "shadow", "canary", "replay"]),
    default="auto",
    show_default=True,
    help="Source of the rows. auto: the first of shadow, canary, replay that has enough rows.",
)
@click.option("--from", "start", type=_DAY, help="First day, UTC.")
@click.option("--to", "end", type=_DAY, help="Last day, UTC.")
@click.option(
    "--days", default=30, show_default=True, type=click.IntRange(1, 3_660),
    help="Without --from and --to: number of the latest days with requests.",
)  # fmt: skip
@click.option(
    "--rows", default=10_000, show_default=True, type=click.IntRange(30, 1_000_000),
    help="Maximum number of rows per version.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(  # noqa: PLR0913  # one argument per option
    *,
    model: str,
    versions: str,
    source: Any,
    start: datetime | None,
    end: datetime | None,
    days: int,
    rows: int,
    as_json: bool,
) -> None:
    """Compare two versions of MODEL: agreement, scores, segments, calibration, latency, cost.

    The model's status page shows the latest comparison of each pair of versions.
    """
    first, second = _numbers(versions)
    comparison = _run(model, first, second, source, _period(start, end, days), rows)
    if as_json:
        import msgspec  # noqa: PLC0415 - needed for --json only

        click.echo(msgspec.json.encode(comparison))
        return
    from driftline.comparison.table import print_comparison  # noqa: PLC0415

    print_comparison(comparison)


def _run(  # noqa: PLR0913, PLR0917  # one argument per option
    model: str, first: str, second: str, source: Any, period: tuple[int, Any, Any], rows: int
) -> VersionComparison:
    from driftline.comparison.run import (  # noqa: PLC0415 - imports pandas and ONNX Runtime
        ComparisonRequest,
        compare_versions,
    )
    from driftline.gates.context import NotEnoughData  # noqa: PLC0415
    from driftline.logged_periods import Period  # noqa: PLC0415

    request = ComparisonRequest(
        model=model, first=first, second=second, source=source, period=Period(*period), most=rows
    )
    try:
        return compare_versions(request, lambda text: click.echo(text, err=True))
    except NotEnoughData as error:
        raise NotComparable(str(error)) from None


def _numbers(text: str) -> tuple[str, str]:
    numbers = [part.strip() for part in text.split(",")]
    if (
        len(numbers) != 2
        or not all(number.isdecimal() for number in numbers)
        or len({*numbers}) < 2
    ):
        raise SettingError(f"--versions {text!r}: expected two different numbers, for example 3,4")
    return numbers[0], numbers[1]


def _period(
    start: datetime | None, end: datetime | None, days: int
) -> tuple[int, int | None, int | None]:
    """Return the number of days, and first and last day as days since the epoch."""
    if start is None and end is None:
        return days, None, None
    first = None if start is None else _day(start)
    last = None if end is None else _day(end)
    if first is not None and last is not None and first > last:
        raise SettingError("--from is after --to")
    return days, first, last


def _day(moment: datetime) -> int:
    return int(moment.replace(tzinfo=UTC).timestamp() // 86_400)
