"""Append to and read the registry's history, which is append-only.

Every row has a number, the registry's revision; revisions have no gaps. The state of a model
follows only from its rows (`state.py`). An append reads the state and adds rows in one transaction.
"""

import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from registry.errors import (
    IncompatibleRegistry,
    RegistryConflict,
    RegistryUnavailable,
    VersionRefused,
)
from registry.history.database import DatabaseAddress, HistoryConnection, open_database
from registry.history.lifecycle import (
    DesiredState,
    LifecycleState,
    current_schedule,
    description_of,
    reduce_rows,
)
from registry.history.replica import (
    ReplicatedDatabase,
    copy_page,
    insert_values,
    is_chain,
    read_head,
)
from registry.history.rows import (
    FIRST,
    PROVISION,
    HistoryRow,
    ModelDescription,
    Registration,
    encode_detail,
    next_chain,
    read_row,
)
from registry.limits import LimitChange

LIVE_S = 15  # seconds after its last report in which a worker counts as running
EXPIRED_S = 3_600  # seconds after which the report of a worker is deleted
_REPORTED_S = 5  # seconds after an outage within which every worker reports again
_PAUSE_S = 0.5  # seconds between attempts of a change while the server cannot be reached
_PAGE = 1_000  # rows per transaction when all models are read

_RELEASES = frozenset({"promoted", "requested", "approved"})
_EVIDENCE = frozenset({"release_policy", "gated", "requested", "approved", "rejected"})

_logger = logging.getLogger(__name__)

Decision = Callable[[LifecycleState], Sequence[HistoryRow]]


