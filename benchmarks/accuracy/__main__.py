"""Measure false alarms and detected changes; docs/accuracy.md explains the tables."""

import click

from benchmarks.accuracy.changes import planted
from benchmarks.accuracy.kinds import kinds, moved_inputs, without_change
from benchmarks.accuracy.measurement import (
    DriftlessResults,
    DriftlessStream,
    Trial,
    with_drift,
    without_drift,
)
from monitoring.results import Rule

DRIFTLESS = [
    *(
        DriftlessStream(source, columns, rows, floor, labels=columns == 5)
        for columns, rows, floor in (
            (5, 200, 0.0),
            (5, 1_000, 0.0),
            (20, 200, 0.0),
            (20, 1_000, 0.0),
            (20, 1_000, 0.1),
        )
        for source in ("fresh", "reference")
    ),
    DriftlessStream("reference", 5, 200, 0.0, reference_rows=20_000),
    DriftlessStream("flights", 16, 1_000, 0.0, references=1, windows=300),
    DriftlessStream("flights", 16, 1_000, 0.1, references=1, windows=300),
]


LIMITED = [
    DriftlessStream(source, 5, rows, 0.0, labels=True, limited=True)
    for rows in (200, 1_000)
    for source in ("fresh", "reference")
]
_RULES: tuple[Rule, ...] = ("drift", "performance", "estimate", "concept")


@click.command(help=__doc__)
@click.option("--seed", default=20260101, show_default=True)
@click.option(
    "--only", type=click.Choice(["calm", "limited", "planted", "kinds"]), help="One part."
)
@click.option("--streams", default=8, show_default=True, help="Streams per planted change.")
@click.option("--references", default=100, show_default=True, help="References per kind of data.")
def main(seed: int, streams: int, references: int, only: str | None) -> None:
    """Measure and print each row as soon as it is complete."""
    if only in {None, "calm"}:
        _without_drift(seed)
    if only in {None, "limited"}:
        _limited(seed)
    if only in {None, "planted"}:
        _with_drift(seed, streams)
    if only in {None, "kinds"}:
        _kinds(seed, references)


def _without_drift(seed: int) -> None:
    click.echo(
        "| stream | reference | columns | rows | floor | windows | drift alarms (band) "
        "| all alarms (band) | columns beyond | Evidently: columns | some column | data set |"
    )
    click.echo(f"|{' --- |' * 12}")
    for setting in DRIFTLESS:
        click.echo(_driftless_row(setting, without_drift(setting, seed)))


def _limited(seed: int) -> None:
    click.echo(f"\n| stream | rows | windows | {' | '.join(_RULES)} | band of each | all (band) |")
    click.echo(f"|{' --- |' * (5 + len(_RULES))}")
    for setting in LIMITED:
        results = without_drift(setting, seed)
        counts = " | ".join(str(results.by_rule[rule]) for rule in _RULES)
        click.echo(
            f"| {setting.source} | {setting.rows:,} | {results.windows:,} | {counts} "
            f"| {results.rule_budget[0]}–{results.rule_budget[1]} "
            f"| {_within(results.alarms, results.budget)} |"
        )


def _kinds(seed: int, references: int) -> None:
    click.echo("\n| kind | size | reference | rows | windows | broken (band) | allowed |")
    click.echo(f"|{' --- |' * 7}")
    for kind in kinds():
        result = without_change(kind, seed, references=references)
        click.echo(
            f"| {kind.name} | {kind.size} | {kind.reference_rows:,} | {kind.rows:,} "
            f"| {result.windows:,} | {_within(result.broken, result.band)} | {result.level:.1%} |"
        )
    click.echo("\n| all numbers moved by | concept alarms in 40 windows |")
    click.echo("| --- | --- |")
    for by in (0.5, 1.0, 2.0, 3.0):
        click.echo(f"| {by:g} sd | {moved_inputs(by, seed)} |")


def _with_drift(seed: int, streams: int) -> None:
    for rows in (500, 2_000):
        click.echo(f"\n{rows:,} rows:\n")
        click.echo("| change | size | alarm | windows until | by | Evidently | windows until |")
        click.echo("| --- | --- | --- | --- | --- | --- | --- |")
        trial = Trial(rows, streams=streams, seed=seed)
        for change, result in with_drift(planted(), trial):
            click.echo(
                f"| {change.kind} | {change.size} | {result.power:.0%} | {_number(result.delay)} "
                f"| {result.rules or '–'} | {result.evidently:.0%} "
                f"| {_number(result.evidently_delay)} |"
            )


def _driftless_row(setting: DriftlessStream, results: DriftlessResults) -> str:
    evidently = (
        ("–", "–", "–")
        if setting.source == "reference"
        else tuple(
            f"{share:.1%}"
            for share in (results.evidently_columns, results.evidently_some, results.evidently)
        )
    )
    every = _within(results.alarms, results.budget) if setting.labels else "–"
    return (
        f"| {setting.source} | {results.reference:,} | {setting.columns} | {setting.rows:,} "
        f"| {setting.floor:g} | {results.windows:,} "
        f"| {_within(results.by_rule['drift'], results.rule_budget)} "
        f"| {every} | {results.columns:.2%} | {' | '.join(evidently)} |"
    )


def _within(alarms: int, band: tuple[int, int]) -> str:
    return f"{alarms} ({band[0]}–{band[1]})"


def _number(value: float) -> str:
    return "–" if value != value else f"{value:.1f}"  # noqa: PLR0124 - true for NaN only


if __name__ == "__main__":
    main()
