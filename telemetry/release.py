"""The installed release of Driftline."""

from importlib.metadata import PackageNotFoundError, version


def release() -> str:
    """Return the distribution's version, or "unpackaged" in a bento, whose tag has the version."""
    try:
        return version("driftline")
    except PackageNotFoundError:
        return "unpackaged"
