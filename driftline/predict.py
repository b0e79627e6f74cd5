"""`driftline predict`: predict the rows of files with a registered version."""

from typing import Any

import click

from driftline.number_types import FiniteRange


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [predict]


@click.command()
@click.argument("model")
@click.argument("source", metavar="INPUT")
@click.argument("output")
@click.option("--version", "number", default="", help="Number of the version.")
@click.option(
    "--alias",
    default="champion",
    show_default=True,
    help="Alias of the version, if --version is not given.",
)
@click.option(
    "--chunk", default=10_000, show_default=True, type=click.IntRange(1, 1_000_000),
    help="Number of rows per checkpoint and event.",
)  # fmt: skip
@click.option(
    "--workers", default=2, show_default=True, type=click.IntRange(1, 256),
    help="Number of chunks that run at the same time.",
)  # fmt: skip
@click.option(
    "--copy", "copied", default="", help="Columns of INPUT to copy to OUTPUT, for example id,day."
)
@click.option(
    "--check",
    type=click.Choice(["off", "warn", "refuse"]),
    default="off",
    show_default=True,
    is_flag=False,
    flag_value="refuse",
    help="Compare the rows with the reference first. --check without a value means refuse.",
)
@click.option(
    "--unseen",
    default=0.01,
    show_default=True,
    type=FiniteRange(0, 1),
    help="Largest share of rows outside the reference that --check accepts.",
)
@click.option("--restart", is_flag=True, help="Start again instead of resuming.")
@click.option("--quiet", is_flag=True, help="Show no progress.")
def predict(  # noqa: PLR0913  # one argument per option
    *,
    model: str,
    source: str,
    output: str,
    number: str,
    alias: str,
    chunk: int,
    workers: int,
    copied: str,
    check: Any,
    unseen: float,
    restart: bool,
    quiet: bool,
) -> None:
    """Predict every row of INPUT and write the predictions to OUTPUT, in the same order.

    INPUT and OUTPUT are Parquet or CSV files, or folders of such files, on this machine or at a URL
    such as s3://bucket/rows.parquet. To resume a killed job, run the same command again.
    """
    from driftline.batch.command import BatchRequest, run_job  # noqa: PLC0415 - imports ONNX Runtime

    names = [name.strip() for name in copied.split(",") if name.strip()]
    request = BatchRequest(
        model=model,
        source=source,
        output=output,
        number=number,
        alias=alias,
        chunk=chunk,
        workers=workers,
        copied=names,
        check=check,
        unseen=unseen,
        restart=restart,
    )
    done = run_job(request, quiet=quiet)
    for line in done.lines():
        click.echo(line)
