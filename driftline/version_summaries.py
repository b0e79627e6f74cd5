"""Every version of every model in a line: what `driftline models` lists."""

import msgspec

from eventlog.settings import Home
from registry.shared_workers import AllWorkers
from registry.store import ModelState, Registry
from registry.worker_reports import WorkerReport


class VersionSummary(msgspec.Struct, frozen=True, omit_defaults=True):
    """One version; `registered` is microseconds since the epoch."""

    model: str
    number: str
    registered: int
    digest: str = ""
    aliases: list[str] = []
    reasons: list[str] = []  # why it is not ready, or a candidate
    damaged: str = ""  # why its files cannot be read


def summaries_of(home: Home) -> list[VersionSummary]:
    """Return the versions of this machine's registry, by model and number."""
    registry, workers = Registry(home, wait=True), AllWorkers(home).read()
    return [
        one
        for model in registry.models()
        for one in _versions(registry, model, registry.state(model), workers)
    ]


def _versions(
    registry: Registry, model: str, state: ModelState, workers: list[WorkerReport]
) -> list[VersionSummary]:
    digests = {one.number: (one.created, one.digest) for one in state.versions}
    if unread := state.remote | state.damaged.keys():
        rows = [row for row in registry.history(model) if row.kind == "registered"]
        digests |= {r.number: (r.time, r.digest) for r in rows if r.number in unread}
    for number in state.damaged:
        digests.setdefault(number, (0, ""))
    found = []
    for number, (created, digest) in sorted(digests.items(), key=lambda one: int(one[0])):
        named = [alias for alias, of in state.desired.aliases.items() if of == number]
        reasons = {w.unready.get(model, {}).get(number, "") for w in workers} - {""}
        if candidate := state.desired.candidates.get(number):
            reasons.add(f"candidate: {candidate}")
        damaged = "" if number in state.remote else state.damaged.get(number, "")
        summary = VersionSummary(model, number, created, digest, named, sorted(reasons), damaged)
        found.append(summary)
    return found
