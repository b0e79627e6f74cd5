"""Load a registered version: open its session, warm it up, create its queue."""

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import msgspec
import numpy as np

from eventlog.byte_size import parse_size
from registry.batching import one_by_one, read_verdict, verdict_of
from registry.encoded_files import Files, file_inputs
from registry.feature_tensors import to_tensors
from registry.features import signature
from registry.manifest import SessionOptions, Version
from registry.reference import bare_inputs, first_rows
from registry.reference_path import has_reference
from registry.signature import fixed_rows
from registry.stored_files import require_unchanged
from service.batching.batcher import Batcher, RunsInFlight, UnrecordedRuns
from service.batching.merge import Array, Arrays
from service.batching.queue_limits import admissions_of, batch_policy_of
from service.call import Call, InferenceResponse
from service.completion import Completion
from service.crashes.run_record import RunRecord, VersionRuns
from service.models.prediction_shapes import PredictionShapes
from service.models.routing import LoadedVersion
from service.models.tunable_version import Caches, TunableVersion
from service.models.warmup import (
    UNKNOWN_COST,
    RunCost,
    measure,
    measure_generated,
)
from service.prediction_log import IdGenerator, PredictionLog
from service.protocol.validation import InputCheck
from service.sessions.child import ChildConfig
from service.sessions.isolated import IsolatedSession
from service.sessions.providers import only_cpu
from service.sessions.session import Session
from service.sessions.value_dependence import depends_on_values
from service.settings import Settings, payload_key
from service.telemetry.metrics import count_restart
from service.telemetry.statistics import Statistics

OpenSession = Session | IsolatedSession

_WARM_UP_ROWS = 64  # maximum number of reference rows in a measured run

_logger = logging.getLogger(__name__)


class SessionRunner:
    """A session and the cost of its runs, measured at warm-up; implements `Runner`."""

    def __init__(self, session: OpenSession, cost: RunCost, quick: float) -> None:
        """A run is quick if its expected duration is at most `quick` seconds."""
        self._session = session
        self._cost = cost
        self._quick = quick

    def is_quick(self, rows: int, size: int) -> bool:
        """Return whether a run of `rows` rows and `size` bytes should stay in the event loop."""
        return self._cost.of(rows, size) <= self._quick

    def run(self, inputs: Arrays) -> dict[str, Array]:
        """Compute all outputs by name; raises ServingError."""
        return self._session.run(inputs)


