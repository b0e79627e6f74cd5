"""Turn a window's scores into a result, alarms and retraining requests, in one transaction."""

from collections.abc import Callable
from typing import get_args

from msgspec.structs import replace

from monitoring.alarms.alarm_lifecycle import RuleState, judge, reset
from monitoring.alarms.budget import rule_budget
from monitoring.alarms.decision import (
    alarm_facts,
    breached,
    has_enough_labels,
    verdict,
    with_evidence,
)
from monitoring.alarms.evidence import weigh
from monitoring.alarms.retrain_request import RULES, notice_id, request, retrain_alarm, webhook_id
from monitoring.alarms.silences import silenced
from monitoring.ingest.consumer_state import ConsumerState
from monitoring.ingest.version_state import VersionState
from monitoring.presenter.alarm_sentence import alarm_sentence
from monitoring.presenter.links import model_path, rows_path, training_path, validation_path
from monitoring.results import TRAFFIC, Alarm, AlarmStep, Result, Rule, Score, Window
from monitoring.score_jobs import ScoreReply
from monitoring.scoring.poison import (
    FAILED_REVISION,
    completed,
    dead_letter_job,
    without_failure,
)
from monitoring.storage.journal import Journal
from monitoring.storage.pending_scores import PendingScore
from monitoring.storage.predictions import Key
from monitoring.webhooks.body import AlarmNotice, alarm_envelope, envelope
from monitoring.webhooks.outdated_requests import supersede_requests
from monitoring.windows.retention import samples_us
from registry.errors import RegistryError
from telemetry.clock import DAY


