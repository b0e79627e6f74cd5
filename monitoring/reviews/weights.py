"""Weigh labels of the review queue by their inclusion probability. Pure.

Labels that callers send are treated as a random sample of their window, each with weight 1. A label
from the review queue represents 1 / inclusion rows. Both samples estimate the same scores, so they
are combined in proportion to their information. For this, the weights of the queue's labels are
scaled so that their sum is the effective number of labels, (sum w)^2 / sum w^2 (Kish 1965). If all
labels come from the queue, the result is the ratio estimate of Hajek (1971). A row that has both a
caller's label and a reviewer's decision has weight 1.
"""

from collections.abc import Sequence


def label_weights(inclusions: Sequence[float]) -> list[float]:
    """Return the weights of labels that come only from the review queue.

    `inclusions` are the probabilities with which their rows were picked.
    """
    raw = [1 / inclusion for inclusion in inclusions]
    squares = sum(weight * weight for weight in raw)
    scale = sum(raw) / squares if squares else 0.0
    return [weight * scale for weight in raw]