class History:
    """The history in one database; safe across threads and processes."""

    def __init__(
        self, address: DatabaseAddress, copy: Path | None = None, *, wait_s: float = 0.0
    ) -> None:
        """Open, create or migrate the database.

        A server is read through a copy in the file `copy`, if it is not None. A change waits up to
        `wait_s` seconds for a server that cannot be reached.

        Raises IncompatibleRegistry if a newer release has migrated the database. If the database
        cannot be read now, only the other methods raise RegistryUnavailable.
        """
        self._database = self._server = open_database(address)
        self._wait_s = 0.0 if isinstance(address, Path) else wait_s
        if copy is not None and not isinstance(address, Path):
            self._database = ReplicatedDatabase(self._database, copy)
        with suppress(RegistryUnavailable), self._database.transaction():
            pass

    def append(self, model: str, decide: Decision, *, expected_revision: int | None = None) -> int:
        """Append the rows that `decide` returns for the model's state, in one transaction.

        Return the registry's new revision. Raises RegistryConflict if the model has a row after
        `expected_revision`, or if the registry has no such revision. Raises IncompatibleRegistry
        if the model has rows of a newer release.
        """
        deadline = time.monotonic() + self._wait_s
        warned = False
        sent_rows: list[HistoryRow] = []
        while True:
            try:
                revision = self._append(model, decide, expected_revision, sent_rows)
            except RegistryUnavailable as error:
                if time.monotonic() >= deadline:
                    raise
                if not warned:
                    _logger.warning("%s; retrying the change for %g s", error, self._wait_s)
                    warned = True
                time.sleep(_PAUSE_S)
            else:
                if warned:
                    time.sleep(_REPORTED_S)
                return revision

    def _append(
        self,
        model: str,
        decide: Decision,
        expected_revision: int | None,
        sent_rows: list[HistoryRow],
    ) -> int:
        """Append once; `sent_rows` are the rows of a failed attempt that may be committed."""
        with self._database.transaction(write=True) as connection:
            if sent_rows and is_chain(connection, sent_rows[-1].revision, sent_rows[-1].chain):
                return sent_rows[-1].revision
            rows = _rows(connection, model)
            revision, chain = read_head(connection)
            if expected_revision is not None:
                _require_unchanged(model, rows, expected_revision, latest=revision)
            state = reduce_rows(rows)
            _require_known(state)
            added: list[HistoryRow] = []
            decided = decide(state)
            if state.policy_row is not None and any(row.kind in _RELEASES for row in decided):
                _require_intact(connection, rows)
            for row in decided:
                revision += 1
                numbered = replace(
                    row, revision=revision, actor=_plain(row.actor), why=_plain(row.why)
                )
                chain = next_chain(chain, numbered)
                added.append(replace(numbered, chain=chain))
            sent_rows[:] = added
            if added:
                connection.many("INSERT", insert_values(added))
        return revision

    def time_ns(self) -> int:
        """Return the time in nanoseconds by the database's clock, which all machines share."""
        return self._server.time_ns()

    def revision(self) -> int:
        """Return the number of the latest row, or 0 without rows."""
        with self._database.transaction() as connection:
            ((latest,),) = connection.all("REVISION")
        return _int(latest or 0)

    def head(self) -> tuple[int, str]:
        """Return the latest revision and its chain."""
        with self._database.transaction() as connection:
            return read_head(connection)

    def changed(self, since: int) -> set[str]:
        """Return the models that have rows after this revision."""
        with self._database.transaction() as connection:
            return {str(model) for (model,) in connection.all("CHANGED", after=since)}

    def state(self, model: str) -> LifecycleState:
        """Return the state of a model that follows from the history."""
        return reduce_rows(self.rows(model))

    def desired_state(self, model: str, numbers: Collection[str]) -> DesiredState:
        """Return the desired state of a model whose versions are `numbers`."""
        return self.state(model).desired(numbers)

    def aliases(self, model: str) -> dict[str, str]:
        """Return alias -> version number of a model."""
        return dict(sorted(self.state(model).aliases.items()))

    def numbers(self, model: str) -> set[str]:
        """Return every version number that was ever registered, including deleted versions."""
        return set(self.state(model).registered)

    def models(self, kind: str = "registered") -> set[str]:
        """Return every model with a row of this kind; by default, all models ever registered."""
        with self._database.transaction() as connection:
            return {str(model) for (model,) in connection.all("MODELS", of_kind=kind)}

    def rows(self, model: str) -> list[HistoryRow]:
        """Return every row of one model, oldest first."""
        with self._database.transaction() as connection:
            return _rows(connection, model)

    def schedules(self) -> list[HistoryRow]:
        """Return the row of each model's current retraining schedule, in the order of models."""
        with self._database.transaction() as connection:
            rows = _structs(connection.all("OF_KIND", of_kind="schedule"))
        latest = {row.model: row for row in rows}
        return [row for row in latest.values() if current_schedule(row) is not None]

    def descriptions(self) -> dict[str, ModelDescription]:
        """Return owner and tags of all models that have a description."""
        with self._database.transaction() as connection:
            rows = _structs(connection.all("OF_KIND", of_kind="description"))
        latest = {row.model: row for row in rows}
        return {model: description_of(row) for model, row in latest.items()}

    def all_rows(self, after: int = 0) -> Iterator[HistoryRow]:
        """Yield the rows of all models after a revision, read page by page."""
        until = self.revision()
        while after < until:
            with self._database.transaction() as connection:
                page = _structs(connection.all("AFTER", after=after, until=after + _PAGE))
            yield from page
            after += _PAGE

    def register(  # noqa: PLR0913  # one argument per field of a row
        self,
        model: str,
        number: str,
        *,
        time: int,
        actor: str,
        digest: str = "",
        files: dict[str, str] | None = None,
        trained_by: str = "",
        answers: str = "",
        now: int = 0,
    ) -> None:
        """Record the registration of a version, unless it is already recorded.

        If the recorded row has no digest, because an earlier release wrote it, another row adds
        the digest. If the version is re-registered for the retraining request `answers`, another
        row with the time `now` is appended.

        Raises RegistryConflict if another digest was registered under the number.
        """

        def decide(state: LifecycleState) -> list[HistoryRow]:
            registered_row = state.registered.get(number)
            if registered_row is None or (digest and not registered_row.digest):
                detail = encode_detail(Registration(files, trained_by)) if files else ""
                return [
                    HistoryRow(
                        0, model, "registered", number, time, actor, detail=detail, digest=digest,
                        evidence=answers,
                    )
                ]  # fmt: skip
            if digest and registered_row.digest != digest:
                raise RegistryConflict(f"model {model!r}: {_first(registered_row)}")
            answered_row = state.answers.get(answers)
            if not answers or (answered_row is not None and answered_row.number == number):
                return []
            return [
                replace(
                    registered_row, revision=0, time=now, actor=actor, evidence=answers, chain=""
                )
            ]

        self.append(model, decide)

    def promote(  # noqa: PLR0913  # one argument per field of a row
        self,
        model: str,
        alias: str,
        number: str,
        *,
        time: int,
        actor: str,
        why: str = "",
        evidence: str = "",
        expected_revision: int | None = None,
    ) -> int:
        """Point the alias at the version and return the new revision.

        If the alias already points to the version, no row is appended. Raises RegistryConflict, or
        VersionRefused if the model's release policy does not allow the version.
        """
        row = HistoryRow(
            0, model, "promoted", number, time, actor, alias, why=why, evidence=evidence
        )

        def decide(state: LifecycleState) -> list[HistoryRow]:
            return [] if state.aliases.get(alias) == number else [_allowed(state, row)]

        return self.append(model, decide, expected_revision=expected_revision)

    def provide_alias(
        self, model: str, alias: str, number: str, *, time: int, actor: str
    ) -> HistoryRow:
        """Point the alias at the version, unless it was last changed by other means.

        Other means are all other methods, and rollouts, including ended ones. Return the row that
        points the alias at its version afterwards. Raises VersionRefused.
        """
        row = HistoryRow(0, model, "promoted", number, time, actor, alias, evidence=PROVISION)

        def decide(state: LifecycleState) -> list[HistoryRow]:
            last = state.alias_row(alias)
            free = last is None or (
                last.evidence == PROVISION
                and last.number != number
                and not state.rolled_out_since(alias, last.revision)
            )
            return [_allowed(state, row)] if free else []

        self.append(model, decide)
        alias_row = self.state(model).alias_row(alias)
        assert alias_row is not None
        return alias_row

    def load(self, model: str, number: str, *, time: int, actor: str) -> int:
        """Record that a version, or all versions for "", must be loaded; return the revision."""
        return self._add(HistoryRow(0, model, "loaded", number, time, actor))

    def unload(self, model: str, number: str, *, time: int, actor: str) -> int:
        """Record that a version, or all versions for "", must be unloaded; return the revision."""
        return self._add(HistoryRow(0, model, "unloaded", number, time, actor))

    def change_limits(  # noqa: PLR0913  # one argument per field of a row
        self,
        model: str,
        number: str,
        change: LimitChange,
        *,
        time: int,
        actor: str,
        expected_revision: int | None = None,
    ) -> int:
        """Change the limits of a version or, for "", of all versions including future ones.

        A change without fields revokes all earlier changes.
        """
        row = HistoryRow(0, model, "limits", number, time, actor, detail=encode_detail(change))
        return self._add(row, expected_revision)

    def change_policy(  # noqa: PLR0913  # one argument per field of a row
        self,
        model: str,
        number: str,
        detail: str,
        *,
        time: int,
        actor: str,
        expected_revision: int | None = None,
    ) -> int:
        """Change the policy of a version or, for "", of all versions including future ones.

        `policies.py` encodes `detail` and merges the changes.
        """
        row = HistoryRow(0, model, "policy", number, time, actor, detail=detail)
        return self._add(row, expected_revision)

    def record_baseline(
        self, model: str, number: str, detail: str, *, time: int, actor: str
    ) -> int:
        """Record a baseline of a version, unless it is already recorded; return the revision.

        `baselines.py` encodes `detail`.
        """
        row = HistoryRow(0, model, "baseline", number, time, actor, detail=detail)

        def decide(state: LifecycleState) -> list[HistoryRow]:
            details = [baseline.detail for baseline in state.baselines if baseline.number == number]
            current_details = details if '"origin":"learned"' in detail else details[-1:]
            return [] if detail in current_details else [row]

        return self.append(model, decide)

    def _add(self, row: HistoryRow, expected_revision: int | None = None) -> int:
        return self.append(row.model, lambda _: [row], expected_revision=expected_revision)

    def report_worker(self, name: str, body: str) -> None:
        """Replace the report of a worker, and delete expired reports."""
        with self._server.transaction() as connection:
            connection.many("REMOVE_WORKER", [{"of_worker": name}])
            connection.many("ADD_WORKER", [{"of_worker": name, "n_body": body}])
            connection.many("EXPIRE_WORKERS", [{"age": EXPIRED_S}])

    def remove_worker(self, name: str) -> None:
        """Delete the report of a worker."""
        with self._server.transaction() as connection:
            connection.many("REMOVE_WORKER", [{"of_worker": name}])

    def workers(self) -> list[str]:
        """Return the reports of all running workers."""
        with self._server.transaction() as connection:
            return [str(body) for (body,) in connection.all("WORKERS", age=LIVE_S)]

    def copy_to(self, target: "History") -> int:
        """Copy all rows and their chain to a history that is empty or a prefix of this history.

        Return the revision of both. If this raises HistoriesDiffer, the target can contain some of
        the rows.
        """
        head = self.head()
        while (have := copy_page(self._database, target._database, head)) != head:  # noqa: SLF001
            _logger.info("%d of %d rows are copied", have[0], head[0])
        return head[0]

    def close(self) -> None:
        """Close the database."""
        self._database.close()


