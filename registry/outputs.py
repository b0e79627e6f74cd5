"""The outputs that contain a version's prediction: model outputs, or outputs derived from scores.

Derived outputs have names that no model's output has. Events always contain them. A reply contains
them if the client requests them by name.
"""

from registry.manifest import Prediction

LABEL = "driftline.label"  # [N], the class with the highest score
LABELS = "driftline.labels"  # [N, classes], whether each class applies; only with sigmoid
PROBABILITIES = "driftline.probabilities"  # [N, classes], in the order of `classes`


def label_output(prediction: Prediction) -> str:
    """Return the output that contains the label in events, or "" if there is none."""
    return LABEL if prediction.scores else prediction.label


def probabilities_output(prediction: Prediction) -> str:
    """Return the output that contains the probabilities in events, or "" if there is none."""
    if not prediction.scores:
        return prediction.probabilities
    return "" if prediction.activation == "none" else PROBABILITIES


def derived_outputs(prediction: Prediction) -> list[str]:
    """Return the names of the outputs that are derived from the scores."""
    if not prediction.scores:
        return []
    with_activation = {"none": [], "softmax": [PROBABILITIES], "sigmoid": [PROBABILITIES, LABELS]}
    return [LABEL, *with_activation[prediction.activation]]
