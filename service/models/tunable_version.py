"""A loaded version whose limits can change while it serves."""

from collections.abc import Callable
from weakref import WeakValueDictionary

from registry.limits import UNCHANGED, LimitChange, limited
from registry.manifest import CachePolicy, Version
from service.batching.batcher import Batcher
from service.batching.cached_queue import CachedQueue
from service.batching.job import Queue
from service.batching.queue_limits import admissions_of, batch_policy_of
from service.batching.response_cache import ResponseCache
from service.call import Call, InferenceResponse
from service.completion import Completion
from service.models.routing import LoadedVersion
from service.protocol.validation import InputCheck
from service.settings import Settings

Caches = WeakValueDictionary[tuple[str, str], ResponseCache]  # keyed by model and version


class TunableVersion:
    """The parts of a version that do not change with its limits: session, queue and cache."""

    def __init__(  # noqa: PLR0913  # the parts of a version, all by name
        self,
        *,
        version: Version,
        check: InputCheck,
        shares_runs: bool,
        on_cpu: bool,
        batcher: Batcher[Call, InferenceResponse],
        completion: Completion,
        settings: Settings,
        caches: Caches,
        retire: Callable[[], None] | None = None,
    ) -> None:
        """Combine the parts of a version.

        `shares_runs`: whether requests may share a run. `on_cpu`: whether runs use no accelerator.
        `settings` supply limits that the manifest omits. The version's cache is added to `caches`.
        """
        self._version = version
        self._check = check
        self._shares_runs = shares_runs
        self._on_cpu = on_cpu
        self._batcher = batcher
        self._completion = completion
        self._settings = settings
        self._caches = caches
        self._retire = retire
        self._cache: ResponseCache | None = None

    def with_limits(self, change: LimitChange = UNCHANGED) -> LoadedVersion:
        """Apply the manifest's limits with `change`; return the version for routing.

        Once the version gets requests, call this only in the batcher's event loop. Raises
        InvalidLimits.
        """
        manifest = limited(self._version.manifest, change)
        name = f"{self._version.model} version {self._version.number}"
        self._batcher.tune(
            batch_policy_of(
                manifest, self._settings, batched=self._shares_runs, on_cpu=self._on_cpu
            ),
            admissions_of(name, manifest.queue, self._settings),
        )
        tune: Callable[[LimitChange], LoadedVersion] = self.with_limits
        queue = self._queue(manifest.cache)
        return LoadedVersion(
            self._version, self._check, queue, limits=change, tune=tune, retire=self._retire
        )

    def _queue(self, policy: CachePolicy) -> Queue[Call, InferenceResponse]:
        """Return the batcher, with a cache in front if the policy has a cache."""
        if not policy.max_bytes:
            self._cache = None
            return self._batcher
        if self._cache is None:
            self._cache = ResponseCache(policy.max_bytes)
            self._caches[self._version.model, self._version.number] = self._cache
        else:
            self._cache.resize(policy.max_bytes)
        return CachedQueue(
            self._batcher, self._cache, self._completion.hits, self._completion, caller_of
        )


def caller_of(call: Call) -> bytes:
    """Return the call's credential; only calls with the same credential share cache entries."""
    return call.authorization or b""
