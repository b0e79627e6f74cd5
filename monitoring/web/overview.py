"""Build the overview: the headline, the versions (worst first) and the open alarms."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from monitoring.alarms.alarm_lifecycle import RuleState
from monitoring.presenter.headline import (
    Headline,
    MonitorFacts,
    WindowTrouble,
    disabled_receiver,
    headline_of,
    late_rows,
    refused_labels,
    unheld_partitions,
)
from monitoring.presenter.rule_sentence import awaited_labels, progress_to_alarm, rule_sentence
from monitoring.results import (
    Alarm,
    Delivery,
    DisabledReceiver,
    LateCounts,
    Result,
    Rule,
    SourceLedger,
)
from monitoring.web.policy_view import policies
from monitoring.web.queries import Queries
from monitoring.web.window_view import coverage, find, sentence, value
from registry.catalogue import Catalogue, NamedVersions
from registry.features import expects_labels
from registry.history.rollout_state import Rollout
from registry.history.shadow_state import Shadow
from registry.manifest import AlarmPolicy, Monitoring, Version
from telemetry.clock import now_us

HISTORY = 30  # windows in a sparkline
_NO_VERDICT = {"not enough data", "learning"}
_STATES = ("firing", "acknowledged", "resolved")


class EventBalance(msgspec.Struct, frozen=True):
    """The event counts of all sources: answered = logged = monitored unless events were lost."""

    answered: int
    logged: int
    monitored: int
    lost: int
    duplicated: int
    unreadable: int

    @property
    def balanced(self) -> bool:
        """Whether every answered event was monitored."""
        return self.answered == self.logged == self.monitored


class VersionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One model version on the overview."""

    model: str
    version: str
    aliases: list[str]
    latest: Result | None  # the last closed window
    filling: Result | None  # the last open window
    history: list[Result]  # the last closed windows, oldest first, see Queries.recent
    alarms: list[Alarm]  # firing and acknowledged alarms
    late: LateCounts = LateCounts()  # late events of all windows
    labels: bool = True  # whether labels are expected
    rules: dict[Rule, RuleState] = {}  # states of the rules that were judged
    policy: AlarmPolicy = AlarmPolicy()  # alarm policy of the newest policy period
    label_wait: float = 0  # seconds for which labels of a closed window are awaited
    rollout: Rollout | None = None  # running rollout of this version
    shadow: Shadow | None = None  # set if the version runs as a shadow
    owner: str = ""  # owner of the model
    tags: list[str] = []  # tags of the model

    def series(self, name: str) -> list[float | None]:
        """Return the values of a window-level score in the last windows."""
        return [value(result, name) for result in self.history[-HISTORY:]]

    def newest(self, name: str) -> Result | None:
        """Return the last window with this score; the newest windows often lack labels."""
        results = (result for result in reversed(self.history) if value(result, name) is not None)
        return next(results, None)

    def limit(self, name: str) -> float | None:
        """Return the threshold of a score in the newest window with this score."""
        scores = (find(result, name) for result in reversed(self.history))
        return next((score.threshold for score in scores if score), None)

    @property
    def search_text(self) -> str:
        """The text that a search covers: name, version, owner and tags."""
        return " ".join([self.model, self.version, self.owner, *self.tags]).lower()

    @property
    def rule_lines(self) -> list[tuple[Rule, str, str]]:
        """Each rule with its state and a sentence on its progress towards an alarm."""
        states = sorted(self.rules.items())
        return [
            (rule, state.current, rule_sentence(rule, state, self.policy))
            for rule, state in states
            if state.run != (0, 0)
        ]

    @property
    def awaited_labels(self) -> str:
        """The period for which labels are awaited, as text; empty if none are awaited."""
        ends = [result.window.end for result in self.history if result.pending]
        return awaited_labels(ends, self.label_wait)

    @property
    def rank(self) -> int:
        """The rank by state: 0 is worst."""
        if any(alarm.state == "firing" for alarm in self.alarms):
            return 0
        if self.latest is None:
            return 4
        if self.latest.verdict in ("drifted", "degraded"):
            return 1
        return 2 if self.alarms else 3 if self.latest.verdict in _NO_VERDICT else 5

    @property
    def order(self) -> tuple[int, float, str, str]:
        """The sort key of the overview: worst first."""
        share = self.latest and value(self.latest, "drifted_share")
        return self.rank, -(share or 0.0), self.model, self.version


