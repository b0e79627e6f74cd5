"""A version with missing files is loaded once the files are restored."""

import pytest

from registry.manifest import Version
from service.errors import NotReady
from service.models.loaded_models import LoadedModels
from service.models.routing import LoadedVersion
from service.protocol.validation import InputCheck
from tests.service.in_process import MANIFEST, FakeCatalogue


class _NoQueue:
    async def submit(self, *_: object) -> object:
        raise AssertionError


def loaded_models(version: Version) -> LoadedVersion:
    return LoadedVersion(version, InputCheck(MANIFEST, 1), _NoQueue())  # type: ignore[arg-type]


async def test_restored_files_are_loaded() -> None:
    catalogue = FakeCatalogue(taxi=["1"])
    catalogue.damaged["taxi"] = {"2": "version 2 was not fetched yet"}
    now = [100.0]
    models = LoadedModels(catalogue, loaded_models, clock=lambda: now[0])
    await models.refresh()
    with pytest.raises(NotReady, match="not fetched yet"):
        models.resolve("taxi", "2")
    catalogue.held["taxi"], catalogue.damaged = ["1", "2"], {}
    await models.refresh()  # read again too recently
    now[0] += 11
    await models.refresh()
    assert models.resolve("taxi", "2")[0].version.number == "2"
    models.close()
