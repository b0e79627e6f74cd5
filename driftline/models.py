"""`driftline models`: list models, or the versions of a model."""

import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import groupby

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from driftline.registry_access import SERVER, open_access
from driftline.version_summaries import ModelPage, ModelQuery, VersionSummary, read_pages

_UNBROKEN = 10_000  # columns if the output is not a terminal, so that programs read whole lines
_WIDE = 100  # minimum terminal columns for digests
_LIMIT = 100  # maximum number of models in a table
_WILDCARDS = frozenset("*?[,")
_WRAPPED = frozenset(
    {"aliases", "owner", "tags", "not ready"}
)  # columns that are wrapped in a narrow terminal
_LONG_NAME = 30  # characters; longer names are wrapped too


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [models]


@click.command()
@click.argument("pattern", default="")
@click.option(
    "--versions", is_flag=True, help="One line per version; the default if PATTERN is one name."
)
@click.option("--tag", default="", help="Only models with this tag; see driftline describe.")
@click.option("--owner", default="", help="Only models of this owner.")
@click.option(
    "--limit",
    type=click.IntRange(1, 1_000_000),
    help=f"Maximum number of models.  [default: {_LIMIT}; with --json all]",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line per version.")
@SERVER
def models(  # noqa: PLR0913  # one argument per option
    *,
    pattern: str,
    versions: bool,
    tag: str,
    owner: str,
    limit: int | None,
    as_json: bool,
    server: str,
) -> None:
    """List models with their versions and aliases.

    PATTERN is a list of shell patterns, as in DRIFTLINE_SERVICE_MODELS: 'team-a-*,fraud'.
    """
    read = open_access(server).models
    query = ModelQuery(pattern, tag=tag, owner=owner)
    if as_json:
        for page in read_pages(read, query, limit):
            _print_json(page)
        return
    pages = list(read_pages(read, query, limit or _LIMIT))
    summaries = [summary for page in pages for summary in page.versions]
    if not summaries:
        click.echo(_nothing(query))
        return
    for summary in summaries:
        if summary.damaged:
            click.secho(f"warning: {summary.damaged}", fg="yellow", err=True)
    readable = [summary for summary in summaries if not summary.damaged]
    is_name = bool(pattern) and not _WILDCARDS & set(pattern)
    console = _console()
    if versions or is_name:
        table = _version_table(readable, digests=console.width >= _WIDE)
    else:
        table = _model_table(readable, narrow=console.width < _WIDE)
    if table.rows:
        console.print(table)
    if remaining := pages[-1].remaining:
        click.echo(
            f"{remaining} more models: list all with --limit "
            f"{_model_count(summaries) + remaining}, or select some with a PATTERN such as "
            "'team-a-*'",
            err=True,
        )


def _print_json(page: ModelPage) -> None:
    for summary in page.versions:
        click.echo(msgspec.json.encode(summary))


def _nothing(query: ModelQuery) -> str:
    parts = [
        f"matches {query.pattern!r}" if query.pattern else "",
        f"has the tag {query.tag!r}" if query.tag else "",
        f"belongs to {query.owner!r}" if query.owner else "",
    ]
    if any(parts):
        chosen = " and ".join(part for part in parts if part)
        return f"No model {chosen}; driftline models lists all."
    return "No model is registered; see driftline register --help."


def _model_table(summaries: Sequence[VersionSummary], *, narrow: bool) -> Table:
    owners, tags = any(v.owner for v in summaries), any(v.tags for v in summaries)
    described = ["owner"] * owners + ["tags"] * tags
    dated = (
        [] if described and narrow else ["registered"]
    )  # a narrow terminal shows owners, not dates
    headers = ("model", "versions", "aliases", "newest", *dated, *described, "not ready")
    table = _table(headers, summaries)
    for model, group in groupby(summaries, lambda summary: summary.model):
        versions = list(group)
        aliases = sorted((alias, v.number) for v in versions for alias in v.aliases)
        newest = versions[-1]
        table.add_row(
            Text(model),
            str(len(versions)),
            ", ".join(f"{alias} {number}" for alias, number in aliases),
            newest.number,
            *([f"{_utc(newest.registered):%Y-%m-%d}"] if dated else []),
            *([Text(newest.owner)] if owners else []),
            *([Text(", ".join(newest.tags))] if tags else []),
            Text(_not_ready(versions)),
        )
    return table


def _not_ready(versions: Sequence[VersionSummary]) -> str:
    """Return the newest version that is not ready, the reasons, and the number of others."""
    unready = [version for version in versions if version.reasons]
    if not unready:
        return ""
    others = f" (and {len(unready) - 1} more)" if len(unready) > 1 else ""
    return f"{unready[-1].number}: {'; '.join(unready[-1].reasons)}{others}"


def _version_table(summaries: Sequence[VersionSummary], *, digests: bool) -> Table:
    digest = ["digest"] if digests else []
    headers = ["model", "version", "aliases", "registered (UTC)", *digest, "not ready"]
    table = _table(headers, summaries)
    for version in summaries:
        table.add_row(
            Text(version.model),
            version.number,
            ", ".join(version.aliases),
            f"{_utc(version.registered):%Y-%m-%d %H:%M}",
            *([version.digest[:12]] if digests else []),
            Text("; ".join(version.reasons)),
        )
    return table


def _table(headers: Sequence[str], summaries: Sequence[VersionSummary]) -> Table:
    long_names = any(len(summary.model) > _LONG_NAME for summary in summaries)
    wrapped = _WRAPPED | {"model"} if long_names else _WRAPPED
    table = Table(box=None)
    for header in headers:
        table.add_column(header, overflow="fold", no_wrap=header not in wrapped)
    return table


def _console() -> Console:
    """Return a console that wraps lines at the terminal's width or COLUMNS, if there is either."""
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return Console()
    return Console(width=_UNBROKEN)


def _model_count(summaries: Iterable[VersionSummary]) -> int:
    return len({summary.model for summary in summaries})


def _utc(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1e6, UTC)
