"""Check the installed versions of libraries whose internals the service relies on.

service/rest subclasses uvicorn's HTTP protocol and BentoML's service. service/grpc counts zttp's
frames. These interfaces are not public, so any release can change them.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import version

from eventlog.errors import SettingError

TESTED: Mapping[str, str] = {"uvicorn": "0.54", "bentoml": "1.4", "zttp": "0.0.35"}


def check_versions(installed: Callable[[str], str] = version) -> None:
    """Raise SettingError if the service was not tested with the installed version of a library."""
    for name, tested in TESTED.items():
        release = installed(name)
        if f"{release}.".startswith(f"{tested}."):
            continue
        tested_releases = ", ".join(f"{library} {release}" for library, release in TESTED.items())
        raise SettingError(
            f"{name} {release} is installed; expected {name} {tested}: the service relies on its "
            f"internals and was tested with {tested_releases}. Install from "
            "requirements/service.lock"
        )
