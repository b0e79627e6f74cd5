"""Dependencies of the REST handlers.

BentoML builds the ASGI application before the worker starts. So handlers have a function that
returns their dependencies, and call it for each request.
"""

from collections.abc import Callable

import msgspec

from access.authorizer import Authorizer
from access.browser_guard import BrowserGuard
from service.auth.key_limits import KeyLimits
from service.buffered_bytes import BufferedBytes
from service.call_factory import CallFactory
from service.models.loaded_models import LoadedModels
from service.models.repository import ModelRepository
from service.pipeline import Pipeline
from service.prediction_log import PredictionLog
from service.protocol.prediction_ids import PredictionIds
from service.telemetry.statistics import Statistics


class InferenceDependencies(msgspec.Struct, frozen=True, kw_only=True):
    """Dependencies of inference over HTTP."""

    pipeline: Pipeline
    authorizer: Authorizer
    guard: BrowserGuard
    new_call: CallFactory
    max_body_bytes: int
    buffered: BufferedBytes
    limits: KeyLimits
    keep_alive_s: int  # seconds after which an idle connection is closed


class RouteDependencies(msgspec.Struct, frozen=True, kw_only=True):
    """Dependencies of all other routes."""

    models: LoadedModels
    repository: ModelRepository
    statistics: Statistics
    log: PredictionLog
    authorizer: Authorizer
    ids: PredictionIds
    limits: KeyLimits
    max_body_bytes: int
    refuse_labels: Callable[[str, int], None]  # counts a number of refused labels of a shard
    unverified_labels: bool  # whether labels may have ids that this deployment did not issue
