"""Choose the execution providers of a session among the installed ones."""

from collections.abc import Mapping, Sequence

from service.errors import NotReady

_SUFFIX = "ExecutionProvider"
CPU = f"CPU{_SUFFIX}"


def choose(
    requested: Sequence[str], options: Mapping[str, Mapping[str, str]], available: Sequence[str]
) -> list[tuple[str, dict[str, str]]]:
    """Return the wanted providers in order of preference, with options; CPU by default.

    Names are ONNX Runtime's, with or without "ExecutionProvider". Options of unused providers are
    ignored. Raises NotReady for a provider that is not installed.
    """
    installed = {name.removesuffix(_SUFFIX).lower(): name for name in available}
    missing = [name for name in requested if _short(name) not in installed]
    if missing:
        raise NotReady(
            f"execution provider {missing[0]!r} is not installed here; "
            f"expected some of {', '.join(available)}"
        )
    chosen = [installed[_short(name)] for name in requested] or [CPU]
    settings = {_short(name): dict(values) for name, values in options.items()}
    return [(name, settings.get(_short(name), {})) for name in chosen]


def only_cpu(requested: Sequence[str]) -> bool:
    """Return whether a session with these preferences runs on no accelerator."""
    return {_short(name) for name in requested} <= {_short(CPU)}


def _short(name: str) -> str:
    return name.removesuffix(_SUFFIX).lower()
