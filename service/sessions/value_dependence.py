"""Find models whose duration or memory depends on the values of a request, not only on its size."""

# Operators for which values determine the size of the result or the number of a graph's runs.
_OPERATORS = (
    "Loop",
    "If",
    "Range",
    "ConstantOfShape",
    "Expand",
    "Tile",
    "Resize",
    "Upsample",
    "Pad",
    "CenterCropPad",
    "OneHot",
    "NonZero",
    "Compress",
    "Unique",
    "NonMaxSuppression",
    "MaxUnpool",
    "AffineGrid",
    "DFT",
    "STFT",
    "HannWindow",
    "HammingWindow",
    "BlackmanWindow",
    "MelWeightMatrix",
    "BeamSearch",
    "GreedySearch",
    "Sampling",
)


def depends_on_values(model: bytes) -> bool:
    """Return whether the cost of a run can depend on input values.

    Searches the file for encoded operator types, also of subgraphs and functions. After a false
    match, runs use another thread unnecessarily.
    """
    return any(b"\x22%c%b" % (len(name), name.encode()) in model for name in _OPERATORS)
