"""The outputs that answer a version's question: its own, or those that are derived from its scores.

Derived values are outputs of their own, under names that no model's output has. The event log
always holds them; a reply holds them where the client names them.
"""

from registry.manifest import Prediction

LABEL = "driftline.label"  # [N]: the class with the highest score
LABELS = "driftline.labels"  # [N, classes]: whether each class applies, with sigmoid
PROBABILITIES = "driftline.probabilities"  # [N, classes], in the order of `classes`


def label_output(prediction: Prediction) -> str:
    """Return the output that holds the label in events; empty if there is none."""
    return LABEL if prediction.scores else prediction.label


def probabilities_output(prediction: Prediction) -> str:
    """Return the output that holds the probabilities in events; empty if there is none."""
    if not prediction.scores:
        return prediction.probabilities
    return "" if prediction.activation == "none" else PROBABILITIES


def derived_outputs(prediction: Prediction) -> list[str]:
    """Return the names of what `derive` returns."""
    if not prediction.scores:
        return []
    with_activation = {"none": [], "softmax": [PROBABILITIES], "sigmoid": [PROBABILITIES, LABELS]}
    return [LABEL, *with_activation[prediction.activation]]
