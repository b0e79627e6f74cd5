"""A worker without a network: real pipeline, models and batcher; fakes at the ports."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import inf
from typing import Any

import numpy as np

from access.browser_guard import BrowserGuard
from eventlog.errors import LogUnavailable
from eventlog.events import Event, FeedbackEvent
from eventlog.log import ShardCounts
from registry.errors import RegistryUnavailable, UnknownModel
from registry.history.lifecycle import DesiredState
from registry.history.rollout_state import Rollout
from registry.limits import LimitChange
from registry.manifest import Feature, Manifest, Prediction, Signature, TensorSpec, Version
from registry.store import ModelState
from registry.worker_reports import WorkerReport
from service.auth.key_limits import KeyLimits, Rates
from service.batching.admission import Admission
from service.batching.batcher import Batcher
from service.batching.policy import BatchPolicy
from service.buffered_bytes import BufferedBytes
from service.call_factory import CallFactory
from service.models.loaded_models import LoadedModels
from service.models.routing import LoadedVersion
from service.pipeline import Pipeline
from service.prediction_log import IdGenerator, PredictionLog
from service.protocol.validation import InputCheck
from service.rest.dependencies import InferenceDependencies
from service.settings import Settings
from tests.access.key_store import Door

MANIFEST = Manifest(
    task="regression",
    held_out=True,
    target="y",
    features=[
        Feature(name="a", kind="numeric", input="x", index=0),
        Feature(name="b", kind="numeric", nullable=True, input="x", index=1),
        Feature(name="word", kind="categorical", nullable=True, input="word"),
    ],
    prediction=Prediction(label="y"),
    signature=Signature(
        inputs=[TensorSpec("x", "FP32", [-1, 2]), TensorSpec("word", "BYTES", [-1])],
        outputs=[TensorSpec("y", "FP32", [-1])],
    ),
)


def version(number: str = "1", model: str = "sums") -> Version:
    return Version(
        model=model, number=number, digest=f"d{number}", created=0, manifest=MANIFEST, path=""
    )


class MemoryLog:
    """An Appender that keeps events in a list and can be made to fail."""

    source, epoch = "here-0", 1

    def __init__(self) -> None:
        self.appends: list[list[Event]] = []
        self.next_sequence = 0
        self._numbers: Counter[str] = Counter()
        self.broken = False
        self.full = False
        self.waits_for_disk = False
        self.unreported: list[Callable[[LogUnavailable | None], None]] = []

    @property
    def events(self) -> list[Any]:
        return [event for append in self.appends for event in append]

    def next_number(self, shard: str) -> int:
        return self._numbers[shard]

    def shards(self) -> set[str]:
        return set(self._numbers)

    def counts(self, shard: str) -> ShardCounts:
        of_shard = [event for event in self.events if event.shard == shard]
        labels = sum(isinstance(event, FeedbackEvent) for event in of_shard)
        return ShardCounts(len(of_shard), len(of_shard) - labels, labels)

    def append(self, events: Sequence[Event]) -> None:
        if self.broken:
            raise LogUnavailable("the disk is full")
        assert [e.sequence for e in events] == [self.next_sequence + i for i in range(len(events))]
        self.appends.append(list(events))
        for event in events:
            assert event.number == self._numbers[event.shard]
            self._numbers[event.shard] += 1
        self.next_sequence += len(events)

    def once_safe(self, reported: Callable[[LogUnavailable | None], None]) -> None:
        self.unreported.append(reported)
        if not self.waits_for_disk:
            self.fsynced()

    def fsynced(self, error: LogUnavailable | None = None) -> None:
        unreported, self.unreported = self.unreported, []
        for reported in unreported:
            reported(error)

    def close(self) -> None:
        """Nothing to release."""


class FakeCatalogue:
    """A registry in memory."""

    def __init__(self, **models: Sequence[str]) -> None:
        self.held = {name: list(numbers) for name, numbers in models.items()}
        self.named = {name: {"champion": numbers[0]} for name, numbers in models.items()}
        self.put_away: dict[str, set[str]] = {}
        self.limits: dict[str, dict[str, LimitChange]] = {}
        self.operated: dict[str, dict[str, int]] = {}
        self.damaged: dict[str, dict[str, str]] = {}
        self.rollouts: dict[str, dict[str, Rollout]] = {}
        self.candidates: dict[str, str] = {}  # of every model
        self.refused: set[str] = set()
        self.unreadable = ""
        self.moves = 1

    def models(self) -> list[str]:
        return sorted(self.held)

    def state(self, model: str) -> ModelState:
        if model not in self.held:
            raise UnknownModel(model)
        versions = [version(number, model) for number in self.held[model]]
        aliases, unloaded = self.named.get(model, {}), self.put_away.get(model, set())
        desired = DesiredState(
            aliases,
            unloaded,
            self.limits.get(model, {}),
            self.candidates,
            self.refused,
            operated=self.operated.get(model, {}),
            rollouts=self.rollouts.get(model, {}),
        )
        return ModelState(versions, desired, self.damaged.get(model, {}))

    def changed(self, since: int) -> set[str]:
        return set(self.held)

    def revision(self) -> int:
        if self.unreadable:
            raise RegistryUnavailable(self.unreadable)
        return self.moves


class Sums:
    """A runner: y = a + b, where NaN counts as 0; `gate` is passed before each run."""

    def __init__(self, gate: Callable[[], object] | None = None) -> None:
        self._gate = gate

    def is_quick(self, _rows: int, _size: int) -> bool:
        return self._gate is None

    def run(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        if self._gate is not None:
            self._gate()
        return {"y": np.nan_to_num(inputs["x"]).sum(axis=1)}


class Gate:
    """Holds every run until it is opened, and counts those that began."""

    def __init__(self) -> None:
        self.runs = 0
        self._opened = threading.Event()

    def __call__(self) -> None:
        self.runs += 1
        self._opened.wait(30)

    def open(self) -> None:
        self._opened.set()


class InProcessWorker:
    """What a service.worker.InProcessWorker gives to the transports."""

    def __init__(
        self,
        gate: Callable[[], object] | None = None,
        count_failure: Callable[[Version, float], None] = lambda _version, _seconds: None,
        report: Callable[[WorkerReport], object] = lambda _: None,
        rates: Rates | None = None,
        **settings: Any,
    ) -> None:
        self.settings = Settings(**settings)
        self.door = Door()
        self.authorizer = self.door.authorizer
        self.appender = MemoryLog()
        self.catalogue = FakeCatalogue(sums=["1"])
        ids = IdGenerator("p")
        self.log = PredictionLog(self.appender, ids)
        self.batchers: list[Batcher[Any, Any]] = []
        self.drops: Counter[str] = Counter()  # requests that left the queue without a run
        self._gate = gate
        self._batch_ids = ids.batch
        self.models = LoadedModels(self.catalogue, self.load, report=report)
        self.pipeline = Pipeline(
            self.models,
            self.log,
            count_failure=count_failure,
            may_try=lambda call: self.authorizer.holds("try", call.authorization, call.model),
        )
        self.call = CallFactory(inf, clock=lambda: 0.0, now=lambda: 1_000)
        self.inference = InferenceDependencies(
            pipeline=self.pipeline,
            authorizer=self.authorizer,
            guard=BrowserGuard(["*"], "HOSTS"),
            new_call=self.call,
            max_body_bytes=self.settings.max_body_bytes,
            buffered=BufferedBytes(self.settings.max_buffered_bytes),
            limits=KeyLimits(rates),
            keep_alive_s=self.settings.keep_alive_s,
        )

    def load(self, found: Version) -> LoadedVersion:
        """Load a version as the service does; a subclass may put more around its queue."""
        return LoadedVersion(
            found, InputCheck(found.manifest, 100), self.batcher(self.log.append_responses)
        )

    def batcher(self, finish: Callable[[Any], Sequence[Any]]) -> Batcher[Any, Any]:
        batcher: Batcher[Any, Any] = Batcher(
            runner=Sums(self._gate),
            finish=finish,
            limits=BatchPolicy(8),
            admissions=[Admission("sums", 4, 1 << 20)],
            executor=ThreadPoolExecutor(1),
            batch_ids=self._batch_ids,
            count_drop=lambda reason: self.drops.update([reason]),
        )
        self.batchers.append(batcher)
        return batcher
