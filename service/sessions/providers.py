"""Choose a session's execution providers from the installed providers."""

from collections.abc import Mapping, Sequence

from service.errors import NotReady

_SUFFIX = "ExecutionProvider"
CPU = f"CPU{_SUFFIX}"


def choose(
    requested: Sequence[str], options: Mapping[str, Mapping[str, str]], available: Sequence[str]
) -> list[tuple[str, dict[str, str]]]:
    """Return the requested providers and their options, in order of preference; by default, CPU.

    Names are ONNX Runtime's, with or without "ExecutionProvider". Options for other providers are
    ignored. Raises NotReady if a provider is not installed.
    """
    installed = {name.removesuffix(_SUFFIX).lower(): name for name in available}
    missing = [name for name in requested if _short(name) not in installed]
    if missing:
        raise NotReady(
            f"execution provider {missing[0]!r} is not installed here; "
            f"expected one of {', '.join(available)}"
        )
    chosen = [installed[_short(name)] for name in requested] or [CPU]
    settings = {_short(name): dict(values) for name, values in options.items()}
    return [(name, settings.get(_short(name), {})) for name in chosen]


def only_cpu(requested: Sequence[str]) -> bool:
    """Return whether a session with these providers uses no accelerator."""
    return {_short(name) for name in requested} <= {_short(CPU)}


def _short(name: str) -> str:
    return name.removesuffix(_SUFFIX).lower()
