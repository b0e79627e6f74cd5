"""The service starts only with tested versions of its server libraries."""

import re
import tomllib
from pathlib import Path

import pytest

from eventlog.errors import SettingError
from service.dependency_versions import TESTED, check_versions


def test_the_installed_versions_are_tested() -> None:
    check_versions()


@pytest.mark.parametrize("release", ["0.55.0", "0.5", "0.540.0", "1.0"])
def test_another_release_is_refused_by_name(release: str) -> None:
    found = {**TESTED, "uvicorn": release}
    expected = re.escape(f"uvicorn {release} is installed; expected uvicorn 0.54")
    with pytest.raises(SettingError, match=expected):
        check_versions(found.__getitem__)


def test_a_patch_of_a_tested_release_is_accepted() -> None:
    check_versions(lambda name: f"{TESTED[name]}.1")


def test_the_project_bounds_every_checked_library() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    stated = [*project["dependencies"], *(one for extra in extras for one in extra)]
    for name in TESTED:
        bounds = [one for one in stated if re.match(rf"{name}\b", one)]
        assert bounds
        assert all("<" in one or "==" in one for one in bounds)
