"""Candidates of a model with a release policy: no number and no fallback leads to them."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from eventlog.settings import Home
from registry.gates.outcomes import GateReport
from registry.gates.policy import GateFile, set_gates
from registry.gates.reports import record_run
from registry.history.rows import GateVerdict
from registry.history.store import History
from registry.manifest import Version
from registry.store import ModelState, Registry
from service.errors import NotReady
from service.models.loaded_models import LoadedModels
from tests.service.in_process import FakeCatalogue
from tests.service.test_damaged_versions_retried import _loaded
from tests.tiny_model import register_tiny


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
    assert models.resolve("taxi", "2")[0].version.number == "2"
    assert models.resolve("taxi", "")[0].version.number == "1", "nothing was promoted"
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


async def test_gates_of_a_registry_decide_who_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    home = Home(tmp_path / "home")
    registry, history = Registry(home), History(home.registry)
    first = register_tiny(registry, tmp_path / "files")
    second = register_tiny(registry, tmp_path / "files", description="second")
    gates = GateFile({"small": {"kind": "size", "at_most_mb": 1}})
    policy = set_gates(history, "tiny", gates, actor="ann", why="agreed")
    models = LoadedModels(registry, _loaded)
    await models.refresh()
    for asked in ("", "1", "2"):  # neither a number nor the newest version answers
        with pytest.raises(NotReady, match="not released: it was not gated"):
            models.resolve("tiny", asked)
    verdicts: list[tuple[Version, GateVerdict]] = [(first, "passed"), (second, "failed")]
    for version, verdict in verdicts:
        report = GateReport(
            "tiny", version.number, version.digest, policy, verdict, [], None, 1, 2, "ci"
        )  # fmt: skip
        record_run(history, report, "report", "")
    await models.refresh()
    assert models.resolve("tiny", "")[0].version.number == "1"
    assert models.resolve("tiny", "1")[0].version.number == "1"
    with pytest.raises(NotReady, match="version 2 is not released: its gates: failed"):
        models.resolve("tiny", "2")
    models.close()
