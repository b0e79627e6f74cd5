"""A session whose model runs in a separate process, which is restarted after its death.

After the first death, the restart is immediate. After each further death, the pause before the
restart doubles, up to 30 seconds. Requests during a pause are refused with the reason.
"""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from registry.batching import Runnable
from service.errors import NotReady, OutOfMemory, ProcessDied
from service.sessions.child import ChildConfig
from service.sessions.model_process import COMMAND, ModelProcess, ProcessEnded
from telemetry.backoff import pause_after

Array = np.ndarray[Any, Any]
START_S = 600.0  # timeout for the start of the process, including the load of the model
STOP_S = 1.0  # seconds after which a run that does not stop ends its process
_FIRST_S, _LONGEST_S = 1.0, 30.0  # first and longest pause before a restart
_HEALTHY_S = 60.0  # uptime after which the count of consecutive deaths restarts

_logger = logging.getLogger(__name__)


class IsolatedSession:
    """A loaded model in a separate process; any thread can call `run`."""

    def __init__(  # noqa: PLR0913  # its dependencies, all by name
        self,
        name: str,
        config: ChildConfig,
        *,
        count_restart: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        stop_s: float = STOP_S,
        command: Sequence[str] = COMMAND,
    ) -> None:
        """Start the process and load the model; raises NotReady.

        If a stopped run does not end within `stop_s` seconds, its process is killed.
        """
        self._name = name
        self._config = config
        self._count_restart = count_restart
        self._clock = clock
        self._stop_s = stop_s
        self._command = command
        self._lock = threading.Lock()  # serializes runs and starts
        self._numbers = itertools.count(1)
        self._deaths = 0  # consecutive deaths
        self._retry_at = 0.0
        self._reason = ""
        self._retired = False
        self._process: ModelProcess | None = self._start()
        self._signature = self._process.signature

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Compute all outputs by name.

        Raises the errors of `Session.run`, and ProcessDied or NotReady.
        """
        return self.new_run().run(inputs)

    def new_run(self) -> "IsolatedRun":
        """Return a run that another thread can stop."""
        return IsolatedRun(self, self._numbers)

    def runnable(self) -> Runnable:
        """Return the model in the form that the check for independent rows needs."""
        return Runnable(self.run, self._signature.inputs, self._signature.outputs)

    def retire(self) -> None:
        """End the process once no run uses it; a later run restarts it temporarily."""
        self._retired = True
        if self._lock.acquire(blocking=False):  # otherwise, the current run calls this method
            try:
                self._end()
            finally:
                self._lock.release()

    def _end(self) -> None:
        if self._process is not None:
            self._process.close()
            self._process = None

    def run_numbered(self, run: "IsolatedRun", inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run in the process, which is restarted if it has died."""
        try:
            return self._run_locked(run, inputs)
        finally:
            if self._retired:
                self.retire()

    def _run_locked(self, run: "IsolatedRun", inputs: Mapping[str, Array]) -> dict[str, Array]:
        with self._lock:
            process = self._process or self._restart()
            number = run.enter(process)
            try:
                return process.run(number, inputs)
            except ProcessEnded as ended:
                self._record_death_in_run(str(ended))
                raise ProcessDied(
                    f"the process of {self._name} ended during the run: {ended}"
                ) from None
            except OutOfMemory:
                raise OutOfMemory(self._memory_message()) from None
            except OSError as error:
                raise OutOfMemory(f"no shared memory for the run: {error.strerror}") from None
            finally:
                run.leave()

    def _start(self) -> ModelProcess:
        process = ModelProcess(self._config, START_S, self._command)
        self._started = self._clock()
        return process

    def _restart(self) -> ModelProcess:
        if (wait := self._retry_at - self._clock()) > 0:
            raise NotReady(
                f"the process of {self._name} ended ({self._reason}); it restarts in {wait:.0f} s"
            )
        try:
            self._process = self._start()
        except NotReady as error:
            self._record_death(str(error))
            raise NotReady(f"{self._name} cannot be restarted: {error}") from None
        self._count_restart()
        _logger.info("the process of %s was restarted", self._name)
        return self._process

    def _record_death_in_run(self, reason: str) -> None:
        if self._clock() - self._started > _HEALTHY_S:
            self._deaths = 0
        self._process = None
        self._record_death(reason)
        _logger.error("the process of %s ended during a run: %s", self._name, reason)

    def _record_death(self, reason: str) -> None:
        self._deaths += 1
        self._reason = reason
        pause = pause_after(self._deaths - 1, _FIRST_S, _LONGEST_S) if self._deaths > 1 else 0.0
        self._retry_at = self._clock() + pause

    def _memory_message(self) -> str:
        limit = self._config.memory
        bound = f"session.memory allows ({limit >> 20} MiB)" if limit else "the system has"
        return f"the run of {self._name} needs more memory than {bound}"

    @property
    def stop_s(self) -> float:
        """Seconds after which a run that does not stop ends its process."""
        return self._stop_s


class IsolatedRun:
    """One or more runs of an isolated session, which another thread can stop."""

    def __init__(self, session: IsolatedSession, numbers: "itertools.count[int]") -> None:
        self._session = session
        self._numbers = numbers
        self._lock = threading.Lock()
        self._process: ModelProcess | None = None  # process of the current run
        self._number = 0
        self._timer: threading.Timer | None = None
        self.stopped = False

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Compute all outputs by name; raises an error soon after `stop` was called."""
        return self._session.run_numbered(self, inputs)

    def stop(self) -> None:
        """Stop the run before its next operator; if this takes too long, end the process."""
        with self._lock:
            self.stopped = True
            if self._process is not None:
                self._stop(self._process)

    def enter(self, process: ModelProcess) -> int:
        """Return the number of the next run in this process; stop it if `stop` was called."""
        with self._lock:
            self._process, self._number = process, next(self._numbers)
            if self.stopped:
                self._stop(process)
            return self._number

    def leave(self) -> None:
        """Record that the process has answered or died."""
        with self._lock:
            self._process = None
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None  # because its reference cycle would delay the process's end

    def _stop(self, process: ModelProcess) -> None:
        process.stop(self._number)
        self._timer = threading.Timer(self._session.stop_s, self._kill, [self._number])
        self._timer.daemon = True
        self._timer.start()

    def _kill(self, number: int) -> None:
        with self._lock:
            if self._process is not None and self._number == number:
                self._process.kill()