class VersionLoader:
    """A function that loads versions; each version gets its own queue, admission and thread."""

    def __init__(
        self,
        settings: Settings,
        log: PredictionLog,
        ids: IdGenerator,
        statistics: Statistics,
        runs: RunRecord | None = None,
    ) -> None:
        """`runs` records the runs in flight, for recovery after a worker's death."""
        self._settings = settings
        self._log = log
        self._ids = ids
        self._statistics = statistics
        self._runs = runs
        self._caches: Caches = WeakValueDictionary()

    def cache_bytes(self) -> dict[tuple[str, str], int]:
        """Return the size of each response cache in bytes, by model and version."""
        return {names: cache.size for names, cache in self._caches.items()}

    def __call__(self, version: Version) -> LoadedVersion:
        """Load a version and warm it up; raises DriftlineError."""
        with nullcontext() if self._runs is None else self._runs.loading(version):
            return self._load(version)

    def _load(self, version: Version) -> LoadedVersion:
        require_unchanged(version)
        settings, manifest = self._settings, version.manifest
        self._log.protect(version, payload_key(settings))
        model = (Path(version.path) / "model.onnx").read_bytes()
        files = file_inputs(model)
        check = InputCheck(manifest, settings.max_request_rows, files)
        session = self._open(version, model)
        shares_runs = _shares_runs(session, version)
        on_cpu = only_cpu(session_options(manifest.session, settings).providers)
        cost = _warm_up(session, version, files, batched=shares_runs)
        if depends_on_values(model) or isinstance(session, IsolatedSession):
            cost = UNKNOWN_COST
        name = f"{version.model} version {version.number}"
        completion = Completion(version, self._log, self._statistics.of(version))
        batcher: Batcher[Call, InferenceResponse] = Batcher(
            runner=SessionRunner(session, cost, settings.inline_threshold_us / 1e6),
            finish=completion.batch,
            limits=batch_policy_of(manifest, settings, batched=shares_runs, on_cpu=on_cpu),
            admissions=admissions_of(name, manifest.queue, settings),
            executor=ThreadPoolExecutor(1, thread_name_prefix=name),
            batch_ids=self._ids.batch,
            check=PredictionShapes(manifest.prediction).check,
            new_run=session.new_run,
            runs=self._runs_of(version),
            count_drop=completion.dropped,
            count_batch=completion.count_batch,
        )
        return TunableVersion(
            version=version,
            check=check,
            shares_runs=shares_runs,
            on_cpu=on_cpu,
            batcher=batcher,
            completion=completion,
            settings=settings,
            caches=self._caches,
            retire=session.retire if isinstance(session, IsolatedSession) else None,
        ).with_limits()

    def _open(self, version: Version, model: bytes) -> OpenSession:
        """Open the model in this process or in a separate process; raises NotReady."""
        options = session_options(version.manifest.session, self._settings)
        if options.isolation == "none":
            return Session(model, options, Path(version.path))
        path = Path(version.path) / "model.onnx"
        config = ChildConfig(
            str(path), version.files.get(path.name, ""), options, parse_size(options.memory)
        )
        return IsolatedSession(
            f"version {version.number} of {version.model}",
            config,
            count_restart=partial(count_restart, version),
        )

    def _runs_of(self, version: Version) -> RunsInFlight[Call]:
        if self._runs is None:
            return UnrecordedRuns()
        return VersionRuns(self._runs, version, partial(self._ids.prediction, version.model))


def _shares_runs(session: OpenSession, version: Version) -> bool:
    """Return whether requests of a version may share a run."""
    reason = one_by_one(version.manifest, verdict_of(version, session.runnable()))
    if reason:
        name = f"version {version.number} of {version.model}"
        hint = "" if read_verdict(version) else " (checked now; re-register it to store the result)"
        _logger.info("%s runs one request at a time%s: %s", name, hint, reason)
    return not reason


def session_options(options: SessionOptions, settings: Settings) -> SessionOptions:
    """Return a manifest's session options; the settings complete and override them."""
    providers = [name.strip() for name in settings.execution_providers.split(",") if name.strip()]
    return msgspec.structs.replace(
        options,
        intra_op_threads=options.intra_op_threads or settings.intra_op_threads,
        providers=providers or options.providers,
    )


def _warm_up(session: OpenSession, version: Version, files: Files, *, batched: bool) -> RunCost:
    """Measure the cost of runs with rows of the reference, or with generated rows without it."""
    if not has_reference(version) or bare_inputs(version.manifest):
        return measure_generated(session.run, version.manifest, files, batched=batched)
    rows_of = partial(_reference_rows, _reference(version))
    fixed = fixed_rows(signature(version.manifest))
    if fixed is not None:
        return measure(session.run, lambda _: rows_of(fixed), 1)
    return measure(
        session.run, rows_of, min(_WARM_UP_ROWS, version.manifest.max_batch_size) if batched else 1
    )


def _reference(version: Version) -> Mapping[str, np.ndarray[Any, Any]]:
    return to_tensors(version.manifest, first_rows(version, _WARM_UP_ROWS))


def _reference_rows(reference: Mapping[str, Array], rows: int) -> dict[str, Array]:
    """Return `rows` reference rows; rows are repeated if there are too few."""
    return {name: np.resize(array, (rows, *array.shape[1:])) for name, array in reference.items()}
