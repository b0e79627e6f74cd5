"""The file of settings, `driftline.toml`: its values become variables, unless these are set.

Processes that this one starts inherit the variables, so they do not read the file.
"""

import tomllib
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from driftline.setting_catalogue import settings
from driftline.setting_names import nearest
from eventlog.errors import SettingError

_SWITCH = "DRIFTLINE_CONFIG"
_applied: dict[str, Path] = {}  # the file that each variable came from
_named: dict[str, str] = {}  # DRIFTLINE_CONFIG before a file was read


def apply_file(path: Path, environ: MutableMapping[str, str]) -> None:
    """Set the variables of the file's settings that are not set; raises SettingError."""
    _applied.clear()
    _named.clear()
    if _SWITCH in environ:
        _named[_SWITCH] = environ[_SWITCH]
    for variable, value in read_file(path).items():
        if variable not in environ:
            environ[variable] = value
            _applied[variable] = path
    environ[_SWITCH] = ""


def as_started(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the DRIFTLINE_CONFIG that was set before a file was read."""
    if not _applied:
        return dict(environ)
    return {name: text for name, text in environ.items() if name != _SWITCH} | _named


def file_of(variable: str) -> Path | None:
    """Return the file that the variable's value came from, None if it came from no file."""
    return _applied.get(variable)


def read_file(path: Path) -> dict[str, str]:
    """Return the variables that the file sets; raises SettingError.

    The name is DRIFTLINE_ and the keys that lead to the value: `[service] workers = 4` sets
    DRIFTLINE_SERVICE_WORKERS.
    """
    try:
        content = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise SettingError(f"{path}: {error.strerror}; expected a file of settings") from None
    except ValueError as error:  # no TOML, or no UTF-8
        raise SettingError(f"{path}: {error}") from None
    names = {setting.variable for setting in settings()} - {_SWITCH}
    values: dict[str, str] = {}
    for keys, value in _leaves(content, ()):
        key, variable = ".".join(keys), "_".join(("DRIFTLINE", *keys)).upper()
        if variable not in names:
            raise SettingError(f"{path}: {key}: {_unknown(variable, sorted(names))}")
        if variable in values:
            raise SettingError(f"{path}: {key}: {variable} is set twice")
        values[variable] = _text(value, f"{path}: {key}")
    return values


def _leaves(table: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[tuple[list[str], Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*above, key))
        else:
            yield [*above, key], value


def _unknown(variable: str, names: list[str]) -> str:
    if similar := nearest(variable, names):
        section, _, name = similar.removeprefix("DRIFTLINE_").lower().partition("_")
        return (
            f"unknown; did you mean {name} in [{section}]?"
            if name
            else (f"unknown; did you mean {section}?")
        )
    return "unknown; expected a setting that driftline config lists"


def _text(value: object, where: str) -> str:
    """Return the value as a variable holds it: lists are separated by commas."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    raise SettingError(f"{where}: expected text, a number, true, false or a list of texts")