class Evaluation:
    """Evaluates scored windows in the order in which their scoring was scheduled."""

    def __init__(
        self,
        journal: Journal,
        state: ConsumerState,
        *,
        page: str,
        clock: Callable[[], int],
        notices: bool = False,
    ) -> None:
        """`page` is the status page's address; `clock` returns microseconds since the epoch.

        `notices`: alarms that request no retraining also send a webhook.
        """
        self._notices = notices
        self._journal = journal
        self._state = state
        self._page = page
        self._clock = clock

    def evaluate(self, pending: PendingScore, reply: ScoreReply) -> None:
        """Store the result, judge its rules and request retraining, in the caller's transaction."""
        if reply.poison:
            dead_letter_job(self._journal, pending.number, reply.error)
        self._journal.delete_job(pending.number)
        try:
            version = self._state.version(pending.job.model, pending.job.version)
        except RegistryError:
            return  # the version was deleted, so there is no policy for the judgement
        result, evidence = self._result(version, pending, reply)
        self._store(version, pending, result)
        self._judge(version, pending, result, evidence)
        self._resolve_alarms_of_ended(pending)
        if pending.job.drift and version.shown_inputs:
            self._store_pictures(version, pending, reply)

    def _store_pictures(
        self, version: VersionState, pending: PendingScore, reply: ScoreReply
    ) -> None:
        """Replace encoded image files by the pictures that the scoring process has made of them."""
        samples = self._journal.samples
        samples.replace(version.key, reply.pictures)
        if reply.poison:
            return  # an operator may retry the job, which needs the files
        files = samples.files(version.key, pending.job.window)
        reason = b"cannot be shown: the window with this image could not be scored"
        samples.replace(version.key, [replace(file, form="none", body=reason) for file in files])

    def _store(self, version: VersionState, pending: PendingScore, result: Result) -> None:
        """Store the result, and delete expired results.

        Results expire in the order of scoring, which does not depend on how long scoring takes.
        """
        self._journal.add_result(result)
        if not result.pending:
            self._journal.delete_earlier_revisions(result)
        if pending.job.drift:
            days = self._state.retention.results_days
            self._journal.delete_results(version.key, result.window.start - int(days * DAY))

    def _result(
        self, version: VersionState, pending: PendingScore, reply: ScoreReply
    ) -> tuple[Result, list[Score]]:
        """Return the result, and the evidence of concept drift up to the newest window."""
        scores, report = [*pending.result.scores, *reply.scores], reply.report
        if reply.error:
            missing = "drifted_share" if pending.job.drift else FAILED_REVISION
            scores.append(Score(name=missing, value=None, note=reply.error))
        if not pending.job.drift:
            before = self._journal.latest(version.key, pending.job.window)
            if before is not None:
                scores = _revised(without_failure(before.scores), scores)
                report = before.report
        result, evidence = replace(pending.result, scores=scores, report=report), list[Score]()
        if pending.retried:
            result = completed(result, self._journal.latest(version.key, pending.job.window))
        if "concept" in pending.judge and _can_be_weighed(result):
            result, evidence = self._weigh(version, result)
        policy = version.policy(result.window.start)
        judgement = verdict(result, policy.alarms, learning=pending.job.learning)
        return replace(result, verdict=judgement), evidence

    def _weigh(self, version: VersionState, result: Result) -> tuple[Result, list[Score]]:
        """Add the window's estimation gaps to the evidence of concept drift."""
        state = self._journal.rule_states(version.key).get("concept", RuleState())
        policy = version.policy(result.window.start)
        manifest = replace(version.version.manifest, monitoring=policy)
        weighed = weigh(result.scores, result.window, state.concept_evidence, rule_budget(manifest))
        after = state.with_evidence(weighed.evidence)
        self._journal.save_rule_state(version.key, "concept", after)
        return with_evidence(result, weighed.of_window), weighed.newest

    def _judge(
        self, version: VersionState, pending: PendingScore, result: Result, evidence: list[Score]
    ) -> None:
        states = self._journal.rule_states(version.key)
        open_before = sum(rule in states and bool(states[rule].open_alarm) for rule in RULES)
        fired: list[Alarm] = []
        for rule in pending.judge:
            judged = with_evidence(result, evidence) if rule == "concept" else result
            if (alarm := self._apply(version, rule, states.get(rule), judged)) is not None:
                fired.append(alarm)
        alarm = retrain_alarm(fired, open_before)
        if alarm is not None and not self._is_silenced(alarm):
            self._request_retraining(version, alarm, result, pending)

    def judge_traffic(self, version: VersionState, hour: Result, before: str) -> None:
        """Judge an hour of a model's requests, in the caller's transaction.

        The traffic alarm belongs to `version`. Before this hour, it belonged to the version with
        the number `before`.
        """
        self._journal.database.serialize()  # required for each change of an alarm
        if before and before != version.version.number:
            reason = f"version {version.version.number} answers most requests now"
            self._resolve((hour.model, before), hour.window, reason, {TRAFFIC})
        stored = self._journal.rule_states(version.key).get(TRAFFIC)
        alarm = self._apply(version, TRAFFIC, stored, hour)
        if alarm is not None and not self._is_silenced(alarm) and self._notices:
            now = self._clock()
            notice = AlarmNotice(alarm=alarm, page=self._page + model_path(*version.key))
            name = notice_id(alarm)
            self._journal.add_delivery(name, alarm_envelope(name, now, notice), now)

    def _resolve_alarms_of_ended(self, pending: PendingScore) -> None:
        """Resolve the alarms of versions that the window's version has replaced.

        The alarm's step is dated in event time, so that a replay produces the same step.
        """
        job = pending.job
        reason = f"the version has no traffic any more; version {job.version} answers"
        for number in pending.ended:
            self._resolve((job.model, number), job.window, reason, set(get_args(Rule)))

    def _resolve(self, key: Key, window: Window, reason: str, rules: set[Rule]) -> None:
        """Resolve a version's open alarms of some rules, dated at the end of a window."""
        step = AlarmStep(window.end, "resolved", "monitor", reason)
        for rule, state in self._journal.rule_states(key).items():
            alarm = self._journal.alarm(state.open_alarm) if state.open_alarm else None
            if rule not in rules or alarm is None or alarm.state == "resolved":
                continue
            steps = [*alarm.steps, step]
            self._journal.save_alarm(replace(alarm, state="resolved", steps=steps))
            self._journal.save_rule_state(key, rule, reset(window.start))

    def _is_silenced(self, alarm: Alarm) -> bool:
        """Return whether a silence matches the alarm; add its actor and reason to the alarm."""
        now = self._clock()
        silence = silenced(alarm, self._journal.silences(), now)
        if silence is None:
            return False
        step = AlarmStep(now, "silenced", silence.actor, silence.reason)
        self._journal.save_alarm(replace(alarm, steps=[*alarm.steps, step]))
        return True

    def _apply(
        self, version: VersionState, rule: Rule, stored: RuleState | None, result: Result
    ) -> Alarm | None:
        """Judge one rule; return the alarm if it starts to fire."""
        before = stored or RuleState()
        open_alarm = self._journal.alarm(before.open_alarm) if before.open_alarm else None
        policy = version.policy(result.window.start)
        after, alarm = judge(before, open_alarm, rule, result, policy.alarms)
        if after != stored:  # saves a write for most windows
            self._journal.save_rule_state(version.key, rule, after)
        if alarm is None:
            return None
        fires = open_alarm is None
        if fires and (earlier := self._journal.alarm(alarm.alarm_id)) is not None:
            # A revised result breaks the rule again, so the resolved alarm fires again.
            alarm = replace(alarm, steps=earlier.steps, revised=earlier.revised)
        if alarm.state != "resolved" and breached(rule, result):
            alarm = replace(alarm, sentence=alarm_sentence(alarm_facts(alarm, result)))
        self._journal.save_alarm(alarm)
        return alarm if fires else None

    def _request_retraining(
        self, version: VersionState, alarm: Alarm, result: Result, pending: PendingScore
    ) -> None:
        """Add a retraining request to the outbox, in place of an undelivered older request."""
        body = request(
            alarm,
            result,
            digest=version.version.digest,
            positions=pending.positions,
            rows_url=self._page + rows_path(*version.key, result.window.start),
        )
        name, now = webhook_id(alarm), self._clock()
        span = samples_us(self._state.retention)
        body = replace(
            body,
            # Not the retained period: it depends on the progress of ingestion.
            period=Window(result.window.end - span, result.window.end),
            training_url=self._page + training_path(name),
            validation_url=self._page + validation_path(name),
        )
        supersede_requests(self._journal, version.key)
        self._journal.add_delivery(name, envelope(name, now, body), now)
        self._journal.delete_deliveries(now - int(self._state.retention.webhooks_days * DAY))


def _can_be_weighed(result: Result) -> bool:
    """Return whether a result has enough labels for the evidence, or awaits no more labels."""
    return has_enough_labels(result) or not result.pending


def _revised(before: list[Score], scores: list[Score]) -> list[Score]:
    """Return the new scores after the scores of `before` that have no new value."""
    about = {score.about for score in scores}
    return [score for score in before if score.about not in about] + scores
