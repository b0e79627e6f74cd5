"""Sentences about verdicts on rollouts, for the registry's history, status page and terminal."""

from registry.history.rows import RolloutVerdict

METRIC_NAMES = {
    "errors": "failed requests",
    "latency": "slow answers",
    "outputs": "invalid outputs",
    "labels": "wrong predictions",
}


def verdict_sentence(verdict: RolloutVerdict) -> str:
    """Describe a verdict on a rollout, with its counts of keys."""
    what = METRIC_NAMES.get(verdict.metric, "")
    if verdict.verdict == "roll back":
        return f"rolled back: more keys with {what}: {_counts(verdict, verdict.metric)}"
    lacking = f"not enough data about {what}" if what else "not enough data"
    if verdict.verdict == "pause":
        return f"paused: {lacking}: {_counts(verdict, verdict.metric)}"
    if verdict.verdict == "expire":
        return f"ended, because nobody resumed it: {lacking}: {_counts(verdict, verdict.metric)}"
    shown = "; ".join(
        f"{METRIC_NAMES.get(metric, metric)} {_counts(verdict, metric)}"
        for metric in verdict.counts
    )
    return f"no worse than allowed: {shown}"


def _counts(verdict: RolloutVerdict, metric: str) -> str:
    bad, keys, bad_before, keys_before = verdict.counts.get(metric, [0, 0, 0, 0])
    return f"{bad} of {keys} keys, before {bad_before} of {keys_before}"
