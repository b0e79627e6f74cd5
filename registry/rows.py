"""The rows of a request: the batch dimension of a signature. Pure."""

from registry.manifest import Signature

FREE = -1  # a dimension of any size


def batch_dimension(signature: Signature) -> int | None:
    """Return the size of the batch dimension: FREE, a fixed number of rows, or None if absent.

    If any input has a free first dimension, this is the batch dimension. A fixed first dimension is
    the batch dimension if all inputs and some output have it. A model without a batch dimension, or
    with a file as input, accepts one row per request.
    """
    first = [spec.shape[0] for spec in signature.inputs if spec.shape]
    if FREE in first or not signature.inputs:
        return None if _takes_a_file(signature) else FREE
    if len(first) < len(signature.inputs) or len(set(first)) > 1:
        return None
    answered = {spec.shape[0] for spec in signature.outputs if spec.shape}
    return first[0] if answered & {first[0], FREE} else None


def _takes_a_file(signature: Signature) -> bool:
    """Return whether the only free dimension is the size of a file, such as an encoded image."""
    free = [spec for spec in signature.inputs if spec.shape[:1] == [FREE]]
    if not free or any((spec.datatype, spec.shape) != ("UINT8", [FREE]) for spec in free):
        return False
    return not any(spec.shape[:1] == [FREE] and len(spec.shape) < 3 for spec in signature.outputs)
