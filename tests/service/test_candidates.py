"""Candidates of a model with a release policy are reached only with the scope `try`."""

from pathlib import Path

import pytest

from eventlog.settings import Home
from registry.errors import NoChampion
from registry.gates.outcomes import GateReport
from registry.gates.policy import GateFile, set_gates
from registry.gates.reports import record_run
from registry.history.rows import GateVerdict
from registry.history.store import History
from registry.manifest import Version
from registry.store import Registry
from service.errors import NotReady
from service.models.loaded_models import LoadedModels
from service.protocol import json
from tests.service.in_process import FakeCatalogue, InProcessWorker
from tests.service.test_damaged_versions_retried import loaded_models
from tests.service.test_pipeline import BODY
from tests.tiny_model import register_tiny


async def test_candidates_are_not_served_until_they_are_allowed() -> None:
    catalogue = FakeCatalogue(taxi=["1", "2"])
    catalogue.candidates = {"2": "it has 0 of 1 approvals for champion"}
    models = LoadedModels(catalogue, loaded_models)
    await models.refresh()
    assert models.ready
    assert models.resolve("taxi", "")[0].version.number == "1"
    with pytest.raises(NotReady, match="version 2 is not released: it has 0 of 1 approvals"):
        models.resolve("taxi", "2")
    catalogue.named["taxi"]["challenger"] = "2"
    catalogue.moves += 1
    await models.refresh()
    assert models.resolve("taxi", "challenger")[0].version.number == "2"
    catalogue.candidates = {}
    catalogue.moves += 1
    await models.refresh()
    assert models.resolve("taxi", "2")[0].version.number == "2"
    assert models.resolve("taxi", "")[0].version.number == "1", "nothing was promoted"
    models.close()


async def test_a_model_with_only_candidates_does_not_make_the_service_unready() -> None:
    catalogue = FakeCatalogue(taxi=["1"], bus=["1"])
    catalogue.named = {}
    models = LoadedModels(catalogue, loaded_models)
    catalogue.candidates = {"1": "its gates: failed"}
    await models.refresh()
    assert models.ready
    with pytest.raises(NotReady, match="version 1 is not released: its gates: failed"):
        models.resolve("taxi", "1")
    with pytest.raises(NoChampion, match="'taxi' has no champion"):
        models.resolve("taxi", "")
    models.close()


async def test_registry_gates_decide_which_version_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    home = Home(tmp_path / "home")
    registry, history = Registry(home), History(home.registry)
    first = register_tiny(registry, tmp_path / "files")
    second = register_tiny(registry, tmp_path / "files", description="second")
    gates = GateFile({"small": {"kind": "size", "at_most_mb": 1}})
    policy = set_gates(history, "tiny", gates, actor="ann", why="agreed")
    models = LoadedModels(registry, loaded_models)
    await models.refresh()
    for asked in ("1", "2"):
        with pytest.raises(NotReady, match="not released: it was not gated"):
            models.resolve("tiny", asked)
    verdicts: list[tuple[Version, GateVerdict]] = [(first, "passed"), (second, "failed")]
    for version, verdict in verdicts:
        report = GateReport(
            "tiny", version.number, version.digest, policy, verdict, [], None, 1, 2, "ci"
        )  # fmt: skip
        record_run(history, report, "report", "")
    await models.refresh()
    with pytest.raises(NoChampion):  # a version that passed is not promoted by that
        models.resolve("tiny", "")
    assert models.resolve("tiny", "1")[0].version.number == "1"
    with pytest.raises(NotReady, match="version 2 is not released: its gates: failed"):
        models.resolve("tiny", "2")
    models.close()


class Trial:
    """Champion 1 of `sums`, candidate 2, and callers with keys."""

    def __init__(self) -> None:
        self.worker = InProcessWorker()
        self.worker.catalogue.held["sums"] = ["1", "2"]
        self.worker.catalogue.named["sums"] = {"champion": "1"}
        self.worker.catalogue.candidates = {"2": "its gates: failed"}

    def key(self, *scopes: str) -> bytes:
        header = self.worker.door.keys.add(*scopes, name=f"n{self.worker.door.keys.reads}")
        self.worker.door.later()
        return header

    async def ask(self, key: bytes | None, selector: str = "2") -> str:
        """Return the number of the version that answers."""
        if key is not None:
            self.worker.authorizer.admit("predict", key, "sums")
        call = self.worker.call("rest", "sums", selector)
        call.authorization = key
        reply = await self.worker.pipeline.infer(call, lambda _: json.decode_request(BODY))
        return reply.version.number


@pytest.fixture
async def trial() -> Trial:
    trial = Trial()
    await trial.worker.models.refresh()
    return trial


@pytest.mark.parametrize("scope", ["try", "try:sums"])
async def test_the_scope_try_reaches_a_candidate_only_by_its_number(
    trial: Trial, scope: str
) -> None:
    key = trial.key("predict", scope)
    assert await trial.ask(key) == "2"
    assert await trial.ask(key, "") == "1"
    assert [event.version for event in trial.worker.appender.events] == ["2", "1"]


@pytest.mark.parametrize("scopes", [["predict"], ["predict", "try:other"], ["predict", "admin"]])
async def test_no_other_key_reaches_a_candidate(trial: Trial, scopes: list[str]) -> None:
    with pytest.raises(NotReady, match=r"version 2 is not released.*keys with the scope try"):
        await trial.ask(trial.key(*scopes))


async def test_without_keys_a_candidate_is_not_served(trial: Trial) -> None:
    assert trial.worker.authorizer.is_open
    with pytest.raises(NotReady, match="version 2 is not released"):
        await trial.ask(None)


async def test_barred_and_rejected_content_cannot_be_tried(trial: Trial) -> None:
    trial.worker.catalogue.refused = {"2"}
    trial.worker.catalogue.moves += 1
    await trial.worker.models.refresh()
    with pytest.raises(NotReady, match="version 2 is not released"):
        await trial.ask(trial.key("predict", "try"))


async def test_candidates_do_not_break_the_statistics_of_all_models(trial: Trial) -> None:
    assert [one.number for one in trial.worker.models.select()] == ["1", "2"]
