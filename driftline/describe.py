"""`driftline describe`: set the owner and the tags of a model."""

import click

from driftline.changes import Describe
from driftline.registry_access import SERVER, open_access
from registry.history.lifecycle import reduce_rows

OWNER = click.option("--owner", default=None, help="Person or team responsible for the model.")
TAG = click.option(
    "--tag", "tags", multiple=True, help="Tag to find the model by; may be repeated."
)


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [describe]


@click.command()
@click.argument("model")
@OWNER
@TAG
@click.option("--untag", "removed", multiple=True, help="Tag to remove; may be repeated.")
@click.option("--why", default="", help="Reason, recorded with the change.")
@SERVER
def describe(  # noqa: PLR0913  # one argument per option
    *,
    model: str,
    owner: str | None,
    tags: tuple[str, ...],
    removed: tuple[str, ...],
    why: str,
    server: str,
) -> None:
    """Show or change owner and tags of MODEL.

    The status page and `driftline models` show owners and tags and can filter by them. An empty
    --owner removes the owner.
    """
    access = open_access(server)
    if owner is not None or tags or removed:
        change = Describe(owner=owner, add=list(tags), remove=list(removed), why=why)
        access.change(model, change)
    elif why:
        raise click.UsageError("--why without a change: expected --owner, --tag or --untag")
    state = reduce_rows(access.history(model)).description
    click.echo(f"{model}: owner {state.owner or 'none'}; tags {', '.join(state.tags) or 'none'}")
