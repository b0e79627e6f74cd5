"""Turns a finished scoring into a result, alarms and retraining requests, in one transaction."""

from collections.abc import Callable

from msgspec.structs import replace

from monitoring.alarms.budget import part
from monitoring.alarms.decision import judge, verdict
from monitoring.alarms.evidence import weigh
from monitoring.alarms.retrain_request import RULES, request, wanted, webhook_id
from monitoring.alarms.silences import silenced
from monitoring.results import Alarm, AlarmStep, Result, Rule, Score, Window
from monitoring.scoring.jobs import ScoreReply
from monitoring.storage.journal import Journal
from monitoring.storage.rows import PendingScore
from monitoring.web.links import rows_path
from monitoring.webhooks.body import envelope, read_retrain_request
from monitoring.windows.retention import DAY
from monitoring.windows.version_state import ConsumerState, VersionState
from registry.errors import RegistryError


class Evaluation:
    """Scorings are concluded in the order in which they were decided on."""

    def __init__(
        self, journal: Journal, memory: ConsumerState, *, page: str, clock: Callable[[], int]
    ) -> None:
        """`page` is the monitor's address; `clock` gives microseconds since the epoch."""
        self._journal = journal
        self._memory = memory
        self._page = page
        self._clock = clock

    def conclude(self, pending: PendingScore, reply: ScoreReply) -> None:
        """Keep the result and what follows from it; part of a transaction of its own."""
        self._journal.delete_job(pending.number)
        try:
            watching = self._memory.watching(pending.job.model, pending.job.version)
        except RegistryError:
            return  # deleted meanwhile: there is no policy to judge it by
        result = self._result(watching, pending, reply)
        self._keep(watching, pending, result)
        self._judge(watching, pending, result)

    def _keep(self, watching: VersionState, pending: PendingScore, result: Result) -> None:
        """Keep the result, and let go of those that have been kept for long enough.

        This goes by the order of scorings, which does not depend on how long they take.
        """
        self._journal.add_result(result)
        if not result.pending:
            self._journal.delete_earlier_revisions(result)
        if pending.job.drift:
            days = self._memory.retention.results_days
            self._journal.delete_results(watching.key, result.window.start - int(days * DAY))

    def _result(self, watching: VersionState, pending: PendingScore, reply: ScoreReply) -> Result:
        scores, report = [*pending.result.scores, *reply.scores], reply.report
        if reply.error:
            lost = "drifted_share" if pending.job.drift else "performance"
            scores.append(Score(name=lost, value=None, note=reply.error))
        if not pending.job.drift:
            before = self._journal.latest(watching.key, pending.job.window)
            if before is not None:
                scores, report = _revised(before.scores, scores), before.report
        if "concept" in pending.judge:
            scores += self._weigh(watching, pending.job.window, scores)
        result = replace(pending.result, scores=scores, report=report)
        policy = watching.era(result.window.start).policy
        return replace(result, verdict=verdict(result, policy.alarms))

    def _weigh(self, watching: VersionState, window: Window, scores: list[Score]) -> list[Score]:
        """Add the window's gaps to the evidence of a lasting one."""
        streak = self._journal.streak(watching.key, "concept")
        policy = watching.era(window.start).policy
        manifest = replace(watching.version.manifest, monitoring=policy)
        evidence, told = weigh(scores, streak.evidence, part(manifest))
        self._journal.save_streak(watching.key, "concept", replace(streak, evidence=evidence))
        return told

    def _judge(self, watching: VersionState, pending: PendingScore, result: Result) -> None:
        open_before = sum(
            bool(self._journal.streak(watching.key, rule).open_alarm) for rule in RULES
        )
        fired = [alarm for rule in pending.judge if (alarm := self._apply(watching, rule, result))]
        asking = wanted(fired, open_before)
        if asking is not None and not self._is_silenced(asking):
            self._ask(watching, asking, result, pending)

    def _is_silenced(self, alarm: Alarm) -> bool:
        """Whether nothing is to be asked for; the alarm then says who silenced it, and why."""
        now = self._clock()
        silence = silenced(alarm, self._journal.silences(), now)
        if silence is None:
            return False
        step = AlarmStep(now, "silenced", silence.actor, silence.reason)
        self._journal.save_alarm(replace(alarm, steps=[*alarm.steps, step]))
        return True

    def _apply(self, watching: VersionState, rule: Rule, result: Result) -> Alarm | None:
        """Judge one rule; the alarm if it fires now."""
        streak = self._journal.streak(watching.key, rule)
        open_alarm = self._journal.alarm(streak.open_alarm) if streak.open_alarm else None
        policy = watching.era(result.window.start).policy
        after, alarm = judge(streak, open_alarm, rule, result, policy.alarms)
        if streak.open_alarm == after.open_alarm or after.open_alarm:
            after = replace(after, evidence=streak.evidence)  # a resolved alarm begins anew
        self._journal.save_streak(watching.key, rule, after)
        if alarm is not None:
            self._journal.save_alarm(alarm)
        return alarm if after.open_alarm and not streak.open_alarm else None

    def _ask(
        self, watching: VersionState, alarm: Alarm, result: Result, pending: PendingScore
    ) -> None:
        body = request(
            alarm,
            result,
            digest=watching.version.digest,
            positions=pending.positions,
            rows_url=self._page + rows_path(*watching.key, result.window.start),
        )
        name, now = webhook_id(alarm), self._clock()
        for older, said in self._journal.pending_deliveries().items():
            before = read_retrain_request(said)
            if before is not None and (before.model, before.version) == watching.key:
                self._journal.supersede(older)
        self._journal.add_delivery(name, envelope(name, now, body), now)
        self._journal.delete_deliveries(now - int(self._memory.retention.webhooks_days * DAY))


def _revised(before: list[Score], scores: list[Score]) -> list[Score]:
    """What was scored anew, after what was not."""
    anew = {score.about for score in scores}
    return [score for score in before if score.about not in anew] + scores
