"""Gates on a separately served version: it loads, and it is fast and small enough."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import msgspec

from driftline.gates.context import NO_CHAMPION_NOTE, GateContext, GateFailed
from driftline.gates.lone_service import LoneService
from loadtests.drift import Drift
from loadtests.payloads import Payloads
from loadtests.verdict import Measurements
from registry.gates.outcomes import GateFigure, GateOutcome, at_most, of_figures
from registry.gates.specification import LoadGate, SpeedGate
from registry.history.rows import GateVerdict

_OBJECTIVES = (
    "--p99-ms",
    "1000000",
    "--max-error-share",
    "1",
)  # the load test must not fail: the gate judges

_WHOLE_MS = 1.0  # percentiles are measured in whole ms, so smaller differences do not count


def check_load(gate: LoadGate, context: GateContext) -> GateOutcome:
    """Start a serving process with only this version and send one request."""
    context.progress("starting a serving process")
    with LoneService(context.candidate, context.folder / "load") as service:
        context.progress(f"ready after {service.seconds:.1f} s")
        memory = service.memory_mb()
        answer = _send(service)
    if not answer.is_success:
        text = " ".join(answer.text.split())[:300]
        raise GateFailed(f"the service replies {answer.status_code} to a request: {text}")
    figures = [at_most("seconds to ready", round(service.seconds, 3), gate.at_most_seconds)]
    if memory is not None:
        figures.append(at_most("memory in MB", round(memory, 1), None))
    return GateOutcome("", "load", of_figures(figures), "", figures)


def _send(service: LoneService) -> httpx.Response:
    payload = Payloads(service.version, Drift()).at(0)[0]
    path = f"{service.url}/v2/models/{service.version.model}/infer"
    try:
        return httpx.post(
            path, content=payload.json, headers={"content-type": "application/json"}, timeout=60,
            trust_env=False,
        )  # fmt: skip
    except httpx.HTTPError as error:
        raise GateFailed(f"a request gets no reply: {type(error).__name__}: {error}") from None


class _Side:
    """The measurements of one version."""

    def __init__(self, service: LoneService) -> None:
        self.service = service
        self.loads: list[Measurements] = []
        self.memory: float | None = None

    def best(self, figure: Callable[[Measurements], float], *, lowest: bool) -> float:
        """Return the best round, because other processes on the machine only slow rounds down."""
        figures = [figure(load) for load in self.loads]
        return min(figures) if lowest else max(figures)


def check_speed(gate: SpeedGate, context: GateContext) -> GateOutcome:
    """Measure candidate and champion alternately, each in its own service, and compare them."""
    with ExitStack() as stack:
        sides: dict[str, _Side] = {}
        for name, version in context.versions.items():
            context.progress(f"starting a service with the {name}")
            service = LoneService(version, context.folder / f"speed-{name}")
            sides[name] = _Side(stack.enter_context(service))
        for place in range(1, gate.rounds + 1):
            for name, side in sides.items():
                context.progress(f"round {place} of {gate.rounds}: load on the {name}")
                side.loads.append(_load(gate, side.service, context.folder))
        for side in sides.values():
            side.memory = side.service.memory_mb()
    figures = list(_figures(gate, sides["candidate"], sides.get("champion")))
    failed = sum(load.seen.failed for load in sides["candidate"].loads)
    if failed:
        return GateOutcome("", "speed", "failed", f"{failed} requests failed", figures)
    ratios = (gate.mean_ratio, gate.p99_ratio, gate.throughput_ratio, gate.memory_ratio)
    compared = any(ratio is not None for ratio in ratios)
    late = any(load.bottleneck for side in sides.values() for load in side.loads)
    reason = "the load generator was the bottleneck" if late else ""
    return GateOutcome("", "speed", of_figures(figures), reason, figures, against_champion=compared)


def _load(gate: SpeedGate, service: LoneService, folder: Path) -> Measurements:
    file = folder / "load.json"
    file.unlink(missing_ok=True)
    seconds = max(1, round(gate.load_seconds / gate.rounds))
    command = [
        sys.executable, "-P", "-m", "driftline", "load", "--model", service.version.model,
        "--host", service.url, "--grpc-host", service.grpc, "--protocol", gate.protocol,
        "--users", str(gate.users), "--rate", "0", "--seconds", str(seconds), *_OBJECTIVES,
        "--measurements", str(file),
    ]  # fmt: skip
    done = subprocess.run(  # noqa: S603 - this interpreter and a module of Driftline
        command, env=service.environment(), capture_output=True, text=True, check=False
    )
    try:
        return msgspec.json.decode(file.read_bytes(), type=Measurements)
    except (OSError, msgspec.DecodeError):
        lines = (done.stdout + done.stderr).strip().splitlines()
        why = lines[-1] if lines else f"status {done.returncode}"
        raise GateFailed(f"the load test could not run: {why}") from None


def _figures(gate: SpeedGate, candidate: _Side, champion: _Side | None) -> Iterator[GateFigure]:
    measured: list[tuple[str, str, bool, Callable[[_Side], float | None]]] = [
        ("mean in ms", "mean_ratio", True, lambda s: s.best(lambda m: m.seen.mean_ms, lowest=True)),
        ("p99 in ms", "p99_ratio", True, lambda s: s.best(lambda m: m.seen.p99_ms, lowest=True)),
        ("requests/s", "throughput_ratio", False,
         lambda s: s.best(lambda m: m.per_second, lowest=False)),
        ("memory in MB", "memory_ratio", True, lambda s: s.memory),
    ]  # fmt: skip
    absolute = {
        "p99 in ms": gate.p99_ms,
        "requests/s": gate.requests_per_s,
        "memory in MB": gate.resident_mb,
    }
    for name, ratio, lower, figure in measured:
        mine = figure(candidate)
        theirs = figure(champion) if champion is not None else None
        yield _judged(name, mine, absolute.get(name), theirs, lower=lower)
        limit: float | None = getattr(gate, ratio)
        if limit is None:
            continue
        if champion is None:
            yield GateFigure(f"{name}, ratio", None, "passed", note=NO_CHAMPION_NOTE)
            continue
        share = mine / theirs if mine is not None and theirs else None
        if name.startswith("p99") and abs((mine or 0) - (theirs or 0)) <= _WHOLE_MS:
            share = 1.0
        yield _judged(f"{name}, ratio", share, limit, None, lower=lower)


def _judged(
    name: str, value: float | None, limit: float | None, champion: float | None, *, lower: bool
) -> GateFigure:
    value = None if value is None else round(value, 4)
    champion = None if champion is None else round(champion, 4)
    if lower:
        return at_most(name, value, limit, champion=champion)
    if value is None:
        return GateFigure(name, None, "not enough data", at_least=limit)
    outcome: GateVerdict = "passed" if limit is None or value >= limit else "failed"
    return GateFigure(name, value, outcome, at_least=limit, champion=champion)
