"""`driftline probe`: whether an address answers well; what containers ask themselves."""

import sys

import click
import httpx

_PATIENCE = 2.0  # seconds


def commands() -> list[click.Command]:
    """The command of this verb."""
    return [probe]


@click.command()
@click.argument("url")
def probe(url: str) -> None:
    """End with status 0 if URL answers with a status of 200 to 299, else with 1 and the reason."""
    try:
        # Whose certificate it is does not matter to somebody who only asks whether it lives.
        answer = httpx.get(url, timeout=_PATIENCE, verify=False, trust_env=False)  # noqa: S501
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        click.echo(f"{url}: {error}", err=True)
        sys.exit(1)
    click.echo(f"{url}: {answer.status_code}", err=not answer.is_success)
    sys.exit(0 if answer.is_success else 1)