# Orders that a user can choose, by the name in the URL.
SORTS: dict[str, Callable[[VersionRow], Any]] = {
    "model": lambda row: (row.model, row.version),
    "window": lambda row: row.latest and row.latest.window.end,
    "drift": lambda row: row.latest and value(row.latest, "drifted_share"),
    "rows": lambda row: row.latest and row.latest.rows,
    "labelled": lambda row: row.latest and coverage(row.latest),
}


def sorted_by(rows: Sequence[VersionRow], name: str) -> list[VersionRow]:
    """Sort rows by the order `name` of SORTS, descending if `name` begins with `-`.

    Rows without the value are last. If `name` is not in SORTS, the order is unchanged.
    """
    by = SORTS.get(name.removeprefix("-"))
    if by is None:
        return list(rows)
    sortable = [row for row in rows if by(row) is not None]
    unknown = [row for row in rows if by(row) is None]
    return sorted(sortable, key=by, reverse=name.startswith("-")) + unknown


class Overview(msgspec.Struct, frozen=True):
    """The overview, which page, API and terminal show in the same order."""

    headline: Headline
    ledger: EventBalance
    rows: list[VersionRow]  # worst first
    alarms: list[Alarm]  # open alarms, worst first
    stopped: list[str]  # sentences about the disabled receivers

    def as_data(self) -> dict[str, Any]:
        """Return the overview as the API's fields."""
        return {
            "headline": self.headline,
            "ledger": self.ledger,
            "models": [as_data(row) for row in self.rows],
            "alarms": self.alarms,
            "stopped": self.stopped,
        }


def read_overview(store: Queries, catalogue: Catalogue | None) -> Overview:
    """Read the overview of all models."""
    rows, disabled = overview_rows(store, catalogue), store.disabled()
    if (worst := next((n for n, row in enumerate(rows) if row.rank == 1), None)) is not None:
        rows[worst] = _with_rules(rows[worst], store, catalogue)  # needed for the headline
    balance = event_balance(store.ledger())
    return Overview(
        headline(
            rows,
            balance,
            store.deliveries(),
            disabled,
            [
                unheld_partitions(store.partitions(), now_us()),
                refused_labels(store.totals()),
                _late_rows(store, rows),
            ],
        ),
        balance,
        rows,
        worst_first([alarm for row in rows for alarm in row.alarms]),
        [disabled_receiver(receiver) for receiver in disabled],
    )


def as_data(row: VersionRow) -> dict[str, Any]:
    """Return a model version as the API's fields, without its history."""
    names = (
        "model", "version", "owner", "tags", "aliases", "rollout", "shadow", "latest", "filling",
        "alarms",
    )  # fmt: skip
    return {name: getattr(row, name) for name in names}


def worst_first(alarms: Iterable[Alarm]) -> list[Alarm]:
    """Sort alarms by state (firing, acknowledged, resolved), severity, and newest first."""

    def order(alarm: Alarm) -> tuple[Any, ...]:
        newest = (-alarm.latest.start, -alarm.since.start)
        name = (alarm.model, alarm.version, alarm.rule)
        return _STATES.index(alarm.state), alarm.severity != "critical", *newest, *name

    return sorted(alarms, key=order)


def overview_rows(
    store: Queries, catalogue: Catalogue | None, only: str | None = None
) -> list[VersionRow]:
    """Return every monitored or registered version, worst first; `only`: of this model."""
    models = _models(catalogue, only)
    names_by_model = (
        {model: catalogue.named_versions(model) for model in models} if catalogue else {}
    )
    registered = _registered(catalogue, models)
    pairs = {
        *(pair for pair in store.monitored_versions() if only in (None, pair[0])),
        *registered,
    }
    alarms = [alarm for alarm in store.alarms() if alarm.state != "resolved"]
    by_version: dict[tuple[str, str], list[Alarm]] = {}
    for alarm in alarms:
        by_version.setdefault((alarm.model, alarm.version), []).append(alarm)
    rows = [
        _row(
            store, pair, names_by_model.get(pair[0]), by_version.get(pair, []), registered.get(pair)
        )
        for pair in pairs
    ]
    return sorted(rows, key=lambda row: row.order)


def row_of(store: Queries, catalogue: Catalogue | None, pair: tuple[str, str]) -> VersionRow | None:
    """Return one model version; None if it is neither monitored nor registered."""
    registered = _registered(catalogue, _models(catalogue, pair[0]))
    if pair not in store.monitored_versions() and pair not in registered:
        return None
    alarms = [a for a in store.alarms() if a.state != "resolved" and _version_of(a) == pair]
    names = catalogue.named_versions(pair[0]) if catalogue else None
    row = _row(store, pair, names, alarms, registered.get(pair))
    return _with_rules(row, store, catalogue)


