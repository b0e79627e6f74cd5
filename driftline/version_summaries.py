"""Summaries of all versions, page by page, for `driftline models`."""

from bisect import bisect_right
from collections.abc import Callable, Iterator

import msgspec

from eventlog.settings import Home
from registry.all_workers import AllWorkers
from registry.errors import RegistryUnavailable
from registry.settings import open_history
from registry.store import ModelState, Registry
from registry.worker_reports import WorkerReport, selects

MOST_MODELS = 1000  # maximum number of models per page


class VersionSummary(msgspec.Struct, frozen=True, omit_defaults=True):
    """The summary of a version."""

    model: str
    number: str
    registered: int  # time of registration, in microseconds since the epoch
    digest: str = ""
    aliases: list[str] = []
    reasons: list[str] = []  # reasons why the version is not ready or only a candidate
    damaged: str = ""  # reason why the version's files cannot be read
    owner: str = ""  # owner of the model
    tags: list[str] = []  # tags of the model


class ModelQuery(msgspec.Struct, frozen=True):
    """A query for one page of models, sorted by name."""

    pattern: str = ""  # shell patterns such as `team-a-*,fraud`, "" for every model
    after: str = ""  # name of the previous page's last model
    limit: int = MOST_MODELS  # maximum number of models, each with all its versions
    tag: str = ""  # "" for any tag
    owner: str = ""  # "" for any owner


class ModelPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One page of models."""

    versions: list[VersionSummary]  # sorted by model and number
    next: str = ""  # `after` of the next page, "" on the last page
    remaining: int = 0  # number of matching models on later pages


def read_page(home: Home, query: ModelQuery) -> ModelPage:
    """Return one page of the versions of this machine's registry."""
    registry, workers = Registry(home, wait=True), _workers(home)
    names = [name for name in registry.models() if selects(query.pattern, name)]
    if query.tag or query.owner:
        names = _described(home, query, names)
    later = names[bisect_right(names, query.after) :]
    shown, remaining = later[: query.limit], len(later[query.limit :])
    versions = [
        summary
        for model in shown
        for summary in _versions(registry, model, registry.state(model), workers)
    ]
    return ModelPage(versions, shown[-1] if remaining else "", remaining)


def _workers(home: Home) -> list[WorkerReport]:
    """Return the workers' reports, or [] if a shared registry cannot be reached.

    The models then are read from this machine's copy; opening the registry has printed a warning.
    """
    try:
        return AllWorkers(home).read()
    except RegistryUnavailable:
        return []


def _described(home: Home, query: ModelQuery, names: list[str]) -> list[str]:
    """Return the models with the tag and the owner of a query."""
    descriptions = open_history(home).descriptions()
    return [
        name
        for name in names
        if (description := descriptions.get(name)) is not None
        and (not query.tag or query.tag in description.tags)
        and (not query.owner or query.owner == description.owner)
    ]


def read_pages(
    read: Callable[[ModelQuery], ModelPage], query: ModelQuery, limit: int | None = None
) -> Iterator[ModelPage]:
    """Yield pages until `limit` models were read, or all pages if `limit` is None."""
    after = query.after
    while limit is None or limit > 0:
        size = MOST_MODELS if limit is None else min(limit, MOST_MODELS)
        page = read(msgspec.structs.replace(query, after=after, limit=size))
        yield page
        if not page.next:
            return
        after = page.next
        limit = None if limit is None else limit - size


def _versions(
    registry: Registry, model: str, state: ModelState, workers: list[WorkerReport]
) -> list[VersionSummary]:
    digests = {version.number: (version.created, version.digest) for version in state.versions}
    if unread := state.remote | state.damaged.keys():
        rows = [row for row in registry.history(model) if row.kind == "registered"]
        digests |= {r.number: (r.time, r.digest) for r in rows if r.number in unread}
    for number in state.damaged:
        digests.setdefault(number, (0, ""))
    summaries = []
    for number, (created, digest) in sorted(digests.items(), key=lambda entry: int(entry[0])):
        aliases = [alias for alias, n in state.desired.aliases.items() if n == number]
        reasons = {w.unready.get(model, {}).get(number, "") for w in workers} - {""}
        if candidate := state.desired.candidates.get(number):
            reasons.add(f"candidate: {candidate}")
        damaged = "" if number in state.remote else state.damaged.get(number, "")
        summary = VersionSummary(
            model, number, created, digest, aliases, sorted(reasons), damaged,
            owner=state.description.owner, tags=state.description.tags,
        )  # fmt: skip
        summaries.append(summary)
    return summaries
