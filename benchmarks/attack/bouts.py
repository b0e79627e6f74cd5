"""Attack a service with random combinations of attacks, within a CPU budget."""

import asyncio
import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import psutil

from benchmarks.attack.attacker import attack_for
from benchmarks.attack.attacks import Attack, attacks

_TOGETHER = (1, 1, 1, 2, 2, 3, 0)  # number of simultaneous attacks; 0: all, as in the first turn
_LENGTHS_S = (3.0, 6.0, 12.0, 30.0)  # the longest exceeds every deadline for clients
_TICK_S = 0.2
_LOOK_S = 0.05


class Turns(msgspec.Struct, frozen=True):
    """Parameters of an attacker."""

    key: str  # API key for attackers that have one
    port: int
    grpc_port: int
    service: int  # process id of the service; its children's CPU time counts in the budget
    seconds: float
    cores: float  # CPU cores that service and attacker together use on average
    seed: int
    record: Path  # file with the number of runs of each attack, written when a turn starts


@contextmanager
def attacking_in_turns(turns: Turns) -> Iterator[None]:
    """Attack while the block runs, for at most `turns.seconds`."""
    process = multiprocessing.get_context("spawn").Process(target=_run, args=(turns,), daemon=True)
    process.start()
    try:
        while not turns.record.exists():  # preparing the payloads takes a second
            process.join(_LOOK_S)
            if not process.is_alive():
                raise RuntimeError(f"the attacker exited with {process.exitcode} when it started")
        yield
    finally:
        process.terminate()
        process.join()


def read_turns(record: Path) -> dict[str, int]:
    """Return the number of runs of each attack."""
    return msgspec.json.decode(record.read_bytes(), type=dict[str, int]) if record.exists() else {}


def _run(turns: Turns) -> None:
    asyncio.run(_take_turns(turns))


async def _take_turns(turns: Turns) -> None:
    chance = random.Random(turns.seed)  # noqa: S311 - repeatable
    every, done = attacks(turns.key), Counter[str]()
    began, before = time.monotonic(), _cpu_seconds(turns.service)
    until = began + turns.seconds
    count = len(every)
    while time.monotonic() < until:
        chosen = [_thinned(attack, count) for attack in chance.sample(every, count)]
        done.update(f"{attack.port}: {attack.name}" for attack in chosen)
        turns.record.write_bytes(msgspec.json.encode(done))
        seconds = min(chance.choice(_LENGTHS_S), until - time.monotonic())
        await asyncio.gather(
            *(
                attack_for(
                    attack,
                    turns.port if attack.port == "rest" else turns.grpc_port,
                    seconds,
                    _TICK_S,
                )
                for attack in chosen
            )
        )
        used = _cpu_seconds(turns.service) - before
        await asyncio.sleep(max(0.0, min(began + used / turns.cores, until) - time.monotonic()))
        count = chance.choice(_TOGETHER) or len(every)


def _thinned(attack: Attack, together: int) -> Attack:
    """Return the attack with fewer connections; a turn's attacks share the file limit."""
    share = 2 if together <= 3 else 8
    return msgspec.structs.replace(attack, connections=max(1, attack.connections // share))


def _cpu_seconds(service: int) -> float:
    """Return the CPU time of the service's processes and of this process."""
    used = time.process_time()
    for process in psutil.Process(service).children(recursive=True):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        used += times.user + times.system
    return used
