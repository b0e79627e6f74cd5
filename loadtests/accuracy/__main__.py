"""`make accuracy`: the tables of docs/accuracy.md, on standard output."""

import click

from loadtests.accuracy.changes import planted
from loadtests.accuracy.measuring import Calm, Setting, Trial, with_drift, without_drift

CALM = [
    *(
        Setting(source, columns, rows, floor, labels=columns == 5)
        for columns, rows, floor in (
            (5, 200, 0.0),
            (5, 1_000, 0.0),
            (20, 200, 0.0),
            (20, 1_000, 0.0),
            (20, 1_000, 0.1),
        )
        for source in ("fresh", "reference")
    ),
    Setting("reference", 5, 200, 0.0, reference_rows=20_000),
    Setting("flights", 16, 1_000, 0.0, references=1, windows=300),
    Setting("flights", 16, 1_000, 0.1, references=1, windows=300),
]


@click.command(help=__doc__)
@click.option("--seed", default=20260101, show_default=True)
@click.option("--only", type=click.Choice(["calm", "planted"]), help="One half of it.")
@click.option("--streams", default=8, show_default=True, help="With each planted change.")
def main(seed: int, streams: int, only: str | None) -> None:
    """Measure, and say each row as it is known."""
    if only != "planted":
        _without_drift(seed)
    if only != "calm":
        _with_drift(seed, streams)


def _without_drift(seed: int) -> None:
    click.echo(
        "| stream | reference | columns | rows | floor | windows | drift alarms (band) "
        "| all alarms (band) | columns beyond | Evidently: columns | some column | data set |"
    )
    click.echo(f"|{' --- |' * 12}")
    for setting in CALM:
        click.echo(_calm(setting, without_drift(setting, seed)))


def _with_drift(seed: int, streams: int) -> None:
    for rows in (500, 2_000):
        click.echo(f"\n{rows:,} rows:\n")
        click.echo("| change | size | alarm | windows until | by | Evidently | windows until |")
        click.echo("| --- | --- | --- | --- | --- | --- | --- |")
        trial = Trial(rows, streams=streams, seed=seed)
        for change, found in with_drift(planted(), trial):
            click.echo(
                f"| {change.kind} | {change.size} | {found.power:.0%} | {_number(found.delay)} "
                f"| {found.rules or '–'} | {found.evidently:.0%} "
                f"| {_number(found.evidently_delay)} |"
            )


def _calm(setting: Setting, calm: Calm) -> str:
    beside = (
        ("–", "–", "–")
        if setting.source == "reference"
        else tuple(
            f"{share:.1%}"
            for share in (calm.evidently_columns, calm.evidently_some, calm.evidently)
        )
    )
    every = f"{calm.alarms} ({calm.budget[0]}–{calm.budget[1]})" if setting.labels else "–"
    return (
        f"| {setting.source} | {calm.reference:,} | {setting.columns} | {setting.rows:,} "
        f"| {setting.floor:g} | {calm.windows:,} "
        f"| {calm.of_drift} ({calm.drift_budget[0]}–{calm.drift_budget[1]}) "
        f"| {every} | {calm.columns:.2%} | {' | '.join(beside)} |"
    )


def _number(value: float) -> str:
    return "–" if value != value else f"{value:.1f}"  # noqa: PLR0124 - not a number


if __name__ == "__main__":
    main()