def _with_rules(row: VersionRow, store: Queries, catalogue: Catalogue | None) -> VersionRow:
    """Return the row with the state of its rules, which the overview does not read."""
    history = policies(catalogue, row.model, row.version)
    policy = history[-1].policy if history else Monitoring()
    return msgspec.structs.replace(
        row,
        rules=store.rule_states(row.model, row.version),
        policy=policy.alarms,
        label_wait=policy.window.label_wait,
    )


def _row(
    store: Queries,
    pair: tuple[str, str],
    names: NamedVersions | None,
    alarms: list[Alarm],
    version: Version | None,
) -> VersionRow:
    aliases, rollouts, shadows, description = names or NamedVersions({}, [])
    results = store.recent(*pair, last=HISTORY)
    open_windows = store.live(*pair)
    return VersionRow(
        model=pair[0],
        version=pair[1],
        aliases=[alias for alias, number in aliases.items() if number == pair[1]],
        rollout=next((rollout for rollout in rollouts if rollout.number == pair[1]), None),
        shadow=next((shadow for shadow in shadows if shadow.number == pair[1]), None),
        latest=results[-1] if results else None,
        filling=open_windows[-1] if open_windows else None,
        history=results,
        alarms=worst_first(alarms),
        late=store.late(*pair),
        labels=version is None or expects_labels(version.manifest),
        owner=description.owner,
        tags=description.tags,
    )


def event_balance(sources: Sequence[SourceLedger]) -> EventBalance:
    """Return the sum of all sources.

    The service numbers answers without gaps before it sends the answers. A number that never
    arrived therefore belongs to an answer that was sent, but not logged.
    """
    logged = sum(source.events for source in sources)
    lost = sum(source.lost for source in sources)
    unreadable = sum(source.unreadable for source in sources)
    return EventBalance(
        answered=logged + lost,
        logged=logged,
        monitored=logged - unreadable,
        lost=lost,
        duplicated=sum(source.duplicated for source in sources),
        unreadable=unreadable,
    )


def headline(
    rows: Sequence[VersionRow],
    balance: EventBalance,
    deliveries: Sequence[Delivery],
    disabled: Sequence[DisabledReceiver] = (),
    data: Sequence[str] = (),
) -> Headline:
    """Return the headline: the worst current state.

    `data` contains sentences about problems of the data, such as refused labels.
    """
    worst = next((row for row in rows if row.rank == 1), None)
    return headline_of(
        MonitorFacts(
            firing=worst_first(a for row in rows for a in row.alarms if a.state == "firing"),
            lost=balance.lost,
            disabled=disabled,
            data=data,
            dead=sum(delivery.state == "dead" for delivery in deliveries),
            trouble=None if worst is None else _trouble(worst),
            versions=len(rows),
            judged=[(row.model, row.version) for row in rows if row.rank in (2, 5)],
            acknowledged=any(row.rank == 2 for row in rows),
        )
    )


def _late_rows(store: Queries, rows: Sequence[VersionRow]) -> str:
    """Return a sentence about the version with the most late rows; empty if they are too few."""
    for row in sorted(rows, key=lambda row: -row.late.rows):
        if not row.late.rows:
            break
        pair = row.model, row.version
        if reported := late_rows(*pair, row.late.rows, store.closed(*pair).rows):
            return reported
    return ""


def _trouble(row: VersionRow) -> WindowTrouble | None:
    if row.latest is None:
        return None
    progress = progress_to_alarm(row.rules, row.policy)
    return WindowTrouble(row.model, row.version, sentence(row.latest), row.latest, progress)


def _version_of(alarm: Alarm) -> tuple[str, str]:
    return alarm.model, alarm.version


def _models(catalogue: Catalogue | None, only: str | None) -> list[str]:
    """Return the registered models; with `only`, at most this model."""
    models = catalogue.models() if catalogue else []
    return [model for model in models if only in (None, model)]


def _registered(
    catalogue: Catalogue | None, models: Sequence[str]
) -> dict[tuple[str, str], Version]:
    if catalogue is None:
        return {}
    return {
        (model, version.number): version
        for model in models
        for version in catalogue.versions(model)
    }
