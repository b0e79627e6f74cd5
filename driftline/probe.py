"""`driftline probe`: the health check of the container images."""

import sys

import click

_PATIENCE = 2.0  # seconds


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [probe]


@click.command()
@click.argument("url")
def probe(url: str) -> None:
    """Exit 0 if the URL returns 2xx, else 1 with the reason."""
    import httpx  # noqa: PLC0415 - not needed for --help

    try:
        # A health check sends no secret, and certificates name the public address, not loopback.
        answer = httpx.get(url, timeout=_PATIENCE, verify=False, trust_env=False)  # noqa: S501
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        click.echo(f"{url}: {error}", err=True)
        sys.exit(1)
    click.echo(f"{url}: {answer.status_code}", err=not answer.is_success)
    sys.exit(0 if answer.is_success else 1)
