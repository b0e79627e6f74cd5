"""A flood of one model does not starve another model of the worker."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from service.batching.admission import Admission
from service.batching.batcher import Batcher
from service.batching.job import Job, RunResult
from service.batching.merge import Arrays
from service.batching.policy import BatchPolicy

_BATCH = 4
_FLOOD = 400  # requests, a hundred batches


class _Model:
    """A queue whose runs are noted in a diary that all models run."""

    def __init__(self, name: str, diary: list[str], *, quick: bool) -> None:
        self._name = name
        self._diary = diary
        self._quick = quick
        self.batcher: Batcher[int, int] = Batcher(
            runner=self,
            finish=self._finish,
            limits=BatchPolicy(_BATCH),
            admissions=[Admission(name, _FLOOD, 1 << 20)],
            executor=ThreadPoolExecutor(1),
            batch_ids=lambda: name,
        )

    def is_quick(self, _rows: int, _size: int) -> bool:
        return self._quick

    def run(self, inputs: Arrays) -> dict[str, Any]:
        self._diary.append(self._name)
        return {"y": inputs["x"]}

    def _finish(self, batch: Sequence[tuple[int, RunResult]]) -> list[int]:
        return [ticket for ticket, _ in batch]

    def ask(self, number: int = 0) -> "asyncio.Future[Any]":
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        job: Job[int, int] = Job(
            number,
            {"x": np.zeros(1)},
            rows=1,
            size=8,
            deadline=float("inf"),
            reply=answer.set_result,
        )
        self.batcher.submit(job)
        return answer


@pytest.mark.parametrize("flood_is_quick", [True, False])
async def test_a_flooded_model_does_not_starve_other_models(flood_is_quick: bool) -> None:
    diary: list[str] = []
    flooded, other = (
        _Model("flooded", diary, quick=flood_is_quick),
        _Model("other", diary, quick=True),
    )
    flood = [flooded.ask(number) for number in range(_FLOOD)]
    for _ in range(3):
        before = len(diary)
        await other.ask()
        # Between the question and its run each model's queue has had one turn, or two.
        assert diary[before:].count("flooded") <= 2 or not flood_is_quick
        assert not flood[-1].done()
    await asyncio.gather(*flood)
    assert diary.count("other") == 3
    assert diary.count("flooded") == _FLOOD / _BATCH


async def test_two_flooded_models_take_turns() -> None:
    diary: list[str] = []
    models = [_Model(name, diary, quick=True) for name in ("one", "two")]
    await asyncio.gather(*(model.ask() for model in models for _ in range(_FLOOD)))
    assert diary == ["one", "two"] * (_FLOOD // _BATCH)
