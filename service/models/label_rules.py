"""Refuse labels that are invalid for every version of a model. Pure.

A prediction id identifies the model but not the version. So the service refuses a label only if it
is invalid for all versions of the model, loaded or not. The monitor knows the version and checks
the remaining labels.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from eventlog.shards import SHARD_DIGITS
from registry.features import expects_labels
from registry.labels import classes_of, invalid_reason, read_label
from registry.manifest import Manifest
from service.errors import InvalidLabels
from service.protocol.feedback import FeedbackLabel

Rule = frozenset[str] | None  # valid classes of a version's labels; None means a number
Manifests = Callable[[str], Sequence[Manifest]]  # returns the manifests of the model with a tag


def check_labels(
    labels: Iterable[FeedbackLabel], tag: Callable[[str], str], manifests: Manifests
) -> None:
    """Raise InvalidLabels if a label is invalid for every version of its model.

    `tag` returns the tag of a prediction id's model, "" if the id does not contain a tag.
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
        row = f"prediction {first.prediction_id}, row {first.row}"
        count = f"{len(refused)} invalid label{'s' * (len(refused) != 1)}"
        raise InvalidLabels(
            f"{row}: {invalid_reason(first.label, rule)}; the request has {count}, so none of its "
            "labels was accepted",
            Counter(tag(label.prediction_id)[:SHARD_DIGITS] for label, _ in refused),
        )


def _rules(manifests: Sequence[Manifest]) -> list[Rule]:
    """Return the distinct rules of a model's versions, empty if a version expects no labels."""
    if not all(map(expects_labels, manifests)):
        return []
    rules: list[Rule] = []
    for manifest in manifests:
        if (rule := classes_of(manifest)) not in rules:
            rules.append(rule)
    return rules
