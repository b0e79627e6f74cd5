"""`driftline probe`: the health check of the container images."""

import sys

import click

_TIMEOUT_S = 2.0


def commands() -> list[click.Command]:
    """Return the commands of this module."""
    return [probe]


@click.command()
@click.argument("url")
def probe(url: str) -> None:
    """Exit 0 if the URL returns 2xx, else 1 with the reason."""
    import httpx  # noqa: PLC0415 - not needed for --help

    try:
        # Not verified, because a certificate names the public address, not loopback, and a health
        # check sends no secret.
        answer = httpx.get(url, timeout=_TIMEOUT_S, verify=False, trust_env=False)  # noqa: S501
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        click.echo(f"{url}: {error}", err=True)
        sys.exit(1)
    click.echo(f"{url}: {answer.status_code}", err=not answer.is_success)
    sys.exit(0 if answer.is_success else 1)
