"""One loaded version whose limits can change while it serves."""

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

Caches = WeakValueDictionary[tuple[str, str], ResponseCache]  # by model and version


class TunableVersion:
    """Holds what survives a change of limits: session, queue and cache."""

    def __init__(  # noqa: PLR0913  # what a version consists of, all by name
        self,
        *,
        version: Version,
        check: InputCheck,
        together: bool,
        batcher: Batcher[Call, InferenceResponse],
        answering: Completion,
        settings: Settings,
        caches: Caches,
        retire: Callable[[], None] | None = None,
    ) -> None:
        """`together`: whether requests may share a run.

        `settings` complete what the manifest does not state; `caches` receives the version's cache.
        """
        self._version = version
        self._check = check
        self._together = together
        self._batcher = batcher
        self._answering = answering
        self._settings = settings
        self._caches = caches
        self._retire = retire
        self._cache: ResponseCache | None = None

    def served(self, change: LimitChange = UNCHANGED) -> LoadedVersion:
        """Return the version with its manifest's limits, changed by `change`.

        Call it in the batcher's event loop once it serves. Raises InvalidLimits.
        """
        manifest = limited(self._version.manifest, change)
        name = f"{self._version.model} version {self._version.number}"
        self._batcher.tune(
            batch_policy_of(manifest, self._settings, batched=self._together),
            admissions_of(name, manifest.queue, self._settings),
        )
        tune: Callable[[LimitChange], LoadedVersion] = self.served
        queue = self._queue(manifest.cache)
        return LoadedVersion(
            self._version, self._check, queue, limits=change, tune=tune, retire=self._retire
        )

    def _queue(self, policy: CachePolicy) -> Queue[Call, InferenceResponse]:
        """Return the queue, behind a cache if the policy has one."""
        if not policy.max_bytes:
            self._cache = None
            return self._batcher
        if self._cache is None:
            self._cache = ResponseCache(policy.max_bytes)
            self._caches[self._version.model, self._version.number] = self._cache
        else:
            self._cache.resize(policy.max_bytes)
        return CachedQueue(self._batcher, self._cache, self._answering.hits, self._answering)
