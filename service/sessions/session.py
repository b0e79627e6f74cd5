"""Load models in ONNX Runtime and run them."""

import ctypes
import logging
import resource
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

from registry.batching import Runnable, runnable
from registry.datatypes import NUMPY
from registry.errors import RegistryError
from registry.external_data import use_data
from registry.manifest import SessionOptions
from registry.onnx_file import extensions_library
from service.errors import InvalidRequest, NotReady, OutOfMemory, RunFailed, ValuesRefused
from service.sessions.providers import CPU, choose
from service.sessions.run_message import without_values
from service.sessions.value_dependence import depends_on_values

Array = np.ndarray[Any, Any]

_logger = logging.getLogger(__name__)

_LEVELS = {
    "none": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


class Session:
    """A loaded ONNX model; any thread can call `run`."""

    def __init__(self, model: bytes, requested: SessionOptions, folder: Path | None = None) -> None:
        """Load a model from its bytes; `folder` can contain external data of the model.

        Raises NotReady if ONNX Runtime cannot load it or an execution provider is missing.
        """
        available = onnxruntime.get_available_providers()
        providers = choose(requested.providers, requested.provider_options, available)
        try:
            options = _options(requested)
            use_data(options, folder)
            if requested.extensions:
                options.register_custom_ops_library(extensions_library())
            self._session = onnxruntime.InferenceSession(model, options, providers=providers)
        except RegistryError as error:
            raise NotReady(str(error)) from None
        except Exception as error:  # noqa: BLE001  # ONNX Runtime's errors have no common base class
            raise NotReady(f"ONNX Runtime cannot load the model: {error}") from None
        # ONNX Runtime silently omits a provider whose device is missing.
        omitted = {name for name, _ in providers} - set(self._session.get_providers())
        if omitted:
            raise NotReady(
                f"execution provider {min(omitted)!r} is installed but did not start; "
                f"expected its device and libraries on this machine"
            )
        # Without shrinking, the arena would keep the memory of the largest run.
        self._shrinks = requested.arena and depends_on_values(model)
        self._shrinking = self.new_options()
        nodes = [*self._session.get_inputs(), *self._session.get_outputs()]
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._run = self._runner(providers)
        # NumPy has no BF16, and ONNX Runtime does not convert it.
        self._by_value = any(node.type == "tensor(bfloat16)" for node in nodes)

    def run(
        self, inputs: Mapping[str, Array], options: onnxruntime.RunOptions | None = None
    ) -> dict[str, Array]:
        """Compute all outputs by name.

        Raises InvalidRequest or ValuesRefused if the model rejects the values, OutOfMemory, or
        RunFailed for other errors. ONNX Runtime's message is only logged, because it quotes graph
        nodes and source lines.
        """
        options = options or self._shrinking
        try:
            if self._by_value:
                results = self._run_by_value(inputs, options)
            else:
                results = self._run(self._outputs, inputs, options)
        except InvalidArgument as error:
            _logger.info("the model refused its inputs: %s", without_values(str(error)))
            raise InvalidRequest(
                "the model cannot run on these values; expected values like those it was trained on"
            ) from None
        except Exception as error:  # noqa: BLE001  # ONNX Runtime's errors have no common base class
            if lacks_memory(error):
                _logger.warning("a run is out of memory: %s", without_values(str(error)))
                raise OutOfMemory(f"the model's run needs more memory than {_allowed()}") from None
            if isinstance(error, Fail | RuntimeException):
                raise ValuesRefused(without_values(str(error))) from None
            _logger.warning("a run failed: %s", without_values(str(error)))
            raise RunFailed("the model's run failed; see the server's log") from None
        return dict(zip(self._outputs, results, strict=True))

    def _runner(self, providers: Sequence[tuple[str, object]]) -> Any:
        """Return the function that runs the model.

        On the CPU, the session inside ONNX Runtime's Python wrapper is used, which saves 4 us per
        run. The wrapper checks names, which are already checked here, and replaces failing
        providers, for which the CPU has no alternative.
        """
        on_cpu = [name for name, _ in providers] == [CPU]
        wrapped = getattr(self._session, "_sess", None)
        return wrapped.run if on_cpu and wrapped is not None else self._session.run

    def _run_by_value(
        self, inputs: Mapping[str, Array], options: onnxruntime.RunOptions | None
    ) -> list[Array]:
        feed = {name: _to_value(array) for name, array in inputs.items()}
        values = self._session.run_with_ort_values(self._outputs, feed, options)
        return [_from_value(value) for value in values]

    def new_options(self) -> onnxruntime.RunOptions:
        """Return options for a run, by which another thread can stop it."""
        options = onnxruntime.RunOptions()
        if self._shrinks:
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        return options

    def new_run(self) -> "SessionRun":
        """Return a run that another thread can stop."""
        return SessionRun(self)

    def runnable(self) -> Runnable:
        """Return the model in the form that the check for independent rows needs."""
        return runnable(self._session)


class SessionRun:
    """One or more runs of a session, which another thread can stop; a batcher's `StoppableRun`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._options = session.new_options()
        self.stopped = False

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Compute all outputs by name; raises an error soon after `stop` was called."""
        return self._session.run(inputs, self._options)

    def stop(self) -> None:
        """Stop the run before its next operator; a running operator is not interrupted."""
        self.stopped = True
        self._options.terminate = True


def _to_value(array: Array) -> onnxruntime.OrtValue:
    contiguous = np.ascontiguousarray(array).reshape(array.shape)
    if array.dtype != NUMPY["BF16"]:
        return onnxruntime.OrtValue.ortvalue_from_numpy(contiguous)
    return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(
        contiguous.view(np.uint16), TensorProto.BFLOAT16
    )


def _from_value(value: onnxruntime.OrtValue) -> Array:
    if value.data_type() != "tensor(bfloat16)":
        array: Array = value.numpy()
        return array
    raw = ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes())
    return np.frombuffer(raw, NUMPY["BF16"]).reshape(value.shape())


def _allowed() -> str:
    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if limit == resource.RLIM_INFINITY:
        return "the system has"
    return f"DRIFTLINE_SERVICE_MEMORY allows the worker ({limit >> 20} MiB in total)"


def lacks_memory(error: Exception) -> bool:
    """Return whether an error states that memory could not be allocated."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "alloc" in text or "memory" in text


def _options(session_options: SessionOptions) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = session_options.intra_op_threads or 1
    options.inter_op_num_threads = session_options.inter_op_threads
    if session_options.inter_op_threads > 1:
        options.execution_mode = onnxruntime.ExecutionMode.ORT_PARALLEL
    options.graph_optimization_level = _LEVELS[session_options.graph_optimization]
    options.enable_cpu_mem_arena = session_options.arena
    options.log_severity_level = 4  # only fatal errors, because other errors are raised
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options
