"""Versions that kill workers are quarantined, and other versions are served."""

from pathlib import Path

import pytest

from service.crashes.quarantine import Quarantine, RecordedDeath, only_common_suspect
from service.crashes.recovery import Death
from service.errors import NotReady
from service.models.loaded_models import LoadedModels
from tests.service.in_process import FakeCatalogue, InProcessWorker

A, B, C = ("a", "1"), ("b", "1"), ("c", "1")


@pytest.mark.parametrize(
    ("deaths", "guilty"),
    [
        ([], None),
        ([(0, [A])], None),
        ([(0, [A]), (59, [A])], A),
        ([(0, [A]), (61, [A])], None),
        ([(0, [A]), (10, [B])], None),
        ([(0, [A, B]), (10, [B, C])], B),
        ([(0, [A, B]), (10, [A, B])], None),  # which of them is not known
        ([(0, [A, B]), (10, [A, B]), (20, [B])], B),
        ([(0, [A]), (10, [])], None),
    ],
)
def test_the_only_common_suspect_of_two_deaths_within_a_minute_is_quarantined(
    deaths: list[tuple[float, list[tuple[str, str]]]], guilty: tuple[str, str] | None
) -> None:
    recorded = [RecordedDeath(time, suspects) for time, suspects in deaths]
    assert only_common_suspect(recorded, max((time for time, _ in deaths), default=0)) == guilty


def test_every_worker_of_a_home_sees_the_quarantine_until_a_later_operation(tmp_path: Path) -> None:
    first, second = Quarantine(tmp_path), Quarantine(tmp_path)
    for now in (100.0, 130.0):
        first.add(Death("Floating-point exception", [A]), now, revision=5)
    assert second.refresh() == {"a"}
    assert second.refresh() == set()
    assert "killed its worker twice within a minute (Floating-point exception)" in second.reason(
        *A, operated=5
    )
    assert not second.reason(*A, operated=6)
    assert not second.reason("a", "2", operated=0)
    assert not Quarantine(tmp_path / "another").reason(*A, operated=0)


def test_a_damaged_file_quarantines_nothing(tmp_path: Path) -> None:
    (tmp_path / "quarantine.json").write_text("{")
    assert not Quarantine(tmp_path).reason(*A, operated=0)


async def test_a_quarantined_version_stops_at_once_and_other_versions_serve(
    tmp_path: Path,
) -> None:
    catalogue = FakeCatalogue(bad=["1"], good=["1"])
    quarantine = Quarantine(tmp_path)
    models = LoadedModels(catalogue, InProcessWorker().load, quarantine=quarantine)
    await models.refresh()
    models.resolve("bad", "")
    for now in (1.0, 2.0):
        Quarantine(tmp_path).add(Death("Aborted", [("bad", "1")]), now, revision=1)
    await models.poll()
    for selector in ("", "champion", "1"):
        with pytest.raises(NotReady, match="it killed its worker twice within a minute"):
            models.resolve("bad", selector)
    models.resolve("good", "")
    assert models.ready

    catalogue.operated = {"bad": {"1": 9}}
    catalogue.moves += 1
    await models.refresh()
    models.resolve("bad", "champion")
    models.close()
