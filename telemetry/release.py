"""The installed release of Driftline."""

from importlib.metadata import PackageNotFoundError, version


def release() -> str:
    """Return the version of the distribution; "unpackaged" in a bento, whose tag names it."""
    try:
        return version("driftline")
    except PackageNotFoundError:
        return "unpackaged"
