"""The settings file, `driftline.toml`: its values become environment variables, unless these exist.

Child processes inherit the variables, so they do not read the file.
"""

import tomllib
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from driftline.setting_catalogue import settings
from driftline.setting_names import nearest
from eventlog.errors import SettingError

_SWITCH = "DRIFTLINE_CONFIG"
_applied: dict[str, Path] = {}  # file that set each variable
_original: dict[str, str] = {}  # DRIFTLINE_CONFIG before a file was read, if it was set


def apply_file(path: Path, environ: MutableMapping[str, str]) -> None:
    """Set the unset variables of the file's settings; raises SettingError."""
    _applied.clear()
    _original.clear()
    if _SWITCH in environ:
        _original[_SWITCH] = environ[_SWITCH]
    for variable, value in read_file(path).items():
        if variable not in environ:
            environ[variable] = value
            _applied[variable] = path
    environ[_SWITCH] = ""  # child processes read no file


def as_started(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the original DRIFTLINE_CONFIG."""
    if not _applied:
        return dict(environ)
    return {name: text for name, text in environ.items() if name != _SWITCH} | _original


def file_of(variable: str) -> Path | None:
    """Return the file that set the variable, or None if no file did."""
    return _applied.get(variable)


def read_file(path: Path) -> dict[str, str]:
    """Return the variables that the file sets; raises SettingError.

    A variable's name is DRIFTLINE_ followed by the keys of the value: `[service] workers = 4`
    sets DRIFTLINE_SERVICE_WORKERS.
    """
    try:
        content = tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise SettingError(f"{path}: {error.strerror}; expected a settings file") from None
    except ValueError as error:  # invalid TOML or UTF-8
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


def _text(value: object, place: str) -> str:
    """Return a value as the text of a variable; lists are joined with commas."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ",".join(value)
    raise SettingError(f"{place}: expected text, a number, true, false or a list of texts")