def _allowed(state: LifecycleState, row: HistoryRow) -> HistoryRow:
    if reason := state.refusal(row.alias, row.number, row.time):
        raise VersionRefused(f"{row.alias} of {row.model} cannot be version {row.number}: {reason}")
    return row


def _require_intact(connection: HistoryConnection, rows: Sequence[HistoryRow]) -> None:
    """Raise VersionRefused if a policy, gate or approval row does not agree with its chain.

    An edit that also recomputed the chain is found only by `driftline audit verify`.
    """
    for row in rows:
        if row.kind in _EVIDENCE:
            near = _structs(connection.all("AFTER", after=row.revision - 2, until=row.revision))
            before = near[0].chain if len(near) > 1 else FIRST
            if next_chain(before, row) != row.chain:
                raise VersionRefused(
                    f"model {row.model!r}: revision {row.revision} ({row.kind.replace('_', ' ')}) "
                    "was changed after it was written; see driftline audit verify"
                )


def _require_unchanged(
    model: str, rows: Sequence[HistoryRow], expected: int, *, latest: int
) -> None:
    if expected > latest:  # from another registry, or from before a restore of this registry
        raise RegistryConflict(
            f"model {model!r}: revision {expected} was expected, but this registry's latest is "
            f"{latest}; read the model's state and retry"
        )
    newer = next((row for row in rows if row.revision > expected), None)
    if newer is not None:
        raise RegistryConflict(
            f"model {newer.model!r} changed after revision {expected}: {_first(newer)}; "
            "read the model's state and retry"
        )


