"""Rollouts: the version that answers a request, and the arm in reply and event."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eventlog.events import PredictionEvent
from registry.history.rollout_state import Rollout, hash_key, position
from registry.history.store import History
from registry.manifest import Feature, Manifest
from registry.rollouts import Rollouts
from registry.store import ModelState
from service.arms import choose_arm
from service.call import Call
from service.errors import InvalidRequest, NotReady
from service.protocol import json
from service.protocol.messages import InferRequest
from service.protocol.routing_key import ROUTING_KEY, read_key
from service.protocol.validation import Inputs
from service.rest.head import read_head
from tests.service.in_process import Gate, InProcessWorker, version
from tests.service.test_pipeline import BODY

ID = "0123456789abcdef"


def rollout(share: float, **changes: Any) -> Rollout:
    fields = {"steps": [share], "phase": "running", "feature": ""} | changes
    return Rollout(
        ID, "champion", "2", "1", bake_s=60, step=0, since=0, started=0, actor="ann", **fields
    )


class Bench:
    """Versions 1 (champion) and 2 of `sums`, and the events of what they answered."""

    def __init__(self, share: float, gate: Gate | None = None, **changes: Any) -> None:
        self.worker = InProcessWorker(gate=gate)
        self.worker.catalogue.held["sums"] = ["1", "2"]
        self.worker.catalogue.named["sums"] = {"champion": "1"}
        self.worker.catalogue.rollouts["sums"] = {"champion": rollout(share, **changes)}

    async def ask(self, key: str = "", selector: str = "", body: bytes = BODY) -> Any:
        call = self.worker.call("rest", "sums", selector, routing_key=key)
        return await self.worker.pipeline.infer(call, lambda _: json.decode_request(body))

    @property
    def events(self) -> list[PredictionEvent]:
        return [e for e in self.worker.appender.events if isinstance(e, PredictionEvent)]


async def ready(share: float, gate: Gate | None = None, **changes: Any) -> Bench:
    bench = Bench(share, gate, **changes)
    await bench.worker.models.refresh()
    return bench


async def test_the_keys_hash_chooses_the_arm_and_reply_and_event_name_it() -> None:
    bench = await ready(0.5)
    for n in range(40):
        key = f"user-{n}"
        answer = await bench.ask(key)
        event = bench.events[-1]
        arm = "rollout" if position(hash_key(key, ID)) < 0.5 else "before"
        assert answer.parameters()["arm"] == event.arm == arm
        assert answer.parameters()["rollout"] == event.rollout == ID
        assert (event.version, event.alias) == ("2" if arm == "rollout" else "1", "champion")
        assert event.routing_key == hash_key(key, ID)
    assert {event.arm for event in bench.events} == {"rollout", "before"}


async def test_the_parameter_precedes_the_header_and_both_precede_the_request_id() -> None:
    bench = await ready(0.5)
    stated = BODY.replace(b'"parameters": {}', b'"parameters": {"routing_key": "p"}')
    number = BODY.replace(b'"parameters": {}', b'"parameters": {"routing_key": 17}')
    await bench.ask("h", body=stated)
    await bench.ask("h", body=number)
    await bench.ask("h")
    await bench.ask()
    await bench.ask(body=BODY.replace(b'"id": "mine", ', b""))
    keys = [event.routing_key for event in bench.events]
    last = bench.events[-1].prediction_id
    assert keys == [hash_key(key, ID) for key in ("p", "17", "h", "mine", last)]


async def test_an_empty_parameter_states_no_key() -> None:
    bench = await ready(0.5)
    body = BODY.replace(b'"parameters": {}', b'"parameters": {"routing_key": ""}')
    await bench.ask("h", body=body)
    assert bench.events[-1].routing_key == hash_key("h", ID)


def test_a_header_states_the_key_of_the_parameter_with_the_same_text() -> None:
    head = read_head("m", "", [(ROUTING_KEY, "Zoë".encode())], keep_alive=True)
    assert head.routing_key == "Zoë"
    assert read_key(b"Zo\xeb") == "Zoë"


async def test_a_missing_number_is_not_a_routing_key() -> None:
    bench = await ready(0.5, feature="b")
    await bench.ask()
    await bench.ask(body=BODY.replace(b'"data": [1, 2]', b'"data": [1, null]'))
    keys = [event.routing_key for event in bench.events]
    assert keys == [hash_key(key, ID) for key in ("2.0", "mine")]


def test_a_feature_missing_in_the_request_is_not_a_routing_key() -> None:
    call = Call(
        protocol="rest", model="m", selector="", received=0, started=0.0, deadline=1.0,
        prediction_id="p",
    )  # fmt: skip
    features = [Feature(name="last", kind="numeric", input="x", index=3)]
    manifest = Manifest(features=features)
    request = InferRequest("mine", [], [], {})
    for arrays in ({}, {"x": np.zeros((1, 2))}):
        inputs = Inputs(arrays, {}, 1, 0)
        arm = choose_arm(call, request, inputs, manifest, rollout(0.5, feature="last"))
        assert arm.key == hash_key("mine", ID)


async def test_the_rollouts_feature_provides_the_routing_key() -> None:
    bench = await ready(0.5, feature="word")
    await bench.ask()
    await bench.ask(body=BODY.replace(b'["a"]', b'["b"]'))
    await bench.ask("stated")
    keys = [event.routing_key for event in bench.events]
    assert keys == [hash_key(key, ID) for key in ("a", "b", "stated")]


@pytest.mark.parametrize("stated", [b"true", b"1.5", b'"%b"' % (b"x" * 257), b"null"])
async def test_an_invalid_routing_key_is_refused(stated: bytes) -> None:
    bench = await ready(0.5)
    body = BODY.replace(b'"parameters": {}', b'"parameters": {"routing_key": %b}' % stated)
    with pytest.raises(InvalidRequest, match="routing_key: expected text of at most 256"):
        await bench.ask(body=body)


async def test_version_numbers_and_other_aliases_are_not_part_of_the_rollout() -> None:
    bench = await ready(1.0)
    bench.worker.catalogue.named["sums"]["stable"] = "1"
    bench.worker.catalogue.moves += 1
    await bench.worker.models.refresh()
    for selector in ("1", "stable"):
        answer = await bench.ask("k", selector)
        assert (answer.version.number, answer.arm) == ("1", None)
    assert {event.rollout for event in bench.events} == {""}
    for selector in ("", "champion"):
        assert (await bench.ask("k", selector)).version.number == "2"


async def test_the_previous_version_answers_until_the_new_version_is_loaded() -> None:
    bench = Bench(1.0)
    bench.worker.catalogue.put_away["sums"] = {"2"}
    await bench.worker.models.refresh()
    answer = await bench.ask("k")
    assert (answer.version.number, answer.arm.name) == ("1", "rollout")
    assert (bench.events[-1].version, bench.events[-1].arm) == ("1", "rollout")


async def test_the_previous_version_answers_while_the_new_versions_queue_is_full() -> None:
    gate = Gate()
    bench = await ready(1.0, gate)
    asked = [asyncio.create_task(bench.ask(f"k{n}")) for n in range(8)]
    while gate.runs < 2:
        await asyncio.sleep(0)
    gate.open()
    answers = await asyncio.gather(*asked)
    numbers = [answer.version.number for answer in answers]
    assert set(numbers) == {"1", "2"}
    assert {answer.arm.name for answer in answers} == {"rollout"}
    assert sorted(numbers) == sorted(event.version for event in bench.events)


async def test_an_ended_rollout_leaves_no_trace() -> None:
    bench = await ready(1.0)
    bench.worker.catalogue.rollouts.clear()
    bench.worker.catalogue.moves += 1
    await bench.worker.models.refresh()
    answer = await bench.ask("k")
    assert (answer.version.number, answer.arm) == ("1", None)
    assert "arm" not in answer.parameters()


async def test_after_a_rollback_only_the_previous_version_answers_the_alias(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history, numbers = History(tmp_path / "registry.db"), ["1", "2", "3"]
    for number in numbers:
        history.register("sums", number, time=0, actor="ann", digest=f"d{number}")
    history.promote("sums", "champion", "1", time=0, actor="ann")
    rollouts, bench = Rollouts(history), Bench(0.5)

    def state(model: str) -> ModelState:
        return ModelState([version(n) for n in numbers], history.desired_state(model, numbers))

    async def answered() -> set[str]:
        bench.worker.catalogue.moves += 1
        await bench.worker.models.refresh()
        return {(await bench.ask(f"user-{n}")).version.number for n in range(40)}

    monkeypatch.setattr(bench.worker.catalogue, "state", state)
    rollouts.start("sums", "2", "champion", [0.5], bake_s=60, actor="ann")
    assert await answered() == {"1", "2"}
    rollouts.abort("sums", "champion", actor="monitor", why="errors", bar=True)
    assert await answered() == {"1"}
    rollouts.start("sums", "3", "champion", [0.5], bake_s=60, actor="ann")
    assert await answered() == {"1", "3"}
    with pytest.raises(NotReady, match="barred"):
        await bench.ask(selector="2")


async def test_an_invalid_request_is_not_a_failure_of_an_arm() -> None:
    bench = await ready(1.0)
    with pytest.raises(InvalidRequest):
        await bench.ask(body=b"{")
    (event,) = bench.events
    assert (event.outcome, event.version, event.arm) == ("invalid", "1", "")
