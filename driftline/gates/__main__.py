"""Read a job from standard input and run its gates; write one JSON line for each message.

`process.py` starts this module as a process, and kills it if a gate takes too long.
"""

import importlib
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from driftline.gates.context import GateContext, GateFailed, GateJob, GateMessage, NotEnoughData
from eventlog.errors import DriftlineError
from eventlog.parent_death import end_with_parent
from registry.gates.outcomes import GateOutcome
from registry.gates.specification import Gate, kind_of
from registry.gates.stated_gates import read_gates

_Check = Callable[[Any, GateContext], GateOutcome]


def main() -> None:
    """Read the job and run it."""
    end_with_parent(signal.SIGKILL)
    replies = os.dup(1)
    os.dup2(2, 1)  # text that libraries print must not mix with messages
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=GateJob)

    def send(message: GateMessage) -> None:
        os.write(replies, msgspec.json.encode(message) + b"\n")

    context = _context(job, lambda text: send(GateMessage(progress=text)))
    send(GateMessage(progress="ready"))
    for name, gate in read_gates(job.gates).items():
        send(GateMessage(outcome=_run(name, gate, context)))
    os._exit(0)  # native libraries may abort while they are unloaded


def _context(job: GateJob, progress: Callable[[str], None]) -> GateContext:
    return GateContext(
        job.candidate,
        job.champion,
        Path(job.folder),
        progress,
        job.kafka or Path(job.log),
        job.manifests,
    )


def _run(name: str, gate: Gate, context: GateContext) -> GateOutcome:
    resource.setrlimit(resource.RLIMIT_DATA, (gate.memory_mb << 20, resource.RLIM_INFINITY))
    try:
        return msgspec.structs.replace(_check_of(kind_of(gate))(gate, context), name=name)
    except NotEnoughData as error:
        return GateOutcome(name, kind_of(gate), "not enough data", str(error))
    except MemoryError:
        reason = f"the gate needs more than {gate.memory_mb} MB"
    except (GateFailed, DriftlineError) as error:
        reason = str(error)
    except Exception as error:  # noqa: BLE001  # any error fails the gate
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return GateOutcome(name, kind_of(gate), "failed", reason)


_CHECKS = {  # kind -> module and function, imported on use because some need seconds
    "load": ("service_load", "check_load"),
    "speed": ("service_load", "check_speed"),
    "answers": ("outputs", "check_answers"),
    "finite": ("outputs", "check_finite"),
    "size": ("content", "check_size"),
    "lineage": ("content", "check_lineage"),
    "metric": ("scores", "check_scores"),
    "cost": ("scores", "check_scores"),
    "gap": ("scores", "check_scores"),
    "data": ("reference_data", "check_data"),
    "replay": ("replay", "check_replay"),
}


def _check_of(kind: str) -> _Check:
    module, function = _CHECKS[kind]
    check: _Check = getattr(importlib.import_module(f"driftline.gates.{module}"), function)
    return check


if __name__ == "__main__":
    main()
