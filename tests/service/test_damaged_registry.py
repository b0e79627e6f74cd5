"""Damaged versions and an unreadable registry: served models and readiness."""

import pytest

from service.errors import NotReady
from tests.service.in_process import InProcessWorker


async def test_a_damaged_champion_makes_the_worker_unready_and_other_models_are_served() -> None:
    worker = InProcessWorker()
    worker.catalogue.named["sums"] = {"champion": "2"}
    worker.catalogue.damaged["sums"] = {"2": "stored version 2 is damaged"}
    await worker.models.refresh()
    assert not worker.models.ready
    assert worker.models.resolve("sums", "1")[0].version.number == "1"
    with pytest.raises(NotReady, match="stored version 2 is damaged"):
        worker.models.resolve("sums", "")
    assert list(worker.models.versions("sums")) == ["1", "2"]


async def test_a_model_without_any_readable_version_is_listed_and_not_ready() -> None:
    worker = InProcessWorker()
    worker.catalogue.held["lost"] = []
    worker.catalogue.named["lost"] = {"champion": "10"}
    worker.catalogue.damaged["lost"] = {"10": "its folder is missing", "9": "its folder is missing"}
    await worker.models.refresh()
    assert not worker.models.ready
    assert worker.models.names() == ["lost", "sums"]
    assert list(worker.models.versions("lost")) == ["9", "10"]
    worker.catalogue.put_away["lost"] = {"9", "10"}
    worker.catalogue.moves += 1
    await worker.models.refresh()
    assert worker.models.ready


async def test_an_unreadable_registry_is_not_ready_until_it_can_be_read() -> None:
    worker = InProcessWorker()
    worker.catalogue.unreadable = "registry: locked"
    await worker.models.start()
    assert not worker.models.ready
    worker.catalogue.unreadable = ""
    await worker.models.refresh()
    assert worker.models.ready
    worker.catalogue.unreadable = "registry: locked"
    await worker.models.start()
    assert worker.models.ready  # what is loaded is served
