"""A service of selected models neither loads nor reads other models."""

import pytest

from registry.errors import UnknownModel
from registry.store import ModelState
from service.models.loaded_models import LoadedModels
from service.models.selection import SelectedModels
from tests.service.in_process import FakeCatalogue
from tests.service.test_damaged_versions_retried import loaded_models


class Catalogue(FakeCatalogue):
    """One that notes what is read."""

    read: list[str] = []

    def state(self, model: str) -> ModelState:
        self.read.append(model)
        return super().state(model)


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ("", ["bus", "taxi", "taxi2"]),
        ("taxi*", ["taxi", "taxi2"]),
        (" bus , taxi ", ["bus", "taxi"]),
    ],
)
async def test_only_selected_models_are_read_and_served(
    patterns: str, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = Catalogue(taxi=["1"], taxi2=["1"], bus=["1"])
    monkeypatch.setattr(catalogue, "read", [])
    models = LoadedModels(SelectedModels(catalogue, patterns), loaded_models)
    await models.refresh()
    catalogue.moves += 1
    await models.refresh()
    assert models.names() == expected
    assert set(catalogue.read) == set(expected)
    for model in {"bus", "taxi", "taxi2"} - set(expected):
        with pytest.raises(UnknownModel):
            models.resolve(model, "")
    models.close()
