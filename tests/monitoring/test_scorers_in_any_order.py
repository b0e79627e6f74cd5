"""Results do not depend on which of several scoring processes finishes first."""

import random
from pathlib import Path

import pytest
from msgspec.structs import replace

from monitoring.score_jobs import ScoreJob, ScoreReply
from registry.manifest import Version
from tests.monitoring.log_in_memory import (
    VERSION,
    FakeScorer,
    Log,
    Monitor,
    eight_hours,
    everything,
)

pytestmark = pytest.mark.untraced

MODELS = ("tiny", "small", "wee")


class ManyScorers(FakeScorer):
    """Returns each model's replies in order, and the models in random order."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__()
        self._chance = chance
        self._lanes: dict[str, list[ScoreReply]] = {}

    def submit(self, job: ScoreJob) -> None:
        super().submit(job)
        self._lanes.setdefault(job.model, []).extend(super().replies())

    def replies(self) -> list[ScoreReply]:
        lanes = [lane for lane in self._lanes.values() if lane]
        if not lanes or self._chance.random() < 0.3:
            return []
        return [self._chance.choice(lanes).pop(0) for _ in range(1)]

    @property
    def waiting(self) -> int:
        return sum(map(len, self._lanes.values()))


def _find(model: str, number: str) -> Version:
    return replace(VERSION, model=model, number=number)


def _log() -> Log:
    """Return a log of three models with the same requests."""
    log = Log()
    for record in eight_hours().records:
        event = record.event
        for model in MODELS:
            name = f"{model}-{getattr(event, 'prediction_id', '')}"
            changes = {"sequence": len(log.records), "prediction_id": name, "model": model}
            known = {k: v for k, v in changes.items() if k in event.__struct_fields__}  # type: ignore[union-attr]
            changed = replace(event, **known)  # type: ignore[arg-type, type-var]
            log.records.append(replace(record, event=changed, sequence=len(log.records)))
    return log


def test_database_does_not_depend_on_which_process_finishes_first(tmp_path: Path) -> None:
    log = _log()
    found = []
    for name, scorer in (("one", FakeScorer()), ("many", ManyScorers(random.Random(1)))):
        monitor = Monitor(tmp_path / name, log.records, scorer=scorer, find=_find)
        monitor.drain(200)
        monitor.database.close()
        found.append(everything(tmp_path / name))
    assert len(found[0]["alarms"]) >= len(MODELS)
    assert found[0] == found[1]
