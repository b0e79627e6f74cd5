"""Both databases store hostile names and reasons unchanged."""

from pathlib import Path

import msgspec

from monitoring.results import AlarmStep, Result, Score
from monitoring.storage.store import Store
from tests.hostile_names import NAMES
from tests.monitoring.web.conftest import FakeStore, a_delivery, an_alarm, week, written_to


def test_hostile_names_are_read_back_unchanged(where: Path | str) -> None:
    scores = [Score(name="drift", column=name, value=0.5, note=name) for name in NAMES.values()]
    results = [
        Result(model=name or "-", version=name or "-", window=week(0), rows=3, scores=scores)
        for name in NAMES.values()
    ]
    alarms = [
        msgspec.structs.replace(
            an_alarm(), alarm_id=name, model=name, sentence=name, columns=[name],
            steps=[AlarmStep(1, "acknowledged", name, name)],
        )
        for name in NAMES.values()
    ]  # fmt: skip
    outbox = [a_delivery(name or "-", attempts=1, last_error=name) for name in NAMES.values()]
    written_to(where, FakeStore(all_results=results, all_alarms=alarms, outbox=outbox))  # type: ignore[arg-type]
    store = Store(where)
    try:
        assert set(store.monitored_versions()) == {(one.model, one.version) for one in results}
        for result in results:
            assert store.results(result.model, result.version) == [result]
        assert {one.alarm_id: one for one in store.alarms()} == {
            one.alarm_id: one for one in alarms
        }
        errors = {one.webhook_id: one.last_error for one in store.deliveries()}
        assert errors == {one.webhook_id: one.last_error for one in outbox}
    finally:
        store.close()
