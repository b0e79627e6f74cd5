"""Weigh labels of the review queue by their inclusion probability. Pure.

Labels that callers send count as a random sample of their window, each with weight 1, as they do
without a queue. A label of the queue stands for 1 / inclusion rows. Both samples estimate the same
figures; they are combined in proportion to how much each of them says. So the weights of the queue
are scaled to its effective number of labels, (sum w)^2 / sum w^2 (Kish 1965). Alone, they give the
ratio estimate of Hajek (1971). A row with a label of either kind and a decision has weight 1.
"""

from collections.abc import Sequence


def label_weights(inclusions: Sequence[float]) -> list[float]:
    """Return the weights of labels that only the queue has given, from their probabilities.

    A label that a caller sent has weight 1.
    """
    raw = [1 / inclusion for inclusion in inclusions]
    squares = sum(weight * weight for weight in raw)
    scale = sum(raw) / squares if squares else 0.0
    return [weight * scale for weight in raw]
