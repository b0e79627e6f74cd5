"""Candidates of a model with a release policy: no number and no fallback leads to them."""

import pytest
from msgspec.structs import replace

from registry.store import ModelState
from service.errors import NotReady
from service.models.loaded_models import LoadedModels
from tests.service.in_process import FakeCatalogue
from tests.service.test_damaged_versions_retried import _loaded


class Catalogue(FakeCatalogue):
    """With versions that the release policy does not allow."""

    candidates: dict[str, str] = {}

    def state(self, model: str) -> ModelState:
        state = super().state(model)
        return replace(state, desired=replace(state.desired, candidates=self.candidates))


async def test_candidates_answer_nobody_until_they_are_allowed() -> None:
    catalogue = Catalogue(taxi=["1", "2"])
    catalogue.candidates = {"2": "it has 0 of 1 approvals for champion"}
    models = LoadedModels(catalogue, _loaded)
    await models.refresh()
    assert models.ready
    assert models.resolve("taxi", "")[0].version.number == "1"
    with pytest.raises(NotReady, match="version 2 is not released: it has 0 of 1 approvals"):
        models.resolve("taxi", "2")
    catalogue.named["taxi"] = {"challenger": "2"}
    catalogue.moves += 1
    await models.refresh()
    assert models.resolve("taxi", "challenger")[0].version.number == "2"
    catalogue.candidates = {}
    catalogue.moves += 1
    await models.refresh()
    assert models.resolve("taxi", "")[0].version.number == "2"
    models.close()


async def test_a_model_of_candidates_alone_is_no_reason_to_be_not_ready() -> None:
    catalogue = Catalogue(taxi=["1"], bus=["1"])
    models = LoadedModels(catalogue, _loaded)
    catalogue.candidates = {"1": "its gates: failed"}
    await models.refresh()
    assert models.ready
    with pytest.raises(NotReady, match="version 1 is not released: its gates: failed"):
        models.resolve("taxi", "")
    models.close()
