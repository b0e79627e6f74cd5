"""ONNX Runtime, and nothing else of the service imports it."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument

from service.errors import InvalidRequest, NotReady, RunFailed

Array = np.ndarray[Any, Any]

_logger = logging.getLogger(__name__)


class Session:
    """One loaded ONNX model on the CPU; `run` may be called from any thread."""

    def __init__(self, model: bytes, intra_op_threads: int) -> None:
        """Load a model from its bytes; raises NotReady when ONNX Runtime refuses them."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = intra_op_threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # what matters is raised
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = onnxruntime.InferenceSession(
                model, options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # noqa: BLE001  # a class of its own for each fault
            raise NotReady(f"ONNX Runtime cannot load the model: {error}") from None
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name.

        Raises InvalidRequest for values that the model itself refuses, RunFailed otherwise; what
        ONNX Runtime said goes to the log, since it speaks of nodes and source lines.
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
