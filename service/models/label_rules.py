"""Refuse labels that no version of a model can have, as far as a service knows it. Pure.

A prediction id names its model and not its version, so a label is refused only where every version
of the model would refuse it, those that are not loaded included. The monitor, which knows the
version, judges the others.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from eventlog.shards import SHARD_DIGITS
from registry.features import expects_labels
from registry.labels import classes_of, invalid_reason, read_label
from registry.manifest import Manifest
from service.errors import InvalidLabels
from service.protocol.feedback import FeedbackLabel

Rule = frozenset[str] | None  # the classes of a version; None: a number
Manifests = Callable[[str], Sequence[Manifest]]  # argument: a model's tag


def check_labels(
    labels: Iterable[FeedbackLabel], tag: Callable[[str], str], manifests: Manifests
) -> None:
    """Raise InvalidLabels if a label is one that the model cannot have.

    `tag` returns the tag of the model of a prediction id, "" if the id does not tell it.
    """
    rules: dict[str, list[Rule]] = {}
    refused: list[tuple[FeedbackLabel, Rule]] = []
    for label in labels:
        model = tag(label.prediction_id)
        if model not in rules:
            rules[model] = _rules(manifests(model)) if model else []
        of_model = rules[model]
        if of_model and all(read_label(label.label, rule) is None for rule in of_model):
            refused.append((label, of_model[-1]))
    if refused:
        first, rule = refused[0]
        place = f"prediction {first.prediction_id}, row {first.row}"
        count = f"{len(refused)} label{'s' * (len(refused) != 1)}"
        raise InvalidLabels(
            f"{place}: {invalid_reason(first.label, rule)}; {count} of this request cannot be, "
            "so none of it was accepted",
            Counter(tag(label.prediction_id)[:SHARD_DIGITS] for label, _ in refused),
        )


def _rules(manifests: Sequence[Manifest]) -> list[Rule]:
    """Return the different rules of a model's versions; none if one of them takes no labels."""
    if not all(map(expects_labels, manifests)):
        return []
    rules: list[Rule] = []
    for manifest in manifests:
        if (rule := classes_of(manifest)) not in rules:
            rules.append(rule)
    return rules
