"""Find misspelt variables: names that look like a setting but are not one."""

import difflib
import os
import re
from collections.abc import Mapping

from driftline.setting_catalogue import PARTS, settings
from eventlog.errors import SettingError

_PREFIX = "DRIFTLINE_"
_INTERNAL = {"DRIFTLINE_PARENT_PID"}  # set by Driftline's processes for their children
_SIMILAR = 0.8  # minimum ratio of difflib, without the prefix DRIFTLINE_
_PREFIXES = tuple({part.prefix for part in PARTS} - {_PREFIX} | {"DRIFTLINE_REGISTRY_"})
# Variables that Kubernetes sets for each Service of the namespace, named after the Service.
_SERVICE_LINK = re.compile(
    r"\w+_SERVICE_(HOST|PORT(_\w+)?)=.*|\w+_PORT(_\d+_(TCP|UDP|SCTP)\w*=.*|=(tcp|udp|sctp)://.*)"
)


def require_known(environ: Mapping[str, str] = os.environ) -> None:
    """Raise SettingError with all misspelt variables if there are any."""
    if faults := misspelt(environ):
        raise SettingError("; ".join(faults))


def misspelt(environ: Mapping[str, str]) -> list[str]:
    """Return a sentence for each variable that looks like a setting but is not one.

    A variable looks like a setting if it has the prefix of an installed part, or if its name
    resembles a setting's name. Other variables, such as a deployment's DRIFTLINE_IMAGE, are
    allowed.
    """
    setting_names = [setting.variable for setting in settings()]
    absent = tuple(part.prefix for part in PARTS if part.kind() is None)
    names = sorted(
        name
        for name in environ.keys() - {*setting_names} - _INTERNAL
        if name.startswith(_PREFIX)
        and not (absent and name.startswith(absent))
        and not _SERVICE_LINK.fullmatch(f"{name}={environ[name]}")
    )
    return [text for name in names if (text := _sentence(name, setting_names))]


def nearest(name: str, names: list[str]) -> str:
    """Return the name in `names` that is most similar to `name`, or "" if none is similar."""
    short = {full_name.removeprefix(_PREFIX): full_name for full_name in names}
    similar = difflib.get_close_matches(name.removeprefix(_PREFIX), short, n=1, cutoff=_SIMILAR)
    return short[similar[0]] if similar else ""


def _sentence(name: str, names: list[str]) -> str:
    if similar := nearest(name, names):
        return f"{name}: unknown; did you mean {similar}?"
    if name.startswith(_PREFIXES):
        return f"{name}: unknown; expected a setting that driftline config lists"
    return ""
