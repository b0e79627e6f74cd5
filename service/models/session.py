"""Run ONNX models; the only module of the service that imports ONNX Runtime."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from registry.batching import Runnable, runnable
from registry.manifest import SessionOptions
from service.errors import InvalidRequest, NotReady, RunFailed
from service.models.providers import choose

Array = np.ndarray[Any, Any]

_logger = logging.getLogger(__name__)

_LEVELS = {
    "none": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


class Session:
    """One loaded ONNX model; `run` may be called from any thread."""

    def __init__(self, model: bytes, wanted: SessionOptions) -> None:
        """Load a model from its bytes.

        Raises NotReady when ONNX Runtime refuses them, or when an execution provider is missing.
        """
        available = onnxruntime.get_available_providers()
        providers = choose(wanted.providers, wanted.provider_options, available)
        try:
            self._session = onnxruntime.InferenceSession(
                model, _options(wanted), providers=providers
            )
        except Exception as error:  # noqa: BLE001  # a class of its own for each fault
            raise NotReady(f"ONNX Runtime cannot load the model: {error}") from None
        # A provider that does not start, for want of its device, is otherwise left out in silence.
        lost = {name for name, _ in providers} - set(self._session.get_providers())
        if lost:
            raise NotReady(
                f"execution provider {min(lost)!r} is installed but did not start; "
                f"expected its device and libraries on this machine"
            )
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Compute all outputs by name.

        Raises InvalidRequest if the model rejects the values, else RunFailed. ONNX Runtime's
        message is logged only: it quotes graph nodes and source lines.
        """
        try:
            results = self._session.run(self._outputs, inputs)
        except InvalidArgument as error:
            _logger.info("the model refused its inputs: %s", error)
            raise InvalidRequest(
                "the model cannot run on these values; expected values like those it was trained on"
            ) from None
        except Exception as error:  # noqa: BLE001  # a class of its own for each fault
            _logger.warning("a run failed: %s", error)
            raise RunFailed("the model's run failed; the server's log says why") from None
        return dict(zip(self._outputs, results, strict=True))

    def runnable(self) -> Runnable:
        """The model as the probe of its rows takes it."""
        return runnable(self._session)


def _options(wanted: SessionOptions) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = wanted.intra_op_threads or 1
    options.inter_op_num_threads = wanted.inter_op_threads
    if wanted.inter_op_threads > 1:
        options.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
    options.graph_optimization_level = _LEVELS[wanted.graph_optimization]
    options.enable_cpu_mem_arena = wanted.arena
    options.log_severity_level = 4  # what matters is raised
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