def _require_known(state: LifecycleState) -> None:
    if (row := state.unknown) is not None:
        raise IncompatibleRegistry(
            f"model {row.model!r}: revision {row.revision} is of kind {row.kind!r}, which a newer "
            "release wrote; upgrade Driftline here before you change this model"
        )


def _first(row: HistoryRow) -> str:
    """Return a sentence with actor, kind and time of the row that was earlier."""
    at = datetime.fromtimestamp(row.time / 1e6, UTC)
    what = " ".join(word for word in (row.kind.replace("_", " "), row.alias) if word)
    version = f" version {row.number}" if row.number else ""
    return (
        f"{row.actor or 'unknown'} {what}{version} first, "
        f"in revision {row.revision} at {at:%Y-%m-%d %H:%M:%S} UTC"
    )


def _plain(value: str) -> str:
    """Replace characters that one of the databases cannot store."""
    return value.replace("\x00", "\N{SYMBOL FOR NULL}").encode(errors="replace").decode()


def _rows(connection: HistoryConnection, model: str) -> list[HistoryRow]:
    return _structs(connection.all("OF_MODEL", of_model=model))


def _structs(records: Sequence[tuple[object, ...]]) -> list[HistoryRow]:
    return [read_row(record) for record in records]


def _int(value: object) -> int:
    assert isinstance(value, int)
    return value
